//! The rows of one report, counted together: a report of a thousand equal records is one row.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use dkimctl_state::lifecycle::staging::evidence::Outcome;

use super::record::Draft;
use crate::dmarc::limits;

/// Every different row with its count.
#[derive(Debug, Default)]
pub struct Rows {
    pub texts: Texts,
    counts: HashMap<Key, u64>,
}

/// The texts of the rows, each once.
#[derive(Debug, Default)]
pub struct Texts {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
    octets: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    header_from: u32,
    auth: u32,
    outcome: u16,
}

impl Rows {
    /// Whether there was room for it.
    pub(super) fn add(&mut self, draft: &Draft, outcome: Outcome, count: u64) -> bool {
        let Some(source) = draft.source else { return false };
        let (Some(header_from), Some(auth)) = (self.texts.number(&draft.header_from), self.texts.number(&draft.auth))
        else {
            return false;
        };
        let key = Key { source, header_from, auth, outcome: outcome.bits() };
        if self.counts.len() >= limits::ROWS && !self.counts.contains_key(&key) {
            return false;
        }
        let sum = self.counts.entry(key).or_default();
        *sum = sum.saturating_add(count);
        true
    }

    pub fn len(&self) -> usize {
        self.counts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// (source, header_from, results, outcome, count)
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &Arc<str>, &Arc<str>, Outcome, u64)> {
        self.counts.iter().map(|(key, count)| {
            let text = |number: u32| &self.texts.texts[number as usize];
            (key.source, text(key.header_from), text(key.auth), Outcome::from_bits(key.outcome), *count)
        })
    }
}

impl Texts {
    fn number(&mut self, text: &str) -> Option<u32> {
        if let Some(number) = self.numbers.get(text) {
            return Some(*number);
        }
        self.octets += text.len() + 64;
        if self.octets > limits::TEXTS {
            return None;
        }
        let number = self.texts.len() as u32;
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        Some(number)
    }
}
