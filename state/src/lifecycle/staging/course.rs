//! What happened to one domain's DMARC record: every text that stood there, who put it there, and why.

use serde::{Deserialize, Serialize};

use super::ladder::Rung;
use super::sources::{NotOurs, Sender};
use crate::name::SigningDomain;
use crate::record::dmarc::DmarcRecord;
use crate::record::txt::TxtText;
use crate::time::{Span, Time};

/// Facts about the record at `_dmarc.<domain>`. A change is written down before it is made ([`Course::pending`]) and
/// again when it was read back, so that a kill in between leaves no riddle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    pub domain: SigningDomain,
    /// What stood there, oldest first. The last one stands now; a step back takes the last one off.
    pub trail: Vec<Stood>,
    /// Every change, never shortened.
    pub log: Vec<Change>,
    pub pending: Option<Change>,
    pub senders: Vec<Sender>,
    pub not_ours: Vec<NotOurs>,
    pub hold: Option<Hold>,
    /// After a step back the whole window counts again from here.
    pub since: Option<Time>,
}

/// A text, and since when it was seen at the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stood {
    pub text: TxtText,
    /// Seconds.
    pub ttl: u32,
    pub since: Time,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub at: Time,
    pub by: String,
    pub kind: ChangeKind,
    /// `None`: nothing stood there.
    pub from: Option<TxtText>,
    pub to: TxtText,
    pub ttl: u32,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The text that stood there was taken over, with an operator's consent.
    Adopt,
    Climb,
    Rollback,
    /// A change that only some of the providers took was taken back there.
    Undo,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    pub since: Time,
    pub by: String,
    pub reason: String,
}

impl Course {
    pub fn new(domain: SigningDomain) -> Self {
        Course {
            domain,
            trail: Vec::new(),
            log: Vec::new(),
            pending: None,
            senders: Vec::new(),
            not_ours: Vec::new(),
            hold: None,
            since: None,
        }
    }

    /// What stands now, as far as we know. `None` before the adoption.
    pub fn now(&self) -> Option<&Stood> {
        self.trail.last()
    }

    pub fn record(&self) -> Option<DmarcRecord> {
        crate::record::dmarc::read(&self.now()?.text).0
    }

    pub fn rung(&self) -> Option<Rung> {
        self.record().as_ref().map(Rung::of)
    }

    /// The last record that stood and was no rehearsal; what stands now if there is none.
    pub fn base(&self) -> Option<DmarcRecord> {
        let records = self.trail.iter().rev().filter_map(|stood| crate::record::dmarc::read(&stood.text).0);
        records.into_iter().find(|record| !Rung::of(record).is_rehearsal()).or_else(|| self.record())
    }

    /// What a step back writes: the text that stood there before, to the octet.
    pub fn before(&self) -> Option<&Stood> {
        self.trail.len().checked_sub(2).map(|index| &self.trail[index])
    }

    /// Since when reports may speak of what stands now.
    pub fn counts_from(&self) -> Option<Time> {
        let since = self.now()?.since;
        Some(self.since.map_or(since, |restart| restart.max(since)))
    }

    /// The longest time that caches may have held what stood before.
    pub fn cached(&self) -> Span {
        let recent = self.trail.iter().rev().take(2).map(|stood| stood.ttl);
        let changed = self.log.last().map(|change| change.ttl);
        Span::seconds(recent.chain(changed).max().unwrap_or(0).into())
    }

    /// The change was read back at `at`.
    pub fn settle(&mut self, change: Change, at: Time) {
        let stood = Stood { text: change.to.clone(), ttl: change.ttl, since: at };
        match change.kind {
            ChangeKind::Rollback => {
                self.trail.pop();
                // What stands again stands since now.
                self.trail.pop();
                self.trail.push(stood);
                self.since = Some(at);
            }
            ChangeKind::Adopt | ChangeKind::Climb => self.trail.push(stood),
            // Some receivers may have seen the other text: what stands counts anew.
            ChangeKind::Undo => self.since = Some(at),
        }
        self.pending = None;
        self.log.push(Change { at, ..change });
    }
}
