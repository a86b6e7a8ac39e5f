//! Takes reports in: reads each, says what became of it, and keeps it, in batches.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use dkimctl_state::lifecycle::staging::evidence::{Report, Trust, clean};
use dkimctl_state::name::Fqdn;
use dkimctl_state::store::StoreError;
use dkimctl_state::store::evidence::{EvidenceStore, Filed, FiledRow, Kept, Refusal};
use dkimctl_state::time::{Span, Time};
use serde::Serialize;

use super::authentic::{Authenticator, Origin};
use super::open::{self, Envelope, Visitor};
use super::xml::{self, Parsed};

/// What became of one input, or of one report in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub file: String,
    pub status: Status,
    pub org: Option<String>,
    pub domain: Option<String>,
    /// RFC 3339.
    pub begin: Option<Time>,
    pub end: Option<Time>,
    /// What was read and counts; zero for what is rejected.
    pub records: u64,
    pub messages: u64,
    pub aligned: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    pub errors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Something of it could not be read; the errors say what. It counts failures and covers no day.
    Partial,
    /// Nothing of it was kept.
    Rejected,
    /// It was there already.
    Duplicate,
}

/// What a whole run took in. Messages of duplicates and of what was rejected are not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub ok: u64,
    pub partial: u64,
    pub rejected: u64,
    pub duplicate: u64,
    pub records: u64,
    pub messages: u64,
    pub aligned: u64,
    /// Reports that came by mail nobody vouches for.
    pub unverified: u64,
}

/// One run of taking in.
pub struct Ingest<'a> {
    store: Option<&'a mut dyn EvidenceStore>,
    authenticator: Authenticator<'a>,
    now: Time,
    /// The operator vouches for the mail too.
    trust_mail: bool,
    say: &'a mut dyn FnMut(&Entry),
    /// What waits for the next batch, in order; what is not to be kept waits with it.
    waiting: Vec<(Entry, Option<Filed>)>,
    rows: usize,
    /// What could not be read, of reports that are about somebody.
    refusals: Vec<Refusal>,
    failed: Option<StoreError>,
    totals: Totals,
    domains: BTreeSet<Fqdn>,
    /// Without a store: what was there already in this run.
    seen: HashSet<[u8; 32]>,
}

/// A batch is one transaction: its flush to the disk costs as much as some hundred reports.
const BATCH_REPORTS: usize = 4000;
const BATCH_ROWS: usize = 10_000;
/// Reports that are remembered where nothing is kept.
const MOST_SEEN: usize = 200_000;
/// Rows of reports that can no longer be told from any sensible day.
const LONGEST: Span = Span::days(40);

impl<'a> Ingest<'a> {
    pub fn new(
        store: Option<&'a mut dyn EvidenceStore>,
        authenticator: Authenticator<'a>,
        now: Time,
        trust_mail: bool,
        say: &'a mut dyn FnMut(&Entry),
    ) -> Self {
        Ingest {
            store,
            authenticator,
            now,
            trust_mail,
            say,
            waiting: Vec::new(),
            rows: 0,
            refusals: Vec::new(),
            failed: None,
            totals: Totals::default(),
            domains: BTreeSet::new(),
            seen: HashSet::new(),
        }
    }

    pub fn path(&mut self, path: &Path) {
        open::path(path, self);
    }

    pub fn stream(&mut self, name: &str, input: impl Read) {
        open::stream(name, input, self);
    }

