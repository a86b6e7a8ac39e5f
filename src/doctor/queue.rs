//! QUEUE001, QUEUE002: whether accepted mail outlives the container, and what waits in the queue.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::compose::model::MountKind as Written;
use super::container::MountKind;
use super::dockerfile::Does;
use super::finding::{Findings, Severity, Tier};
use super::patient::Patient;
use super::written::{Kind, Mta};
use crate::report::doctor::queue as said;

/// What the checks are about, at every tier.
pub const QUEUE: &str = "queue";

/// Where Postfix keeps it, if nobody says otherwise.
const USUAL: &str = "/var/spool/postfix";
/// Where docker-mailserver keeps it, with everything else that must stay.
const SUITE: &str = "/var/mail-state";

/// Deferred mail of this age is no passing trouble any more.
const OLD: i64 = 4 * 3600;
/// So much of it is none either.
const MANY: usize = 100;

pub fn examine(patient: &Patient, findings: &mut Findings) {
    for mta in patient.written().mtas() {
        written(&mta, findings);
    }
    in_force(patient, findings);
}

fn written(mta: &Mta<'_>, findings: &mut Findings) {
    if mta.kind == Kind::Other {
        return;
    }
    let service = mta.service;
    let directory =
        mta.main_cf().and_then(|(_, main)| main.expanded("queue_directory")).unwrap_or_else(|| USUAL.into());
    let suite = (mta.kind == Kind::Suite).then_some(SUITE);
    let mount = service.mount_of(&directory).or_else(|| suite.and_then(|state| service.mount_of(state)));
    let name = &service.name;
    let place = mta.project.place(mount.map_or(service.origin, |mount| mount.origin));
    let warn = |findings: &mut Findings, said| {
        findings.found("QUEUE001", Tier::Files, QUEUE, said).weighing(Severity::Warn).at(place.clone());
    };
    match mount.map(|mount| &mount.kind) {
        Some(Written::Volume(_) | Written::Bind(_)) => {
            findings.ok("QUEUE001", Tier::Files, QUEUE, said::kept(name, &directory));
        }
        Some(Written::Anonymous) => warn(findings, said::anonymous(name, &directory)),
        Some(Written::Tmpfs) => warn(findings, said::in_memory(name, &directory)),
        None if service.is_piece() => {
            findings.unknown("QUEUE001", Tier::Files, QUEUE, said::written_elsewhere(name)).at(place);
        }
        None => match mta.dockerfile() {
            Some((_, dockerfile)) => {
                let declared = dockerfile.steps.iter().any(|step| {
                    matches!(&step.does, Does::Volume(paths) if paths.iter().any(|path| directory.starts_with(path.as_str())))
                });
                let said = if declared { said::anonymous(name, &directory) } else { said::lost(name, &directory) };
                warn(findings, said);
            }
            // Images of others may keep it elsewhere, or forward without a queue worth keeping.
            None => {
                findings.unknown("QUEUE001", Tier::Files, QUEUE, said::not_known(name)).at(place);
            }
        },
    }
}

fn in_force(patient: &Patient, findings: &mut Findings) {
    let postfix = match patient.postfix() {
        Ok(Some(postfix)) => postfix,
        Ok(None) => return,
        Err(why) => {
            findings.unknown("QUEUE001", Tier::Effective, QUEUE, said::not_asked(why));
            findings.unknown("QUEUE002", Tier::Effective, QUEUE, said::not_asked(why));
            return;
        }
    };
    let Some(container) = patient.container.there() else { return };
    let directory = postfix.get("queue_directory").unwrap_or(USUAL);
    // An empty queue is an empty answer; a queue that cannot be listed is none.
    let waiting = container.ask(&["postqueue", "-j"]).map(|text| messages(&text));
    let count = waiting.as_ref().map(Vec::len).ok();
    match container.mount_of(directory) {
        Some(mount) if mount.kind == MountKind::Anonymous => {
            findings.found("QUEUE001", Tier::Effective, QUEUE, said::anonymous_in_force(directory, count));
        }
        Some(mount) if mount.kind == MountKind::Tmpfs => {
            findings.found("QUEUE001", Tier::Effective, QUEUE, said::in_memory_in_force(directory, count));
        }
        Some(mount) => findings.ok("QUEUE001", Tier::Effective, QUEUE, said::kept_on(directory, &mount.source, count)),
        None => {
            findings.found("QUEUE001", Tier::Effective, QUEUE, said::lost_in_force(directory, count));
        }
    }
    match waiting {
        Ok(messages) => weigh(&messages, patient.now.unix(), findings),
        Err(error) => {
            findings.unknown("QUEUE002", Tier::Effective, QUEUE, said::not_asked(&error.to_string()));
        }
    }
}

