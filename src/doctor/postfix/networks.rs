//! `mynetworks`: who may send anything to anybody.

use std::net::{IpAddr, Ipv4Addr};

/// The list as far as it can be judged from here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks {
    list: Vec<(Network, bool)>,
    /// Tables and files, which are not read.
    pub unread: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub length: u8,
}

/// What Docker takes for networks that nobody gave a subnet.
const POOLS: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::new(172, 17, 0, 0), 16),
    (Ipv4Addr::new(172, 18, 0, 0), 16),
    (Ipv4Addr::new(172, 19, 0, 0), 16),
    (Ipv4Addr::new(172, 20, 0, 0), 14),
    (Ipv4Addr::new(172, 24, 0, 0), 14),
    (Ipv4Addr::new(172, 28, 0, 0), 14),
];

impl Network {
    /// `192.0.2.0/24`, `192.0.2.1`, `[2001:db8::]/32`.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, length) = match text.rsplit_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) => length.parse().ok().filter(|&length| length <= most)?,
            None => most,
        };
        Some(Network { address, length })
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        let (mine, other, width) = match (self.address, ip) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => (u128::from(mine.to_bits()), u128::from(other.to_bits()), 32),
            (IpAddr::V6(mine), IpAddr::V6(other)) => (mine.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let shift = width - u32::from(self.length);
        shift >= 128 || mine >> shift == other >> shift
    }

    /// Everybody, or so much of it that it cannot be one's own.
    pub fn is_the_world(&self) -> bool {
        let public = match self.address {
            IpAddr::V4(ip) => !ip.is_private() && !ip.is_loopback() && !ip.is_link_local() && ip.octets()[0] != 100,
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unique_local() && !ip.is_unicast_link_local(),
        };
        self.length == 0 || public && self.length < if self.address.is_ipv4() { 8 } else { 16 }
    }

    /// The address that an engine gives to the bridge: the first of the subnet.
    pub fn gateway(&self) -> Option<IpAddr> {
        match self.address {
            IpAddr::V4(ip) if self.length < 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                Some(Ipv4Addr::from_bits((ip.to_bits() & mask) + 1).into())
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address {
            IpAddr::V4(ip) => write!(f, "{ip}/{}", self.length),
            IpAddr::V6(ip) => write!(f, "[{ip}]/{}", self.length),
        }
    }
}

impl Networks {
    /// The list of main.cf: white space or commas between, `!` takes out, the first match counts.
    pub fn parse(value: &str) -> Networks {
        let mut networks = Networks::default();
        for word in value.split([' ', '\t', ',', '\n', '\r']).filter(|word| !word.is_empty()) {
            let (word, not) = word.strip_prefix('!').map_or((word, false), |word| (word, true));
            match Network::parse(word) {
                Some(network) => networks.list.push((network, not)),
                None => networks.unread.push(word.to_owned()),
            }
        }
        networks
    }

    /// The entry that lets this address in.
    pub fn lets_in(&self, ip: IpAddr) -> Option<Network> {
        let first = self.list.iter().find(|(network, _)| network.contains(ip))?;
        (!first.1).then_some(first.0)
    }

    /// The entry that lets everybody in.
    pub fn world(&self) -> Option<Network> {
        self.list.iter().find(|(network, not)| !not && network.is_the_world()).map(|(network, _)| *network)
    }

    /// The entry that lets in the bridge of whatever network Docker chooses by itself.
    pub fn lets_in_any_bridge(&self) -> Option<Network> {
        let mut entry = None;
        for (address, length) in POOLS {
            let pool = Network { address: (*address).into(), length: *length };
            entry = Some(self.lets_in(pool.gateway()?)?);
        }
        entry
    }
}

#[cfg(test)]
#[path = "networks_tests.rs"]
mod tests;
