//! The doctor: what goes wrong with signed mail in containers, found with evidence.
//!
//! [`catalog`] lists every check. A group is one file that looks at the [`Patient`] and leaves [`finding::Findings`];
//! it says nothing itself: every sentence stands in [`crate::report::doctor`]. [`examine`] runs the groups and settles
//! what several tiers of evidence say of the same thing. [`memory`] remembers the last run.

use std::thread;

pub mod builds;
pub mod catalog;
pub mod catchers;
pub mod clock;
pub mod compose;
pub mod container;
pub mod dkim;
pub mod dmarc;
pub mod dockerfile;
mod dockerignore;
pub mod engine;
pub mod files;
pub mod finding;
pub mod helo_name;
pub mod helo_seen;
pub mod image;
pub mod inside;
pub mod keyfiles;
pub mod live;
pub mod logs;
pub mod memory;
pub mod net;
pub mod patient;
pub mod postfix;
pub mod queue;
pub mod relay_probe;
pub mod relay_trust;
pub mod rspamd;
pub mod safekeys;
pub mod settings;
pub mod signer;
pub mod spf;
pub mod syslog;
pub mod tables;
pub mod written;

use catalog::{Check, Group};
use finding::{Finding, Findings};
pub use patient::Patient;

#[cfg(test)]
#[path = "rig_tests.rs"]
mod rig;

/// A group of checks: looks, and leaves what it found.
type Examination = fn(&Patient, &mut Findings);

/// Who looks, and for which groups. A new one is one file and one line; several may look for the same group.
const EXAMINATIONS: &[(&[Group], Examination)] = &[
    (&[Group::Helo], helo_name::examine),
    (&[Group::Key], builds::examine),
    (&[Group::Key], keyfiles::examine),
    (&[Group::Key, Group::Dkim], tables::examine),
    (&[Group::Relay, Group::Ip6], relay_trust::examine),
    (&[Group::Queue], queue::examine),
    (&[Group::Pf], settings::examine),
    (&[Group::Dev], catchers::examine),
    (&[Group::Key], image::examine),
    (&[Group::Net], live::net),
    (&[Group::Ip6], live::ip6),
    (&[Group::Helo], live::helo),
    (&[Group::Key], live::keys),
    (&[Group::Dkim], live::dkim),
    (&[Group::Spf], live::spf),
    (&[Group::Dmarc], live::dmarc),
    (&[Group::Relay], live::relay),
    (&[Group::Sys], live::clock),
];

/// Runs the checks that `wanted` asks for, side by side, and settles what they found.
pub fn examine(patient: &Patient, wanted: &(dyn Fn(&Check) -> bool + Sync)) -> Vec<Finding> {
    let asked = |group: Group| catalog::CHECKS.iter().any(|check| check.group == group && wanted(check));
    let mut findings = Findings::default();
    thread::scope(|scope| {
        let looking: Vec<_> = EXAMINATIONS
            .iter()
            .filter(|(groups, _)| groups.iter().any(|group| asked(*group)))
            .map(|(_, examination)| {
                scope.spawn(|| {
                    let mut findings = Findings::default();
                    examination(patient, &mut findings);
                    findings
                })
            })
            .collect();
        for looked in looking {
            findings.append(looked.join().expect("an examination does not panic"));
        }
    });
    let mut settled = findings.settled(wanted, patient.container.there().is_some());
    if let Some(files) = &patient.files {
        settled.iter_mut().filter_map(|finding| finding.place.as_mut()).for_each(|place| files.as_named(place));
    }
    settled
}
