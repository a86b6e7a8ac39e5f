//! Evidence of use: the oldest mail in the queue, and the last signature of each selector in the mail log.
//!
//! A signature is made when mail comes in, so a message that waits in the queue carries the key of that day and may be
//! delivered days after a switch. The window of an old key counts from the last signature that was seen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeZone};
use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::time::{Span, Time};
use serde::Deserialize;

use crate::signers::milter::QUEUE_ID;

/// Where evidence is looked for. What is not configured is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// `["postqueue", "-j"]`; inside a container `["docker", "exec", "mail", "postqueue", "-j"]`.
    pub queue: Option<Vec<String>>,
    /// `/var/log/mail.log`.
    pub log: Option<PathBuf>,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// When the oldest mail that is still in the queue came in.
    pub oldest_queued: Option<Time>,
    /// The last signature of each selector in the log; probes do not count.
    pub last_signature: BTreeMap<(SigningDomain, Selector), Time>,
    /// What could not be looked at: no evidence either way.
    pub unknown: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    #[error("`{program}` could not be run, so it is not known what waits in the queue")]
    Spawn { program: String, source: io::Error },
    #[error("`{program}` ended with {status}, so it is not known what waits in the queue: {stderr}")]
    Failed { program: String, status: String, stderr: String },
    #[error("the queue listing has a line that is not an object with `arrival_time`: {0}")]
    Queue(String),
    #[error("{path} cannot be read, so the last use of a selector is not known")]
    Log { path: PathBuf, source: io::Error },
}

/// The part of a log that is read: what lies further back than this is older than any question asked.
const LOG_TAIL: u64 = 256 * 1024 * 1024;

/// Looks at every configured source. A source that fails is named and no more: evidence is never guessed.
pub fn gather<Tz: TimeZone>(sources: &Sources, now: DateTime<Tz>) -> Evidence {
    let mut evidence = Evidence::default();
    if let Some(argv) = &sources.queue {
        match queue_listing(argv).and_then(|listing| oldest_queued(&listing)) {
            Ok(oldest) => evidence.oldest_queued = oldest,
            Err(error) => evidence.unknown.push(error.to_string()),
        }
    }
    if let Some(path) = &sources.log {
        match log_tail(path).and_then(|log| last_signatures(log, &now)) {
            Ok(last) => evidence.last_signature = last,
            Err(source) => {
                let error = EvidenceError::Log { path: path.clone(), source };
                evidence.unknown.push(error.to_string());
            }
        }
    }
    evidence
}

fn queue_listing(argv: &[String]) -> Result<String, EvidenceError> {
    let [program, arguments @ ..] = argv else {
        return Err(EvidenceError::Spawn { program: String::new(), source: io::ErrorKind::InvalidInput.into() });
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| EvidenceError::Spawn { program: program.clone(), source })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect();
        let status = output.status.to_string();
        return Err(EvidenceError::Failed { program: program.clone(), status, stderr });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The earliest `arrival_time` in the output of `postqueue -j` (postqueue(1), JSON OBJECT FORMAT): one object a line.
pub fn oldest_queued(listing: &str) -> Result<Option<Time>, EvidenceError> {
    #[derive(Deserialize)]
    struct Queued {
        arrival_time: i64,
    }
    let mut oldest = None;
    for line in listing.lines().filter(|line| !line.trim().is_empty()) {
        let queued: Queued = serde_json::from_str(line)
            .map_err(|error| EvidenceError::Queue(format!("{error} in {:.60}", line.escape_debug())))?;
        let arrival = Time::from_unix(queued.arrival_time);
        oldest = Some(oldest.map_or(arrival, |oldest: Time| oldest.min(arrival)));
    }
    Ok(oldest)
}

fn log_tail(path: &Path) -> io::Result<impl BufRead + use<>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    Ok(BufReader::new(file.take(LOG_TAIL)))
}

