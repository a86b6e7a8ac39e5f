//! The event log's hash chain: every event seals all that came before it.
//!
//! The hash of an event is SHA-256 over the 32 octets of the hash before it (zeros for the first) and the event as
//! JSON, which is the line that `dkimctl log --json` prints, without its last field `hash`. So anybody can walk it.

use sha2::{Digest, Sha256};

use super::{Event, Logged};
use crate::name::SigningDomain;
use crate::time::Time;

/// The end of a chain: how many events there are, and the hash of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain {
    pub seq: u64,
    pub head: [u8; 32],
}

/// The columns of an event's row, with the fact as the JSON that was hashed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub domain: &'a str,
    pub at: Time,
    pub actor: &'a str,
    pub fact: &'a str,
}

impl Chain {
    /// Adds one event and returns its place and its hash.
    pub(super) fn push(&mut self, row: Row<'_>) -> (u64, [u8; 32]) {
        self.seq += 1;
        let mut hash = Sha256::new();
        hash.update(self.head);
        hash.update(row.line(self.seq));
        self.head = hash.finalize().into();
        (self.seq, self.head)
    }
}

impl Row<'_> {
    fn line(&self, seq: u64) -> String {
        let quoted = |text: &str| serde_json::to_string(text).expect("a text is JSON");
        let fact = self.fact.strip_prefix('{').unwrap_or(self.fact);
        let (domain, actor) = (quoted(self.domain), quoted(self.actor));
        format!(r#"{{"seq":{seq},"domain":{domain},"at":"{}","actor":{actor},{fact}"#, self.at)
    }
}

/// The fact of an event as it is kept and hashed.
pub(super) fn fact_text(event: &Event) -> String {
    serde_json::to_string(&event.fact).expect("a fact is JSON")
}

pub(super) fn logged(seq: u64, domain: SigningDomain, event: Event, hash: &[u8]) -> Logged {
    Logged { seq, domain, event, hash: hex(hash) }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::fact::Fact;
    use crate::store::sample;

    #[test]
    fn the_hash_is_over_the_line_that_is_printed() {
        let mut chain = Chain::default();
        let domain = sample::domain(1);
        let mut before = [0; 32];
        for event in [
            Event { at: sample::T0, actor: "o'\"neill\n".to_owned(), fact: Fact::Released },
            Event { at: sample::T0, actor: "cron".to_owned(), fact: Fact::Adopted { key: sample::key(1, "s1") } },
        ] {
            let fact = fact_text(&event);
            let row = Row { domain: domain.as_str(), at: event.at, actor: &event.actor, fact: &fact };
            let (seq, hash) = chain.push(row);

            let printed = serde_json::to_string(&logged(seq, domain.clone(), event, &hash)).unwrap();
            let without_hash = printed.replace(&format!(r#","hash":"{}""#, hex(&hash)), "");
            let again: [u8; 32] = Sha256::new().chain_update(before).chain_update(&without_hash).finalize().into();
            assert_eq!(again, hash, "{printed}");
            before = hash;
        }
    }
}
