//! The recursive resolvers of this host.

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// The resolvers of this host (resolv.conf(5)); none if the file cannot be read.
pub fn system_resolvers() -> Vec<SocketAddr> {
    parse(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

pub(super) fn parse(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, 53))
    };
    text.lines().filter_map(address).collect()
}