    /// Keeps what waits, and says what the run took in and about whom.
    pub fn finish(mut self) -> Result<(Totals, BTreeSet<Fqdn>), StoreError> {
        self.flush();
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok((std::mem::take(&mut self.totals), std::mem::take(&mut self.domains))),
        }
    }

    fn flush(&mut self) {
        self.rows = 0;
        let (entries, filed): (Vec<Entry>, Vec<Option<Filed>>) = self.waiting.drain(..).unzip();
        if self.failed.is_some() {
            return;
        }
        let refusals = std::mem::take(&mut self.refusals);
        if let (Some(store), false) = (&mut self.store, refusals.is_empty()) {
            if let Err(error) = store.file_refusals(&refusals) {
                return self.failed = Some(error);
            }
            self.domains.extend(refusals.into_iter().map(|refusal| refusal.domain));
        }
        let keeps: Vec<bool> = filed.iter().map(Option::is_some).collect();
        let filed: Vec<Filed> = filed.into_iter().flatten().collect();
        let mut kept = match (&mut self.store, filed.is_empty()) {
            (Some(store), false) => match store.file_reports(&filed) {
                Ok(kept) => kept.into_iter(),
                Err(error) => return self.failed = Some(error),
            },
            _ => {
                if self.seen.len() > MOST_SEEN {
                    self.seen.clear();
                }
                let new = |filed: &Filed| match self.seen.insert(filed.hash) {
                    true => Kept::New,
                    false => Kept::Duplicate,
                };
                filed.iter().map(new).collect::<Vec<_>>().into_iter()
            }
        };
        self.domains.extend(filed.into_iter().map(|filed| filed.report.domain));
        for (mut entry, keeps) in entries.into_iter().zip(keeps) {
            match keeps.then(|| kept.next()).flatten() {
                Some(Kept::Duplicate) => entry.status = Status::Duplicate,
                Some(Kept::Confirmed) => {
                    entry.notes.push("it was there already, from mail that nobody vouched for".to_owned());
                    entry.status = Status::Duplicate;
                }
                Some(Kept::SameNumber) => {
                    entry
                        .notes
                        .push("another report with the same number and time says something else; both count".into());
                }
                Some(Kept::New) | None => {}
            }
            self.tell(&entry);
        }
    }

    fn tell(&mut self, entry: &Entry) {
        let totals = &mut self.totals;
        let number = match entry.status {
            Status::Ok => &mut totals.ok,
            Status::Partial => &mut totals.partial,
            Status::Rejected => &mut totals.rejected,
            Status::Duplicate => &mut totals.duplicate,
        };
        *number += 1;
        if matches!(entry.status, Status::Ok | Status::Partial) {
            totals.records += entry.records;
            totals.messages = totals.messages.saturating_add(entry.messages);
            totals.aligned = totals.aligned.saturating_add(entry.aligned);
            totals.unverified += u64::from(entry.trust == Some(Trust::Unverified));
        }
        (self.say)(entry);
    }

    fn wait(&mut self, entry: Entry, filed: Option<Filed>) {
        self.rows += filed.as_ref().map_or(0, |filed| filed.rows.len());
        self.waiting.push((entry, filed));
        if self.rows >= BATCH_ROWS || self.waiting.len() >= BATCH_REPORTS {
            self.flush();
        }
    }

    /// A report that is lost counts against the reports about its domain: what it said might have been a failure.
    fn remember_refusal(&mut self, name: &str, known: Option<(Fqdn, Time)>, why: &str) {
        let Some((domain, until)) = known.or_else(|| named(name)) else { return };
        let until = if until > self.now || until.unix() <= 0 { self.now } else { until };
        let (name, why) = (clean(name, 255).into_owned(), clean(why, 255).into_owned());
        self.refusals.push(Refusal { domain, until, trust: Trust::Unverified, name, why });
    }

    /// What keeps a report from being filed at all.
    fn unfit(&self, parsed: &Parsed) -> Option<String> {
        let (Some(begin), Some(end)) = (parsed.begin, parsed.end) else {
            return Some("it does not say when it is about".to_owned());
        };
        if parsed.domain.is_none() {
            return Some("it does not say which domain it is about".to_owned());
        }
        if end < begin {
            return Some(format!("it ends ({end}) before it begins ({begin})"));
        }
        if end > self.now + Span::days(1) {
            return Some(format!("it ends in the future ({end})"));
        }
        if end.since(begin) > LONGEST {
            return Some(format!(
                "it is about {}, and more than {LONGEST} says nothing about any day",
                end.since(begin)
            ));
        }
        None
    }
}

