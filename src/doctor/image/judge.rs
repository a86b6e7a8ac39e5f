//! Whose key it is, and what that costs: its public half is looked for in our ledger, and in DNS under every name that
//! the ledger, its path or a table in the image gives for it.
//!
//! Live, by either of them, is KEY001. Everything else is KEY002: a key of ours that is not live is an error, an
//! unknown one in a place of DKIM keys a warning, any other one worth a line. A name server that does not answer is
//! never read as "not live".

use std::collections::{BTreeMap, BTreeSet};

use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::lifecycle::seen::{Answer, Sweep};
use dkimctl_state::name::{Fqdn, Selector, SigningDomain};
use dkimctl_state::record::dkim::{KeyRecord, PublicKey};
use dkimctl_state::record::txt::TxtText;

use super::hints::{self, Hint};
use super::{Image, KeyFound, Kind, Place};
use crate::doctor::finding::{Findings, Severity, Tier};
use crate::doctor::patient::OurKey;
use crate::report::doctor::image as said;

/// What stands at the name of a key record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// Every text that any server shows.
    pub texts: Vec<TxtText>,
    /// Why some of them could not be asked.
    pub unknown: Option<String>,
}

/// Names that are asked for one image, and hints of tables that are tried for every key.
const MOST_NAMES: usize = 300;

/// Whose a key is, as far as can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner<'a> {
    /// In our ledger.
    Ours {
        domain: &'a SigningDomain,
        selector: &'a Selector,
        phase: Phase,
    },
    /// A record in DNS holds it, and our ledger does not.
    InDns {
        domain: SigningDomain,
        selector: Selector,
    },
    Nobody,
}

/// What is to be said of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'a> {
    pub owner: Owner<'a>,
    /// The record that shows it now.
    pub shown_at: Option<Fqdn>,
    /// Receivers accept what it signs, by DNS or by our ledger.
    pub live: bool,
    /// A name that could not be asked, and why.
    pub unasked: Option<(Fqdn, String)>,
}

/// Asks for what stands at names; one answer a name.
pub type Ask<'a> = dyn Fn(&[Fqdn]) -> Vec<Shown> + 'a;

/// Everything that there is to say of an image.
pub fn judge(image: &Image, ours: &[OurKey], ask: &Ask<'_>, findings: &mut Findings) {
    let names = names(image, ours);
    let asked: Vec<Fqdn> =
        names.values().flatten().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let (asked, beyond) = asked.split_at(asked.len().min(MOST_NAMES));
    let shown: BTreeMap<Fqdn, Shown> = asked.iter().cloned().zip(ask(asked)).collect();
    if let Some(name) = beyond.first() {
        findings.unknown("KEY001", Tier::Effective, &image.name, said::too_many_names(&image.name, beyond.len(), name));
    }
    for (index, found) in image.keys.iter().enumerate() {
        let about = said::about(image, found);
        match &found.kind {
            Kind::Whole { public, bare, .. } => {
                let none = Vec::new();
                let verdict = verdict(public, bare.as_ref(), ours, names.get(&index).unwrap_or(&none), &shown);
                whole(image, found, about, &verdict, findings);
            }
            kind => {
                let severity = match kind {
                    Kind::AgeIdentity => Severity::Error,
                    Kind::Foreign(_) => Severity::Info,
                    _ if is_suspect(found) => Severity::Warn,
                    _ => Severity::Info,
                };
                findings.found("KEY002", Tier::Files, about, said::not_whole(image, found)).weighing(severity);
            }
        }
    }
    for unscanned in &image.unscanned {
        for id in ["KEY001", "KEY002"] {
            let about = format!("{}: {}", image.name, unscanned.what);
            findings.unknown(id, Tier::Files, about, said::unscanned(image, unscanned));
        }
    }
    let live = findings.iter().any(|finding| finding.id == "KEY001");
    if !live {
        findings.ok("KEY001", Tier::Effective, &image.name, said::nothing_live(image, asked.len()));
    }
    if image.keys.is_empty() && image.unscanned.is_empty() {
        findings.ok("KEY002", Tier::Files, &image.name, said::nothing_found(image));
    }
}

fn whole(image: &Image, found: &KeyFound, about: String, verdict: &Verdict<'_>, findings: &mut Findings) {
    if verdict.live {
        findings.found("KEY001", Tier::Effective, about, said::live(image, found, verdict));
        return;
    }
    // That DNS could not be asked leaves open whether it is live; our ledger knows its own keys.
    if let (Some((name, why)), Owner::Nobody) = (&verdict.unasked, &verdict.owner) {
        findings.unknown("KEY001", Tier::Effective, about.clone(), said::unasked(image, found, name, why));
    }
    let severity = match verdict.owner {
        Owner::Ours { .. } | Owner::InDns { .. } => Severity::Error,
        Owner::Nobody if is_snakeoil(found) => Severity::Info,
        Owner::Nobody if is_suspect(found) => Severity::Warn,
        Owner::Nobody => Severity::Info,
    };
    findings.found("KEY002", Tier::Files, about, said::not_live(image, found, verdict)).weighing(severity);
}

