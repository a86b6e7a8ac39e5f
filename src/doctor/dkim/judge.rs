//! What the records of the keys come to.

use std::collections::BTreeMap;

use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::lifecycle::seen::Answer;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::{Algorithm, KeyRecord, PublicKey, RecordError};
use dkimctl_state::record::txt::TxtText;
use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;

use super::{Facts, Key};
use crate::doctor::finding::{Findings, Severity, Tier};
use crate::report::doctor::dkim as say;
use crate::signers::probe::Verdict;

/// How one server's answer fails a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    Missing,
    /// The record is an alias of a name that has none.
    Dangling {
        target: String,
    },
    /// `p=` is empty: the key is revoked (RFC 6376 section 3.6.1).
    Revoked,
    /// Several key records, of which verifiers take any one (RFC 6376 section 3.6.2.2).
    Several(usize),
    /// One record was cut into several, where it ought to have been several strings of one.
    Cut(usize),
    Malformed {
        text: TxtText,
        why: RecordError,
    },
    /// The `p=` of another key.
    Other(PublicKey),
}

pub fn judge(facts: &Facts, findings: &mut Findings) {
    if facts.keys.is_empty() {
        for id in ["DKIM001", "DKIM002", "DKIM003", "DKIM004"] {
            findings.skip(id, "keys", say::no_key());
        }
    }
    let mut algorithms: BTreeMap<&SigningDomain, Vec<Algorithm>> = BTreeMap::new();
    for key in &facts.keys {
        let seen = record(key, findings);
        if let Some(seen) = seen.filter(|_| key.signs()) {
            algorithms.entry(&key.domain).or_default().push(seen.algorithm);
            strength(key, &seen, findings);
        }
        age(key, facts, findings);
    }
    for (domain, algorithms) in algorithms {
        if algorithms.iter().all(|algorithm| *algorithm == Algorithm::Ed25519) {
            findings.found("DKIM003", Tier::Effective, domain.as_str(), say::ed25519_alone(domain));
        }
    }
    if facts.sha1 {
        findings.found("DKIM003", Tier::Effective, "SignatureAlgorithm", say::sha1());
    }
    for probe in &facts.probes {
        let about = probe.domain.as_str();
        match &probe.verdict {
            Verdict::Right => findings.ok("DKIM005", Tier::Observed, about, say::signed(&probe.domain)),
            Verdict::Wrong { seen } => {
                findings.found("DKIM005", Tier::Observed, about, say::not_signed(seen));
            }
            Verdict::Unknown { why } => {
                findings.unknown("DKIM005", Tier::Observed, about, say::unprobed(why));
            }
        }
    }
}

/// DKIM001 and DKIM002: what each server has. Returns the record that it has, where one has it right.
fn record(key: &Key, findings: &mut Findings) -> Option<KeyRecord> {
    let about = key.name();
    let (mut right, mut wrong, mut unknown) = (None, Vec::new(), Vec::new());
    let mut servers = 0;
    for answer in &key.sweep.answers {
        match read(key, &answer.answer) {
            Err(why) => unknown.push(format!("{}: {why}", answer.server)),
            Ok(Ok(record)) => {
                servers += 1;
                right = Some(record);
            }
            Ok(Err(fault)) => wrong.push((answer.server.as_str(), fault)),
        }
    }
    let others: Vec<_> = wrong.iter().filter(|(_, fault)| matches!(fault, Wrong::Other(_))).cloned().collect();
    let broken: Vec<_> = wrong.iter().filter(|(_, fault)| !matches!(fault, Wrong::Other(_))).cloned().collect();
    if let Some((_, Wrong::Other(seen))) = others.first() {
        findings.found("DKIM001", Tier::Effective, &about, say::other_key(key, &others, seen));
    }
    if !broken.is_empty() {
        // A key that signs no more, and whose mail is still under way.
        let (id, said) = match key.phase {
            Some(Phase::Retiring) => ("DKIM004", say::gone_too_early(key, &broken)),
            _ => ("DKIM002", say::broken(key, &broken)),
        };
        let finding = findings.found(id, Tier::Effective, &about, said);
        if id == "DKIM004" {
            finding.weighing(Severity::Error);
        }
    }
    match (wrong.is_empty(), unknown.is_empty()) {
        (true, true) => {
            findings.ok("DKIM002", Tier::Effective, &about, say::whole(key, servers));
            match key.public {
                Some(_) => findings.ok("DKIM001", Tier::Effective, about, say::same_key(key)),
                None => findings.skip("DKIM001", about, say::probe_compares()),
            }
        }
        (true, false) => {
            findings.unknown("DKIM002", Tier::Effective, &about, say::unknown(key, &unknown));
            findings.unknown("DKIM001", Tier::Effective, about, say::unknown(key, &unknown));
        }
        (false, _) => {}
    }
    right
}