impl Visitor for Ingest<'_> {
    fn report(&mut self, name: &str, envelope: Option<&Envelope<'_>>, input: &mut dyn Read) {
        let mut parsed = match xml::parse(input) {
            Ok(parsed) => parsed,
            Err(refused) => return self.refused(name, refused.to_string()),
        };
        let origin = match envelope {
            Some(envelope) if !self.trust_mail => self.authenticator.origin(envelope.raw),
            _ => Origin { trust: Trust::Operator, organization: None, why: None },
        };
        let mut notes = std::mem::take(&mut parsed.notes);
        notes.extend(origin.why.iter().map(|why| format!("nobody vouches for the mail that it came by: {why}")));
        let mut errors = std::mem::take(&mut parsed.errors);
        let unfit = self.unfit(&parsed);
        let complete = errors.is_empty();
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut entry = Entry {
            file: name.to_owned(),
            status: if complete { Status::Ok } else { Status::Partial },
            org: text(&parsed.org),
            domain: parsed.domain.as_ref().map(Fqdn::to_string),
            begin: parsed.begin,
            end: parsed.end,
            records: parsed.records,
            messages: parsed.messages,
            aligned: parsed.aligned,
            report_id: text(&parsed.id),
            trust: Some(origin.trust),
            errors: Vec::new(),
            notes,
        };
        if let Some(why) = unfit {
            if parsed.records > 0 {
                errors
                    .push(format!("{} records of {} messages were read and not kept", parsed.records, parsed.messages));
            }
            self.remember_refusal(name, parsed.domain.clone().zip(parsed.end), &why);
            errors.insert(0, why);
            (entry.status, entry.records, entry.messages, entry.aligned) = (Status::Rejected, 0, 0, 0);
            entry.errors = errors;
            return self.wait(entry, None);
        }
        entry.errors = errors;
        let filed = file(&parsed, &origin, complete, self.now);
        // A report may hold many rows; they are held once.
        drop(parsed);
        self.wait(entry, filed);
    }

    fn refused(&mut self, name: &str, why: String) {
        self.remember_refusal(name, None, &why);
        let entry = Entry {
            file: name.to_owned(),
            status: Status::Rejected,
            org: None,
            domain: None,
            begin: None,
            end: None,
            records: 0,
            messages: 0,
            aligned: 0,
            report_id: None,
            trust: None,
            errors: vec![why],
            notes: Vec::new(),
        };
        self.wait(entry, None);
    }
}

fn file(parsed: &Parsed, origin: &Origin, complete: bool, received: Time) -> Option<Filed> {
    let (begin, end, domain) = (parsed.begin?, parsed.end?, parsed.domain.clone()?);
    let rows = parsed.rows.iter().map(|(source, header_from, auth, outcome, count)| FiledRow {
        source,
        header_from: Arc::clone(header_from),
        auth: Arc::clone(auth),
        outcome,
        count,
    });
    Some(Filed {
        report: Report {
            reporter: reporter(parsed, origin),
            id: parsed.id.clone(),
            domain,
            begin,
            end,
            published: parsed.published.clone(),
            trust: origin.trust,
            complete,
            records: parsed.records,
            messages: parsed.messages,
            aligned: parsed.aligned,
            received,
        },
        hash: parsed.hash,
        rows: rows.collect(),
    })
}

/// Whom a report is about and when it ends, by the name of its file: `receiver!domain!begin!end` (RFC 9990 section
/// 3.5.2).
fn named(name: &str) -> Option<(Fqdn, Time)> {
    let pieces: Vec<&str> = name.rsplit('/').next().unwrap_or(name).split('!').collect();
    let seconds = |piece: &str| -> Option<i64> {
        let digits = piece.split('.').next().unwrap_or(piece);
        digits.parse().ok().filter(|_| (9..=11).contains(&digits.len()))
    };
    pieces.windows(3).find_map(|window| {
        let (domain, _, end) = (window[0].parse().ok()?, seconds(window[1])?, seconds(window[2])?);
        Some((domain, Time::from_unix(end)))
    })
}

/// Who made a report: whoever signed its mail; else what it calls itself, since a name can be claimed by anybody.
fn reporter(parsed: &Parsed, origin: &Origin) -> String {
    let claimed = match (parsed.org.is_empty(), parsed.email.rsplit_once('@')) {
        (false, _) => parsed.org.to_lowercase(),
        (true, Some((_, host))) => host.to_lowercase(),
        (true, None) => "(nobody)".to_owned(),
    };
    clean(origin.organization.as_deref().unwrap_or(&claimed), 255).into_owned()
}

#[cfg(test)]
#[path = "ingest_tests.rs"]
mod tests;