/// One message, as `postqueue -j` writes it: one object a line.
#[derive(Debug, Deserialize)]
struct Message {
    queue_name: String,
    arrival_time: i64,
    #[serde(default)]
    recipients: Vec<Recipient>,
}

#[derive(Debug, Deserialize)]
struct Recipient {
    #[serde(default)]
    delay_reason: String,
}

fn messages(text: &str) -> Vec<Message> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn weigh(messages: &[Message], now: i64, findings: &mut Findings) {
    let deferred: Vec<&Message> = messages.iter().filter(|message| message.queue_name == "deferred").collect();
    let oldest = deferred.iter().map(|message| now.saturating_sub(message.arrival_time)).max().unwrap_or(0);
    if oldest < OLD && deferred.len() < MANY {
        return findings.ok("QUEUE002", Tier::Effective, QUEUE, said::fresh(messages.len(), deferred.len()));
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for recipient in deferred.iter().flat_map(|message| &message.recipients) {
        *reasons.entry(shape(&recipient.delay_reason)).or_default() += 1;
    }
    let top = reasons.into_iter().filter(|(reason, _)| !reason.is_empty()).max_by_key(|(_, count)| *count);
    let check = top.as_ref().and_then(|(reason, _)| check_of(reason));
    findings.found("QUEUE002", Tier::Effective, QUEUE, said::waiting(deferred.len(), oldest, top, check));
}

/// A reason without what differs from message to message: names of hosts, addresses, numbers of sessions.
fn shape(reason: &str) -> String {
    let inside = |text: &str| {
        let mut out = String::new();
        let mut depth = 0usize;
        for c in text.chars() {
            match c {
                '[' => depth += 1,
                ']' if depth > 0 => depth -= 1,
                c if depth == 0 => out.push(c),
                _ => {}
            }
        }
        out
    };
    let text = inside(reason);
    let text = match text.split_once(" said: ") {
        Some((_, said)) => said.to_owned(),
        None => text,
    };
    let words = text
        .split_whitespace()
        .filter(|word| !word.contains('.') || word.chars().all(|c| c.is_ascii_digit() || c == '.'));
    words.take(16).collect::<Vec<_>>().join(" ")
}

/// The check that a reason belongs to.
pub fn check_of(reason: &str) -> Option<&'static str> {
    const KNOWN: &[(&str, &str)] = &[
        ("4.7.25", "NET003"),
        ("5.7.25", "NET002"),
        ("4.7.23", "NET003"),
        ("cannot find your reverse hostname", "NET002"),
        ("reverse dns", "NET002"),
        ("ptr record", "NET002"),
        ("cannot find your hostname", "NET003"),
        ("fully-qualified hostname", "HELO001"),
        ("helo command rejected", "HELO002"),
        ("7.26", "DKIM005"),
        ("7.30", "DKIM005"),
        ("7.27", "SPF001"),
        ("7.515", "DKIM005"),
        ("7.31", "DMARC001"),
        ("7.32", "DMARC001"),
        ("7.40", "DMARC001"),
        ("network is unreachable", "IP6003"),
        ("connection timed out", "NET001"),
        ("no route to host", "NET001"),
        ("connection refused", "NET001"),
        ("name service error", "PF001"),
        ("try again", "PF001"),
        ("milter", "DKIM005"),
    ];
    let reason = reason.to_ascii_lowercase();
    KNOWN.iter().find(|(sign, _)| reason.contains(sign)).map(|(_, id)| *id)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
