//! What is configured for one domain, as meant: defaults filled in, names parsed.

use std::collections::BTreeMap;

use super::policy::Policy;
use crate::name::{Label, NameError, Selector, SigningDomain};
use crate::record::dkim::Algorithm;
use crate::time::{Span, Time};

/// One domain's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub domain: SigningDomain,
    /// The slots of each algorithm that signs. Usually RSA alone.
    pub slots: BTreeMap<Algorithm, Slots>,
    /// Bits of a new RSA key.
    pub rsa_bits: u16,
    /// TTL of the records that we write, in seconds.
    pub ttl: u32,
    /// The DNS providers that hold the zone; more than one when the zone lives on several at once.
    pub providers: Vec<Label>,
    /// The hosts whose signers sign for the domain.
    pub hosts: Vec<Label>,
    pub policy: Policy,
}

/// The selectors that keys of one algorithm take turns in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    /// `s1`, `s2`, or templates such as `{yyyy}{mm}{n}`.
    pub regular: Vec<SlotPattern>,
    /// Used only after a compromise, while the other slots are still retiring.
    pub spare: Option<SlotPattern>,
}

/// A selector, or a template that makes one: `{yyyy}`, `{mm}`, `{dd}` from the date (UTC) and `{n}`, the first number
/// from 1 that is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotPattern(String);

impl Settings {
    pub fn ttl(&self) -> Span {
        Span::seconds(self.ttl.into())
    }

    /// Every selector that a new key might take now, in order; the spare ones only after a compromise.
    pub fn candidates(&self, algorithm: Algorithm, emergency: bool, now: Time) -> Vec<Selector> {
        let Some(slots) = self.slots.get(&algorithm) else {
            return Vec::new();
        };
        let spare = slots.spare.iter().filter(|_| emergency);
        slots.regular.iter().chain(spare).flat_map(|pattern| pattern.selectors(now)).collect()
    }
}

impl SlotPattern {
    /// How many numbers `{n}` tries: more rotations in the shortest period of a template than anybody needs.
    const NUMBERS: u32 = 16;

    pub fn parse(text: &str) -> Result<Self, NameError> {
        let pattern = SlotPattern(text.to_owned());
        // Any date shows whether the template makes a selector.
        pattern.fill(Time::from_unix(0), 1).parse::<Selector>()?;
        Ok(pattern)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn selectors(&self, now: Time) -> Vec<Selector> {
        let last = if self.0.contains("{n}") { Self::NUMBERS } else { 1 };
        (1..=last).filter_map(|n| self.fill(now, n).parse().ok()).collect()
    }

    fn fill(&self, now: Time, n: u32) -> String {
        let date = now.utc();
        self.0
            .replace("{yyyy}", &date.format("%Y").to_string())
            .replace("{mm}", &date.format("%m").to_string())
            .replace("{dd}", &date.format("%d").to_string())
            .replace("{n}", &n.to_string())
    }
}
