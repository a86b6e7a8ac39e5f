use std::collections::BTreeSet;

use dkimctl_providers::export::{Format, Record, export};
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::name::{Fqdn, SigningDomain};

use super::show::standing;
use crate::cli::error::{Error, Exit};
use crate::cli::machine::ReadState;
use crate::cli::shell::Shell;
use crate::config::{Config, Provider};

/// Print the records that ought to stand now for another tool, with what keeps that tool from deleting them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dns export --format nsupdate example.com | nsupdate -k KEY
  dkimctl dns export --format terraform --zone example.com > dkim.tf")]
pub struct Args {
    /// zone, nsupdate, octodns, dnscontrol or terraform
    #[arg(long, value_name = "FORMAT", default_value = "zone")]
    format: Format,
    /// The zone that holds the records [default: what the domain's provider is configured with, or the domain itself]
    #[arg(long, value_name = "ZONE")]
    zone: Option<Fqdn>,
    /// The domains [default: all]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let state = ReadState::open(shell, &config)?;
    let settings = shell.settings(&config, &args.domains)?;
    let standing = standing(shell, &config, &state, &args.domains)?;
    let records: Vec<Record> =
        standing.into_iter().map(|record| Record { name: record.name, ttl: record.ttl, text: record.text }).collect();
    let holds = |zone: &Fqdn| records.iter().any(|record| record.name.is_in(zone));
    let own = || settings.iter().map(|settings| zone_of(&config, settings));
    if let Some(zone) = args.zone.as_ref().filter(|zone| !holds(zone)) {
        let zones: BTreeSet<Fqdn> = own().filter(|zone| holds(zone)).collect();
        let zones: Vec<String> = zones.iter().map(|zone| format!("--zone {zone}")).collect();
        let others = if zones.is_empty() { "dkimctl status".to_owned() } else { zones.join(", or ") };
        return Err(Error::usage(format!("no record that ought to stand now lies in {zone}")).hint(others));
    }
    let zones: BTreeSet<Fqdn> = args.zone.map_or_else(|| own().collect(), |zone| BTreeSet::from([zone]));
    for zone in zones {
        if holds(&zone) {
            shell.print(&export(args.format, &zone, &records))?;
        } else {
            shell.say(format_args!("{zone}: no record ought to stand there now; `dkimctl status` says why"));
        }
    }
    Ok(Exit::Ok)
}

/// The zone that a domain's records lie in, as far as nobody has to be asked.
fn zone_of(config: &Config, settings: &Settings) -> Fqdn {
    let domain = settings.domain.as_fqdn();
    let providers = settings.providers.iter().filter_map(|label| config.providers.get(label));
    let around = providers.flat_map(Provider::zones).filter(|zone| domain.is_in(zone));
    around.max_by_key(|zone| zone.as_str().len()).unwrap_or(domain).clone()
}
