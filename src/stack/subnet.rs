//! The applications' network: a private IPv4 subnet, written the one way that Docker and OpenDKIM both take.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// `172.30.25.0/28`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    first: Ipv4Addr,
    length: u8,
}

/// A text that is no such network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    #[error("`{0}` is no IPv4 network; write 172.30.25.0/28")]
    Form(String),
    #[error(
        "{0} is too wide: everything in it may have mail signed, so name the applications' own network, /16 to /29"
    )]
    Size(String),
    #[error("{0} is no private network (RFC 1918), and applications are on one")]
    Public(String),
    #[error("{seen} has bits behind its length; write {meant}")]
    HostBits { seen: String, meant: Subnet },
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Subnet, SubnetError> {
        let form = || SubnetError::Form(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(form)?;
        let address: Ipv4Addr = address.parse().map_err(|_| form())?;
        let length: u8 = length.parse().ok().filter(|length| *length <= 32).ok_or_else(form)?;
        // Below /29 there is no room for a gateway, the mail host and an application.
        if !(16..=29).contains(&length) {
            return Err(SubnetError::Size(text.to_owned()));
        }
        if !address.is_private() {
            return Err(SubnetError::Public(text.to_owned()));
        }
        let first = Ipv4Addr::from(u32::from(address) & (u32::MAX << (32 - length)));
        let meant = Subnet { first, length };
        match first == address {
            true => Ok(meant),
            false => Err(SubnetError::HostBits { seen: text.to_owned(), meant }),
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}
