//! What `spf` and `dmarc` share: a domain's settings, its providers and name servers, the resolver, the consent.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::name::SigningDomain;

use super::error::Error;
use super::machine;
use super::shell::Shell;
use crate::config::Config;
use crate::dns::Dns;
use crate::observe::Sweeper;
use crate::observe::configured::sweeper;
use crate::observe::resolv_conf::system_resolvers;
use crate::spf::resolver::Recursive;

/// One domain, and whom to ask about it.
pub struct Desk {
    pub settings: Settings,
    pub dns: Dns,
    pub servers: Box<dyn Sweeper>,
}

impl Desk {
    pub fn new(shell: &Shell, config: &Config, domain: &SigningDomain) -> Result<Desk, Error> {
        Desk::of(config, shell.one(config, domain)?)
    }

    pub fn of(config: &Config, settings: Settings) -> Result<Desk, Error> {
        let dns = machine::dns(config, &[&settings])?;
        Ok(Desk { settings, dns, servers: sweeper(&config.observe) })
    }
}

/// Nothing is edited without a yes: typed, or given beforehand.
pub fn consent(shell: &Shell, given: bool) -> Result<(), Error> {
    if given {
        return Ok(());
    }
    if !shell.is_interactive() {
        return Err(Error::usage("nobody is there to agree").hint("add --yes, and --text with the text you saw"));
    }
    match shell.ask("May dkimctl edit this record from now on? Type yes:")?.as_str() {
        "yes" => Ok(()),
        _ => Err(Error::new("nothing was adopted")),
    }
}

/// The resolver that was named, or the system's first.
pub fn asked(named: Option<SocketAddr>) -> Result<Recursive, Error> {
    let server = named.or_else(|| system_resolvers().into_iter().next());
    server
        .map(Recursive::new)
        .ok_or_else(|| Error::usage("/etc/resolv.conf names no resolver").hint("name one: --resolver 192.0.2.53:53"))
}

/// An address with or without a port, or a host's name with one.
pub fn resolver(text: &str) -> Result<SocketAddr, String> {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok((ip, 53).into());
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let found = text.to_socket_addrs().map_err(|error| format!("no resolver is found there: {error}"))?;
    found.into_iter().next().ok_or_else(|| "no address is found for it".to_owned())
}
