//! The organizational domain: by tree walk (RFC 9989 section 4.10), and by the public suffix list as receivers that
//! know RFC 7489 alone find it (section 3.2). Where the two differ, half of the world aligns other names.

use super::{DmarcRecord, Psd, record_name};
use crate::name::Fqdn;

/// What stood at one `_dmarc` name of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Exactly one record that a verifier takes.
    Record(Box<DmarcRecord>),
    /// None, or several, which are all discarded.
    Nothing,
    /// DNS gave no answer; why.
    Unknown(String),
}

/// What a walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Every domain that was asked about, the longest first.
    pub asked: Vec<(Fqdn, Step)>,
    /// `None` when an answer that could change it is missing.
    pub organizational: Option<Fqdn>,
}

/// At most so many questions (RFC 9989 section 4.10).
const MOST_QUESTIONS: usize = 8;

/// Walks from `start` towards the root. `ask` is given the domain and the name of its record.
pub fn tree_walk(start: &Fqdn, mut ask: impl FnMut(&Fqdn, &Fqdn) -> Step) -> Walk {
    let mut asked: Vec<(Fqdn, Step)> = Vec::new();
    for domain in stations(start) {
        // A name too long for `_dmarc.` in front of it has no record.
        let step = record_name(&domain).map_or(Step::Nothing, |name| ask(&domain, &name));
        let last = matches!(&step, Step::Record(r) if matches!(r.psd, Some(Psd::Yes | Psd::No)));
        asked.push((domain, step));
        if last {
            break;
        }
    }
    let unknown = asked.iter().any(|(_, step)| matches!(step, Step::Unknown(_)));
    let organizational = (!unknown).then(|| organizational(start, &asked));
    Walk { asked, organizational }
}

/// The domains that a walk from `start` asks about: itself, then shorter ones, with a jump to seven labels.
pub fn stations(start: &Fqdn) -> Vec<Fqdn> {
    let mut stations = vec![start.clone()];
    let labels = start.labels().count();
    let mut next = start.parent();
    if labels > MOST_QUESTIONS {
        // RFC 9989 section 4.10 step 4: eight or more labels left: down to seven.
        for _ in 1..labels - (MOST_QUESTIONS - 1) {
            next = next.and_then(|name| name.parent());
        }
    }
    while let Some(name) = next {
        next = name.parent();
        stations.push(name);
    }
    stations.truncate(MOST_QUESTIONS);
    stations
}

fn organizational(start: &Fqdn, asked: &[(Fqdn, Step)]) -> Fqdn {
    let record = |step: &Step| match step {
        Step::Record(record) => Some((**record).clone()),
        _ => None,
    };
    for (index, (domain, step)) in asked.iter().enumerate() {
        match record(step).and_then(|record| record.psd) {
            Some(Psd::No) => return domain.clone(),
            // The name one label below the public suffix, on the way to where the walk began.
            Some(Psd::Yes) if index > 0 => return below(start, domain),
            _ => {}
        }
    }
    let shortest = asked.iter().rev().find(|(_, step)| matches!(step, Step::Record(_)));
    shortest.map_or_else(|| start.clone(), |(domain, _)| domain.clone())
}

/// The ancestor of `name` (or itself) that has one label more than `suffix`.
fn below(name: &Fqdn, suffix: &Fqdn) -> Fqdn {
    let wanted = suffix.labels().count() + 1;
    let mut name = name.clone();
    while name.labels().count() > wanted {
        match name.parent() {
            Some(parent) => name = parent,
            None => break,
        }
    }
    name
}

/// The organizational domain by the public suffix list; `None` for a public suffix itself. Entries of the list's
/// private section (`github.io`) are not suffixes for DMARC: who runs them publishes for all below (RFC 7489 erratum
/// 6729).
pub fn by_suffix_list(domain: &Fqdn) -> Option<Fqdn> {
    let mut name = domain.clone();
    loop {
        let suffix = psl::suffix(name.as_str().as_bytes())?;
        let text: Fqdn = std::str::from_utf8(suffix.as_bytes()).ok()?.parse().ok()?;
        if suffix.typ() == Some(psl::Type::Private) {
            name = text.parent()?;
            continue;
        }
        return (*domain != text).then(|| below(domain, &text));
    }
}

/// Where `target` must publish that it takes reports about `domain` (RFC 9990 section 4); `None` when both are of one
/// organization by the suffix list, and nothing is needed.
pub fn authorization_name(domain: &Fqdn, target: &Fqdn) -> Option<Result<Fqdn, crate::name::NameError>> {
    let org = |name: &Fqdn| by_suffix_list(name).unwrap_or_else(|| name.clone());
    (org(domain) != org(target)).then(|| format!("{domain}._report._dmarc.{target}").parse())
}
