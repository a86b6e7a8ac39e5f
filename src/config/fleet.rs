//! `[fleet]`: how many domains go first, and how many may fail before the others are left alone.

use std::ops::Range;

use super::error::{ConfigError, Mistake, Source};
use super::written::{self, Text};

/// How a fleet is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// The sizes of the first waves; all others make the last one. 1, 1 %, 10 %: what is wrong with everything shows at
    /// the first domain, what is wrong with some shows in a hundredth of them, and what comes of size shows in a tenth.
    pub canary: Vec<Share>,
    /// Of a wave's domains; more failures than that stop the run. 5 %: above what single customers' mistakes come to,
    /// below what anybody would want to repair by hand; no official reference.
    pub failure_budget: Share,
}

/// So many, or so many of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    Count(usize),
    Percent(usize),
}

impl Default for Fleet {
    fn default() -> Self {
        let canary = vec![Share::Count(1), Share::Percent(1), Share::Percent(10)];
        Fleet { canary, failure_budget: Share::Percent(5) }
    }
}

impl Share {
    /// Of `whole`, rounded down.
    pub fn of(self, whole: usize) -> usize {
        match self {
            Share::Count(count) => count.min(whole),
            Share::Percent(percent) => whole * percent / 100,
        }
    }

    fn read(source: &Source<'_>, text: &Text) -> Result<Share, ConfigError> {
        let written = text.get_ref().trim();
        let share = match written.strip_suffix('%').map(str::trim) {
            Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Share::Percent),
            None => written.parse().ok().map(Share::Count),
        };
        share.ok_or_else(|| {
            let sentence = format!("`{written}` is no share of a fleet; write \"5\" for five domains, or \"5%\"");
            source.at(text.span(), Mistake::Other(sentence))
        })
    }
}

impl Fleet {
    pub(super) fn read(source: &Source<'_>, written: &written::Fleet) -> Result<Fleet, ConfigError> {
        let mut fleet = Fleet::default();
        if let Some(canary) = &written.canary {
            fleet.canary = canary.iter().map(|text| Share::read(source, text)).collect::<Result<_, _>>()?;
        }
        if let Some(budget) = &written.failure_budget {
            fleet.failure_budget = Share::read(source, budget)?;
        }
        Ok(fleet)
    }

    /// The waves of so many domains, one after the other. None is empty.
    pub fn waves(&self, domains: usize) -> Vec<Range<usize>> {
        let (mut waves, mut begun) = (Vec::new(), 0);
        for share in &self.canary {
            let end = (begun + share.of(domains).max(1)).min(domains);
            if begun < end {
                waves.push(begun..end);
            }
            begun = end;
        }
        if begun < domains {
            waves.push(begun..domains);
        }
        waves
    }

    /// Whether so many failures are more than a wave of this size may have.
    pub fn is_too_much(&self, failed: usize, wave: usize) -> bool {
        failed > self.failure_budget.of(wave)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_grow_and_take_everybody_once() {
        let sizes = |domains| Fleet::default().waves(domains).iter().map(ExactSizeIterator::len).collect::<Vec<_>>();
        assert_eq!(sizes(2000), [1, 20, 200, 1779]);
        assert_eq!(sizes(100), [1, 1, 10, 88]);
        assert_eq!(sizes(3), [1, 1, 1]);
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(0), [0; 0]);
        let everybody = Fleet { canary: vec![], ..Fleet::default() };
        assert_eq!(everybody.waves(2000), vec![0..2000; 1]);
    }

    #[test]
    fn one_failure_is_too_much_for_one_domain_and_not_for_many() {
        let fleet = Fleet::default();
        assert!(fleet.is_too_much(1, 1) && fleet.is_too_much(1, 12) && fleet.is_too_much(11, 200));
        assert!(!fleet.is_too_much(0, 1) && !fleet.is_too_much(1, 20) && !fleet.is_too_much(10, 200));
    }
}
