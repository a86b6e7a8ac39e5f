//! Every check there is: a stable id, its group, what it usually costs. `dkimctl explain ID` says the rest, from
//! [`crate::report::doctor::explain`].

use serde::Serialize;

use super::finding::Severity::{self, Critical, Error, Info, Warn};

/// What belongs together, and is run together with `--only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    Net,
    Ip6,
    Helo,
    Key,
    Dkim,
    Spf,
    Dmarc,
    Relay,
    Queue,
    Pf,
    Sys,
    Dev,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    pub id: &'static str,
    pub group: Group,
    pub severity: Severity,
    /// What it detects, in a few words.
    pub title: &'static str,
}

/// Groups whose evidence is answers of name servers and peers, which come and go: `--changes` wants to see a change
/// twice there.
const FLICKERING: &[Group] = &[Group::Net, Group::Ip6, Group::Helo, Group::Dkim, Group::Spf, Group::Dmarc];

/// Run only when they are asked for by id.
const ON_REQUEST: &[&str] = &["NET008"];

/// What is wrong in a file itself, whatever runs: nothing that is seen in a container takes it back.
const OF_FILES: &[&str] = &["HELO004", "KEY001", "KEY002", "KEY003", "KEY004", "KEY005", "KEY006", "DEV001"];

const fn row(id: &'static str, group: Group, severity: Severity, title: &'static str) -> Check {
    Check { id, group, severity, title }
}

/// Ids are never used again for something else.
pub const CHECKS: &[Check] = &[
    row("NET001", Group::Net, Error, "port 25 to other mail servers"),
    row("NET002", Group::Net, Error, "a reverse name for every address that mail leaves from"),
    row("NET003", Group::Net, Error, "the reverse name leads back to the address"),
    row("NET004", Group::Net, Warn, "one reverse name, not several"),
    row("NET005", Group::Net, Error, "the reverse name could be looked up"),
    row("NET006", Group::Net, Warn, "a reverse name of your own"),
    row("NET007", Group::Net, Warn, "mail leaves from the address that DNS gives for the HELO name"),
    row("NET008", Group::Net, Info, "block lists (only when asked for)"),
    row("IP6001", Group::Ip6, Error, "IPv6 with a confirmed reverse name, or no IPv6"),
    row("IP6002", Group::Ip6, Warn, "an AAAA record that leads into the container"),
    row("IP6003", Group::Ip6, Info, "inet_protocols fits the network"),
    row("HELO001", Group::Helo, Error, "HELO is a full name that lasts"),
    row("HELO002", Group::Helo, Error, "HELO resolves"),
    row("HELO003", Group::Helo, Warn, "HELO is the reverse name"),
    row("HELO004", Group::Helo, Warn, "hostname without domainname"),
    row("KEY001", Group::Key, Critical, "no live private key in an image"),
    row("KEY002", Group::Key, Error, "no private key in an image, a Dockerfile or a build context"),
    row("KEY003", Group::Key, Error, "keys that the signer may read and nobody else"),
    row("KEY004", Group::Key, Warn, "no uid, gid or mode on a Compose file secret"),
    row("KEY005", Group::Key, Error, "no key in git, none that others may read"),
    row("KEY006", Group::Key, Error, "tables that name keys which exist"),
    row("DKIM001", Group::Dkim, Error, "DNS shows the key that signs"),
    row("DKIM002", Group::Dkim, Error, "the selector's record is there, and whole"),
    row("DKIM003", Group::Dkim, Warn, "a key and a record that every receiver accepts"),
    row("DKIM004", Group::Dkim, Warn, "rotation neither overdue nor too early"),
    row("DKIM005", Group::Dkim, Error, "the signer signs, and the signature verifies"),
    row("DKIM006", Group::Dkim, Warn, "no signed header that the relay rewrites"),
    row("SPF001", Group::Spf, Error, "SPF covers what sends"),
    row("DMARC001", Group::Dmarc, Warn, "DMARC is there, and goes somewhere"),
    row("RELAY001", Group::Relay, Critical, "no open relay through a published port"),
    row("RELAY002", Group::Relay, Error, "mynetworks is not the whole world"),
    row("QUEUE001", Group::Queue, Error, "the queue outlives the container"),
    row("QUEUE002", Group::Queue, Warn, "nothing old in the queue"),
    row("PF001", Group::Pf, Error, "chrooted services find their resolv.conf"),
    row("PF002", Group::Pf, Error, "main.cf means what it says"),
    row("PF003", Group::Pf, Warn, "milters fail closed, health is checked, TLS is real"),
    row("PF004", Group::Pf, Warn, "the mail log is kept"),
    row("SYS001", Group::Sys, Error, "the clock is right"),
    row("DEV001", Group::Dev, Error, "no mail catcher in production"),
];

impl Group {
    pub const ALL: &[Group] = &[
        Group::Net,
        Group::Ip6,
        Group::Helo,
        Group::Key,
        Group::Dkim,
        Group::Spf,
        Group::Dmarc,
        Group::Relay,
        Group::Queue,
        Group::Pf,
        Group::Sys,
        Group::Dev,
    ];

    /// As it is written in `--only`, and at the beginning of every id.
    pub fn prefix(self) -> &'static str {
        match self {
            Group::Net => "NET",
            Group::Ip6 => "IP6",
            Group::Helo => "HELO",
            Group::Key => "KEY",
            Group::Dkim => "DKIM",
            Group::Spf => "SPF",
            Group::Dmarc => "DMARC",
            Group::Relay => "RELAY",
            Group::Queue => "QUEUE",
            Group::Pf => "PF",
            Group::Sys => "SYS",
            Group::Dev => "DEV",
        }
    }
}

impl Check {
    pub fn flickers(&self) -> bool {
        FLICKERING.contains(&self.group)
    }

    pub fn is_on_request(&self) -> bool {
        ON_REQUEST.contains(&self.id)
    }

    pub fn is_of_files(&self) -> bool {
        OF_FILES.contains(&self.id)
    }
}

/// What `--only` may name: a group, or one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    Group(Group),
    Check(&'static Check),
}

impl Only {
    pub fn parse(text: &str) -> Option<Only> {
        let group = Group::ALL.iter().find(|group| group.prefix().eq_ignore_ascii_case(text));
        group.map(|&group| Only::Group(group)).or_else(|| find(text).map(Only::Check))
    }

    pub fn names(&self, check: &Check) -> bool {
        match self {
            Only::Group(group) => check.group == *group && !check.is_on_request(),
            Only::Check(named) => named.id == check.id,
        }
    }
}

/// Whether a check is to be run: all but those on request, or those that were named.
pub fn is_wanted(only: &[Only], check: &Check) -> bool {
    if only.is_empty() { !check.is_on_request() } else { only.iter().any(|only| only.names(check)) }
}

/// A check by its id, which must be in the list.
pub fn check(id: &str) -> &'static Check {
    find(id).unwrap_or_else(|| panic!("{id} is no check"))
}

pub fn find(id: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.id.eq_ignore_ascii_case(id))
}

pub fn position(id: &str) -> usize {
    CHECKS.iter().position(|check| check.id == id).unwrap_or(usize::MAX)
}
