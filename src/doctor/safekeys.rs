//! KEY003: whether the signer opens its keys, by the rules that it goes by itself. Pure; [`super::signer`] gathers.

use super::finding::{Findings, Severity, Tier};
use super::signer::Facts;
use crate::report::doctor::safekeys as say;

pub fn judge(facts: &Facts, container: Option<&str>, findings: &mut Findings) {
    if facts.keys.is_empty() {
        findings.skip("KEY003", "keys", say::no_keys());
    }
    for key in &facts.keys {
        let about = key.path.display().to_string();
        match &key.verdict {
            Ok(()) => findings.ok("KEY003", Tier::Effective, about, say::opens(key, facts)),
            Err(problems) => {
                // Without RequireSafeKeys only the kernel refuses; the rest is a key that others may read.
                let refused = facts.safe_keys || problems.iter().any(|problem| problem.denied);
                let finding = findings.found(
                    "KEY003",
                    Tier::Effective,
                    about,
                    say::refuses(key, problems, facts, container, refused),
                );
                if !refused {
                    finding.weighing(Severity::Warn);
                }
            }
        }
    }
}