/// Under which names each key may be in DNS, with what the name is made of.
fn names(image: &Image, ours: &[OurKey]) -> BTreeMap<usize, Vec<(Fqdn, (SigningDomain, Selector))>> {
    let mut names = BTreeMap::new();
    for (index, found) in image.keys.iter().enumerate() {
        let Kind::Whole { public, .. } = &found.kind else { continue };
        let ledger = ours.iter().filter(|key| key.public == *public).map(|key| (&key.domain, &key.selector));
        let paths = paths(&found.place);
        let by_path: Vec<Hint> = paths.iter().flat_map(|path| hints::of_path(path)).collect();
        // A row that names another file speaks of another key.
        let fits = |hint: &&Hint| {
            let same = |row: &str| paths.iter().any(|path| row.trim_start_matches('/') == *path);
            hint.path.as_deref().is_none_or(same)
        };
        let by_table = image.hints.iter().filter(fits);
        let hinted = by_path.iter().chain(by_table).map(|hint| (&hint.domain, &hint.selector));
        let mut of_key: Vec<_> = ledger
            .chain(hinted)
            .map(|(domain, selector)| (selector.record_name(domain), (domain.clone(), selector.clone())))
            .collect();
        of_key.sort();
        of_key.dedup();
        names.insert(index, of_key);
    }
    names
}

fn verdict<'a>(
    public: &PublicKey,
    bare: Option<&PublicKey>,
    ours: &'a [OurKey],
    names: &[(Fqdn, (SigningDomain, Selector))],
    shown: &BTreeMap<Fqdn, Shown>,
) -> Verdict<'a> {
    let is_it = |text: &TxtText| {
        KeyRecord::parse(text)
            .ok()
            .and_then(|record| record.key)
            .is_some_and(|key| key == *public || Some(&key) == bare)
    };
    let at = |name: &Fqdn| shown.get(name).is_some_and(|shown| shown.texts.iter().any(is_it));
    let found = names.iter().find(|(name, _)| at(name));
    let unasked = names.iter().find_map(|(name, _)| match shown.get(name) {
        Some(shown) => shown.unknown.clone().map(|why| (name.clone(), why)),
        None => Some((name.clone(), said::NOT_ASKED.to_owned())),
    });
    let key = ours.iter().find(|key| key.public == *public);
    let owner = match (key, found) {
        (Some(key), _) => Owner::Ours { domain: &key.domain, selector: &key.selector, phase: key.phase },
        (None, Some((_, (domain, selector)))) => Owner::InDns { domain: domain.clone(), selector: selector.clone() },
        (None, None) => Owner::Nobody,
    };
    Verdict {
        live: found.is_some() || key.is_some_and(OurKey::is_live),
        shown_at: found.map(|(name, _)| name.clone()),
        unasked: unasked.filter(|_| found.is_none()),
        owner,
    }
}

/// In a place of DKIM keys, or in a setting: nobody puts there what is of no use.
fn is_suspect(found: &KeyFound) -> bool {
    match &found.place {
        Place::Setting { .. } => true,
        place => paths(place).iter().any(|path| hints::is_about_dkim(path)),
    }
}

/// Debian's ssl-cert makes this one on every machine that it is installed on. It is named, not passed over: its public
/// half was compared like any other.
pub fn is_snakeoil(found: &KeyFound) -> bool {
    paths(&found.place).iter().any(|path| path.ends_with("etc/ssl/private/ssl-cert-snakeoil.key"))
}

fn paths(place: &Place) -> Vec<&str> {
    match place {
        Place::File { path, aliases, .. } => {
            std::iter::once(path).chain(aliases).map(|path| path.trim_start_matches('/')).collect()
        }
        Place::Setting { .. } => Vec::new(),
    }
}

/// What the authoritative servers show, in these terms.
pub fn shown(sweep: &Sweep) -> Shown {
    let mut shown = Shown::default();
    if sweep.answers.is_empty() {
        shown.unknown = Some(said::NO_SERVER.to_owned());
    }
    for answer in &sweep.answers {
        match &answer.answer {
            Answer::Txt { texts, .. } => shown.texts.extend(texts.iter().cloned()),
            Answer::Absent => {}
            Answer::Unknown(why) => shown.unknown = Some(format!("{}: {why}", answer.server)),
        }
    }
    shown
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