/// The last signature of each selector: OpenDKIM writes `DKIM-Signature field added (s=s1, d=example.com)` with
/// `SyslogSuccess yes`, rspamd lists the symbol `DKIM_SIGNED(0.00){example.com:s=s1;}`. Lines of any other kind are passed
/// over, and so is what a line does not say clearly.
pub fn last_signatures<Tz: TimeZone>(
    log: impl BufRead,
    now: &DateTime<Tz>,
) -> io::Result<BTreeMap<(SigningDomain, Selector), Time>> {
    let mut last: BTreeMap<(SigningDomain, Selector), Time> = BTreeMap::new();
    for line in log.split(b'\n') {
        let line = line?;
        // Most lines are not about signatures, and are not worth a look at their time.
        if !contains(&line, b": DKIM-Signature field added (s=") && !contains(&line, b"DKIM_SIGNED") {
            continue;
        }
        let line = String::from_utf8_lossy(&line);
        let Some((at, selector, domain)) = signature_in(&line, now) else { continue };
        last.entry((domain, selector)).and_modify(|known| *known = at.max(*known)).or_insert(at);
    }
    Ok(last)
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

/// Reads a line from the left: a subject that quotes such a line stands in a line of another program.
fn signature_in<Tz: TimeZone>(line: &str, now: &DateTime<Tz>) -> Option<(Time, Selector, SigningDomain)> {
    let (time, rest) = log_time(line, now)?;
    let mut words = rest.trim_start().splitn(3, ' ');
    let (_host, program, said) = (words.next()?, words.next()?, words.next()?);
    let (selector, domain) = match program.strip_suffix("]:")?.split_once('[')?.0 {
        "opendkim" => added_by_opendkim(said)?,
        "rspamd" => added_by_rspamd(said)?,
        _ => return None,
    };
    Some((time, selector.parse().ok()?, domain.parse().ok()?))
}

/// `<queue id>: DKIM-Signature field added (s=<selector>, d=<domain>)`
fn added_by_opendkim(said: &str) -> Option<(&str, &str)> {
    let (queue_id, said) = said.split_once(' ')?;
    if queue_id.trim_end_matches(':') == QUEUE_ID {
        return None;
    }
    let (selector, rest) = said.strip_prefix("DKIM-Signature field added (s=")?.split_once(", d=")?;
    Some((selector, rest.split_once(')')?.0))
}

/// `... rspamd_task_write_log: id: <...>, qid: <queue id>, ... [DKIM_SIGNED(0.00){<domain>:s=<selector>;},...] ...`: the
/// symbols stand behind the message's own words in any `log_format` with `$symbols_params` or `$symbols_scores_params`.
fn added_by_rspamd(said: &str) -> Option<(&str, &str)> {
    let (_, said) = said.split_once("rspamd_task_write_log: ")?;
    if said.contains(&format!("qid: <{QUEUE_ID}>")) {
        return None;
    }
    let (_, symbol) = said.rsplit_once("DKIM_SIGNED")?;
    let symbol = match symbol.strip_prefix('(') {
        Some(score) => score.split_once(')')?.1,
        None => symbol,
    };
    let (domain, rest) = symbol.strip_prefix('{')?.split_once(":s=")?;
    Some((rest.split_once(';')?.0, domain))
}

/// The time at the head of a syslog line, and the rest: RFC 3339, or `Nov 22 09:54:30` in local time without a year,
/// which is then the last such moment that is not in the future.
fn log_time<'a, Tz: TimeZone>(line: &'a str, now: &DateTime<Tz>) -> Option<(Time, &'a str)> {
    let (first, rest) = line.split_once(' ')?;
    if let Ok(time) = DateTime::parse_from_rfc3339(first) {
        return Some((Time::from_unix(time.timestamp()), rest));
    }
    let (stamp, rest) = line.split_at_checked(15)?;
    let offset = now.offset().fix();
    let latest = Time::from_unix(now.timestamp()) + Span::days(1);
    [now.year(), now.year() - 1].into_iter().find_map(|year| {
        let local = NaiveDateTime::parse_from_str(&format!("{year} {stamp}"), "%Y %b %e %H:%M:%S").ok()?;
        let time = Time::from_unix(offset.from_local_datetime(&local).single()?.timestamp());
        (time <= latest).then_some((time, rest))
    })
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
