//! What is asked before a switch, and what proves it afterwards.

use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::key_in;

use super::apply::Host;
use super::journal::Journal;
use super::order::{DomainOrder, Verdict};
use crate::signers::probe::{self, Expected, KeyLookup, Probed, Settle};
use crate::signers::{KeyName, Rows};

/// Why a switch is not made now.
pub(super) fn hold_back(
    host: &Host<'_>,
    journal: &Journal,
    order: &DomainOrder,
    expected: &[Expected],
) -> Option<Verdict> {
    let domain = &order.domain;
    if let Some(refused) = journal.refused(domain).filter(|refused| refused.order == order.digest)
        && !host.retry
    {
        let seen = format!("{}; this order was rolled back and is not tried again by itself", refused.seen);
        return Some(Verdict::Wrong { what: seen, rolled_back: true });
    }
    for expected in expected {
        let name = expected.selector.record_name(domain);
        let seen = match ((host.lookup)(&name), &expected.key) {
            (KeyLookup::Unknown(why), _) => {
                return Some(Verdict::Unknown { why: format!("{name} could not be asked for: {why}") });
            }
            (KeyLookup::Found(text), Some((_, public))) if key_in(&text).as_ref() == Some(public) => continue,
            (KeyLookup::Found(_), _) => format!("{name} serves another key than the one that is to sign"),
            (KeyLookup::Missing, _) => format!("there is no {name}, so nobody could verify the new signature"),
        };
        return Some(Verdict::Wrong { what: format!("{seen}; nothing was switched"), rolled_back: true });
    }
    None
}

/// One probe of a domain against what is expected, repeated as long as the answer may be an old one or still come.
pub(super) fn ask(
    host: &Host<'_>,
    domain: &SigningDomain,
    expected: &[Expected],
    settle: Settle,
) -> Vec<probe::Verdict> {
    let judge = |probed: &Probed| probe::judge(probed, domain, expected, host.lookup);
    settle.ask(|| host.signer.probe(domain), judge)
}

/// What the probe says about old rows that were put back.
pub(super) fn prove_back(
    host: &Host<'_>,
    domain: &SigningDomain,
    names: &[KeyName],
    rows: &Rows,
    settle: Settle,
) -> String {
    if names.is_empty() {
        return "the domain has no row again, as before".into();
    }
    let selector = |name: &KeyName| rows.loaded.get(name)?.selector.clone();
    let expected: Option<Vec<Expected>> =
        names.iter().map(|name| Some(Expected { selector: selector(name)?, key: None })).collect();
    let Some(expected) = expected else {
        return "the old rows stand again; which selector they mean cannot be told from here".into();
    };
    let selectors: Vec<&str> = expected.iter().map(|expected| expected.selector.as_str()).collect();
    let selectors = selectors.join(" and ");
    let seen = ask(host, domain, &expected, settle);
    match seen.into_iter().find(|verdict| *verdict != probe::Verdict::Right) {
        None => format!("rolled back: {selectors} signs again, and verifies"),
        Some(probe::Verdict::Unknown { why }) => format!("the old rows stand again, unproven: {why}"),
        Some(probe::Verdict::Wrong { seen }) => format!("the old rows stand again, and are wrong too: {seen}"),
        Some(probe::Verdict::Right) => String::new(),
    }
}
