//! What an evaluation or an analysis saw, branch by branch.

use std::net::IpAddr;

use dkimctl_state::record::spf::Term;

use super::eval::Outcome;
use super::resolver::Kind;

/// One record: the one asked for, an included one, or a redirection's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    pub domain: String,
    pub at: AtDomain,
    pub terms: Vec<Visit>,
    /// What the record said of the client; `None` in an analysis.
    pub result: Option<Outcome>,
}

/// What stood at the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtDomain {
    /// One record, as its text.
    Record(String),
    /// One record that cannot be read, and why.
    Broken { text: String, why: String },
    /// No SPF record; whether the name exists.
    None { exists: bool },
    /// More than one.
    Several(Vec<String>),
    /// DNS gave no answer; why.
    Unknown(String),
    /// The name is already under evaluation further up.
    Loop,
    /// The target depends on the message; nothing was asked.
    Dynamic,
    /// The limits stopped it.
    CutOff,
}

/// One term that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    pub term: Term,
    /// The name that was asked, macros expanded.
    pub target: Option<String>,
    /// Lookups of this term alone: 0 or 1 (RFC 7208 section 4.6.4).
    pub own_lookups: u32,
    /// Questions that came back empty. The first is the one that counts.
    pub voids: Vec<(String, Kind)>,
    /// Addresses that the term stands for, without its prefix length.
    pub addresses: Vec<IpAddr>,
    /// Names that an `mx` or a `ptr` led to.
    pub names: Vec<String>,
    /// Whether it matched the client; `None` in an analysis or if evaluation ended here.
    pub matched: Option<bool>,
    /// Something that is not an outcome by itself: a DNS failure, a target that is no name.
    pub trouble: Option<String>,
    /// Whether the target depends on the message, so that nothing can be said beforehand.
    pub dynamic: bool,
    /// The record that `include` or `redirect` led to.
    pub below: Option<Branch>,
}

impl Branch {
    pub fn new(domain: &str, at: AtDomain) -> Self {
        Branch { domain: domain.to_owned(), at, terms: Vec::new(), result: None }
    }

    /// Lookups of this record and all below.
    pub fn lookups(&self) -> u32 {
        self.terms.iter().map(Visit::lookups).sum()
    }

    /// Terms of this record and all below whose question came back empty, with that question.
    pub fn voids(&self) -> Vec<(String, Kind)> {
        let mut voids = Vec::new();
        self.walk(&mut |_, visit| voids.extend(visit.voids.first().cloned()));
        voids
    }

    /// Calls `see` for every visit, with the branch that it stands in, parents first.
    pub fn walk<'b>(&'b self, see: &mut impl FnMut(&'b Branch, &'b Visit)) {
        for visit in &self.terms {
            see(self, visit);
            if let Some(below) = &visit.below {
                below.walk(see);
            }
        }
    }

    /// Calls `see` for every branch, this one first.
    pub fn branches<'b>(&'b self, see: &mut impl FnMut(&'b Branch)) {
        see(self);
        for below in self.terms.iter().filter_map(|visit| visit.below.as_ref()) {
            below.branches(see);
        }
    }
}

impl Visit {
    pub fn new(term: &Term) -> Self {
        Visit {
            term: term.clone(),
            target: None,
            own_lookups: u32::from(term.counts()),
            voids: Vec::new(),
            addresses: Vec::new(),
            names: Vec::new(),
            matched: None,
            trouble: None,
            dynamic: false,
            below: None,
        }
    }

    /// Lookups of this term and all below.
    pub fn lookups(&self) -> u32 {
        self.own_lookups + self.below.as_ref().map_or(0, Branch::lookups)
    }
}
