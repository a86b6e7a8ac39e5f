//! The way of mail into the world: port 25, the addresses that it leaves from, what reverse DNS says of them, and the
//! name that the server gives itself.
//!
//! [`look`] gathers, [`judge`] decides and is pure. What receivers want: RFC 1912 section 2.1 (every address has a
//! name, and the name leads back), RFC 5321 section 4.1.1.1 (HELO is a full name).

mod blocklist;
mod generic;
pub mod judge;
pub mod look;
pub mod port25;
pub mod reverse;

use std::net::IpAddr;

pub use blocklist::Listing;
pub use port25::{Dialogue, Port25};
pub use reverse::{Forward, Pointer, Reverse};

/// What was seen of the way out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// Everything goes to this host first (`relayhost`), which speaks to the world in our place.
    pub relay: Option<String>,
    pub ports: Vec<Tried>,
    pub addresses: Vec<Address>,
    pub helo: Option<Helo>,
    /// Only if it was asked for.
    pub listings: Vec<Listing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

/// One try of port 25 in one family.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    pub family: Family,
    /// Who was asked, as people know it: `mx.example.net 192.0.2.1`.
    pub peer: String,
    pub outcome: Port25,
}

/// An address that mail leaves from.
#[derive(Debug, Clone, PartialEq)]
pub struct Address {
    pub ip: IpAddr,
    pub known: Known,
    pub reverse: Reverse,
}

/// How an egress address is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// A peer on port 25 echoed it.
    Echoed { peer: String },
    /// It is public, and the connection to the peer had it at this end.
    Own { peer: String },
    /// Somebody wrote it down.
    Configured,
}

/// The name that the server gives in EHLO.
#[derive(Debug, Clone, PartialEq)]
pub struct Helo {
    pub name: String,
    /// Where it was read: `smtp_helo_name` of `postconf`, for example.
    pub source: String,
    pub forward: Forward,
}

impl Family {
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    pub fn of(ip: IpAddr) -> Family {
        if ip.to_canonical().is_ipv4() { Family::V4 } else { Family::V6 }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

impl Address {
    /// The names that lead back to the address.
    pub fn confirmed(&self) -> impl Iterator<Item = &str> {
        let leads_back = |pointer: &&Pointer| pointer.forward.leads_to(self.ip) == Some(true);
        self.reverse.pointers().iter().filter(leads_back).map(|pointer| pointer.name.as_str())
    }
}
