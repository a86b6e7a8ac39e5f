use std::collections::BTreeSet;

use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::name::{Fqdn, Label, SigningDomain};

use crate::cli::error::{Error, Exit};
use crate::cli::machine;
use crate::cli::shell::Shell;
use crate::config::Config;
use crate::report::delegate::{Alias, DelegateReport, Delegation, Found};
use crate::report::verify::Outcome;

/// Print the records that a customer adds once, so that his keys are kept in a zone of ours
///
/// One alias for each selector, or with --ns the delegation of the whole `_domainkey`. From then on keys are published,
/// rotated and retired without anybody touching the customer's zone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dns delegate customer.example
  dkimctl dns delegate customer.example --below _dk.ours.example
  dkimctl dns delegate customer.example --ns ns1.ours.example --ns ns2.ours.example
  dkimctl dns delegate customer.example --check    exit 3 if one is missing, 4 if nobody could be asked")]
pub struct Args {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
    /// Below which name of ours the aliases lead [default: _dk. and the provider's only zone]
    #[arg(long, value_name = "NAME", conflicts_with = "ns")]
    below: Option<Fqdn>,
    /// Delegate the whole _domainkey to these name servers instead
    #[arg(long, value_name = "SERVER")]
    ns: Vec<Fqdn>,
    /// Ask the domain's name servers whether the aliases are there
    #[arg(long, conflicts_with = "ns")]
    check: bool,
    /// Seconds that others may remember the records
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    ttl: u32,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let settings = shell.one(&config, &args.domain)?;
    let mut report = DelegateReport::new(args.domain.clone(), args.ttl);
    if args.ns.is_empty() {
        let base = match &args.below {
            Some(base) => base.clone(),
            None => base_of(&config, &settings)?,
        };
        report.aliases = aliases(&settings, &base)?;
        report.holder = Some(holder(&config, &settings, &base)?);
    } else {
        report.delegation = Some(Delegation { zone: named(&format!("_domainkey.{}", args.domain))?, servers: args.ns });
    }
    if args.check {
        check(&config, &mut report);
    }
    shell.show(&report)?;
    Ok(match report.outcome() {
        Outcome::Right => Exit::Ok,
        Outcome::Wrong => Exit::ChecksFailed,
        Outcome::NotChecked => Exit::NotChecked,
    })
}

/// `_dk` in the only zone that the domain's providers have besides the domain's own.
fn base_of(config: &Config, settings: &Settings) -> Result<Fqdn, Error> {
    let dns = machine::dns(config, &[settings])?;
    let mut zones = BTreeSet::new();
    for label in &settings.providers {
        let listed = dns.zones(label).map_err(|error| Error::new(error.to_string()))?;
        zones.extend(listed.iter().map(|zone| zone.name.clone()).filter(|zone| !settings.domain.as_fqdn().is_in(zone)));
    }
    let mut zones = zones.into_iter();
    match (zones.next(), zones.next()) {
        (Some(zone), None) => named(&format!("_dk.{zone}")),
        (None, _) => Err(Error::usage("the domain's providers hold no other zone that an alias could lead to")
            .hint(format!("dkimctl dns delegate {} --below _dk.ZONE, with ZONE a zone of ours", settings.domain))),
        (Some(_), Some(_)) => {
            Err(Error::usage("the domain's providers hold more than one zone, and one has to be chosen")
                .hint(format!("dkimctl dns delegate {} --below _dk.ZONE", settings.domain)))
        }
    }
}

/// The provider that holds the aliases' targets, which must be one of those that are configured.
fn holder(config: &Config, settings: &Settings, base: &Fqdn) -> Result<Label, Error> {
    let dns = machine::dns(config, &[settings])?;
    let own = settings.providers.iter();
    let others = config.providers.keys().filter(|label| !settings.providers.contains(label));
    for label in own.chain(others) {
        if dns.zone(label, base).is_ok() {
            return Ok(label.clone());
        }
    }
    Err(Error::usage(format!("no configured provider holds a zone for {base}, so nothing could be published there"))
        .hint("say --below with a name in a zone of ours, or add that zone to its [provider.NAME]"))
}

fn aliases(settings: &Settings, base: &Fqdn) -> Result<Vec<Alias>, Error> {
    let mut aliases = Vec::new();
    for slots in settings.slots.values() {
        for pattern in slots.regular.iter().chain(&slots.spare) {
            let selector = pattern.as_str();
            if selector.contains('{') {
                let sentence = format!("`{selector}` makes a new selector every time, and an alias is added once");
                let hint = format!("dkimctl dns delegate {} --ns SERVER delegates them all", settings.domain);
                return Err(Error::usage(sentence).hint(hint));
            }
            let name = named(&format!("{selector}._domainkey.{}", settings.domain))?;
            let target = named(&format!("{selector}.{}.{base}", settings.domain))?;
            aliases.push(Alias { name, target, found: None });
        }
    }
    Ok(aliases)
}

fn check(config: &Config, report: &mut DelegateReport) {
    let sweeper = machine::sweeper(&config.observe);
    let names: Vec<Fqdn> = report.aliases.iter().map(|alias| alias.name.clone()).collect();
    for (alias, answer) in report.aliases.iter_mut().zip(sweeper.aliases(&names)) {
        alias.found = Some(match answer {
            Ok(Some(target)) if target == alias.target => Found::Right,
            Ok(Some(target)) => Found::Elsewhere { target },
            Ok(None) => Found::Missing,
            Err(why) => Found::Unknown { why },
        });
    }
}

fn named(text: &str) -> Result<Fqdn, Error> {
    text.parse().map_err(|error: dkimctl_state::name::NameError| Error::usage(error.to_string()))
}
