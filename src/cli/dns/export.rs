use std::collections::BTreeSet;

use dkimctl_providers::export::{Format, Record, export};
use dkimctl_state::name::{Fqdn, SigningDomain};

use super::show::standing;
use crate::cli::error::{Error, Exit};
use crate::cli::machine::ReadState;
use crate::cli::shell::Shell;

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
    /// The zone that holds the records [default: each domain is one]
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
    let own = settings.iter().map(|settings| settings.domain.as_fqdn().clone());
    let zones: BTreeSet<Fqdn> = args.zone.map_or_else(|| own.collect(), |zone| BTreeSet::from([zone]));
    let standing = standing(shell, &config, &state, &args.domains)?;
    let records: Vec<Record> =
        standing.into_iter().map(|record| Record { name: record.name, ttl: record.ttl, text: record.text }).collect();
    for zone in zones {
        shell.print(&export(args.format, &zone, &records))?;
    }
    Ok(Exit::Ok)
}