/// One server's answer: what is not known, or the record, or what is wrong with it.
fn read(key: &Key, answer: &Answer) -> Result<Result<KeyRecord, Wrong>, String> {
    let texts = match answer {
        Answer::Unknown(why) => return Err(why.clone()),
        Answer::Absent => {
            let target = key.sweep.cname.as_ref().map(|(target, _)| target.to_string());
            return Ok(Err(target.map_or(Wrong::Missing, |target| Wrong::Dangling { target })));
        }
        Answer::Txt { texts, .. } => texts,
    };
    Ok(match &texts[..] {
        [text] => of_text(key, text),
        several => Err(match key.public.as_ref().is_some_and(|public| is_cut(several, public)) {
            true => Wrong::Cut(several.len()),
            false => Wrong::Several(several.len()),
        }),
    })
}

fn of_text(key: &Key, text: &TxtText) -> Result<KeyRecord, Wrong> {
    let record = KeyRecord::parse(text).map_err(|why| Wrong::Malformed { text: text.clone(), why })?;
    match (&record.key, &key.public) {
        (None, _) => Err(Wrong::Revoked),
        (Some(seen), Some(wanted)) if seen != wanted => Err(Wrong::Other(seen.clone())),
        _ => Ok(record),
    }
}

/// Whether the texts, put together in some order, are the record of the key. Two or three parts are what happens.
fn is_cut(texts: &[TxtText], public: &PublicKey) -> bool {
    let joined = |order: &[usize]| TxtText::join(order.iter().map(|&index| texts[index].as_bytes()));
    let is_it =
        |order: &[usize]| KeyRecord::parse(&joined(order)).is_ok_and(|record| record.key.as_ref() == Some(public));
    match texts.len() {
        2 => [[0, 1], [1, 0]].iter().any(|order| is_it(order)),
        3 => [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].iter().any(|order| is_it(order)),
        _ => false,
    }
}

/// DKIM003: what is allowed to stand there, and is refused or passed over by some.
fn strength(key: &Key, record: &KeyRecord, findings: &mut Findings) {
    let about = key.name();
    let mut well = true;
    let mut warn = |said| {
        well = false;
        findings.found("DKIM003", Tier::Effective, &about, said);
    };
    if let (Algorithm::Rsa, Some(public)) = (record.algorithm, &record.key) {
        match bits(public) {
            // RFC 8301 section 3.2: at least 1024, and 2048 is what signers should use.
            Some(bits) if bits < 2048 => warn(say::short(key, bits)),
            Some(_) => {}
            None => warn(say::not_rsa(key)),
        }
    }
    if record.testing {
        warn(say::testing(key));
    }
    if record.hashes.as_ref().is_some_and(|hashes| hashes.iter().all(|hash| hash != "sha256")) {
        warn(say::no_sha256(key));
    }
    if record.services.as_ref().is_some_and(|list| list.iter().all(|service| service != "*" && service != "email")) {
        warn(say::not_for_mail(key));
    }
    if well {
        findings.ok("DKIM003", Tier::Effective, about, say::strong(key));
    }
}

/// The size of an RSA key; `p=` ought to be a SubjectPublicKeyInfo (RFC 6376 erratum 3017).
fn bits(public: &PublicKey) -> Option<usize> {
    RsaPublicKey::from_public_key_der(public.as_bytes()).ok().map(|key| key.n().bits())
}

/// DKIM004: a key that signs for too long.
fn age(key: &Key, facts: &Facts, findings: &mut Findings) {
    let (Some(due), Some(now)) = (key.due, facts.now) else { return };
    if !key.signs() {
        return;
    }
    match now >= due {
        true => {
            findings.found("DKIM004", Tier::Effective, key.name(), say::overdue(key, due));
        }
        false => findings.ok("DKIM004", Tier::Effective, key.name(), say::young(key, due)),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
