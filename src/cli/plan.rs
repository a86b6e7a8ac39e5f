use std::collections::BTreeMap;

use dkimctl_state::lifecycle::plan::{names_to_see, plan};
use dkimctl_state::lifecycle::request::Intent;
use dkimctl_state::lifecycle::rotation::Now;
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::store::Store;

use super::error::{Error, Exit};
use super::machine::{Looker, ReadState};
use super::request;
use super::shell::Shell;
use crate::report::plan::PlanReport;

/// Show what would be done now, and do nothing
///
/// The exact change of every record, of the signer's tables, of files; and what is waited for. The name servers and
/// providers are asked; nothing is written anywhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl plan example.com
  dkimctl plan example.com --rotate     as if a rotation were asked for
  dkimctl plan --exit-code              exit 5 if anything would be done")]
pub struct Args {
    /// The domains [default: all]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
    /// As if a rotation were asked for
    #[arg(long)]
    rotate: bool,
    /// Exit with 5 if anything would be done
    #[arg(long)]
    exit_code: bool,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let state = ReadState::open(shell, &config)?;
    let settings = shell.settings(&config, &args.domains)?;
    let looker = Looker::new(&config, &settings.iter().collect::<Vec<_>>())?;
    let mut report = PlanReport::default();
    for settings in &settings {
        let mut ledger = state.0.load(&settings.domain)?.ledger;
        let at = shell.now();
        if args.rotate {
            let free: Vec<_> =
                settings.slots.keys().filter(|a| ledger.lines.get(a).is_none_or(|l| l.incoming.is_none())).collect();
            for algorithm in free {
                let fact = request::asked(shell, *algorithm, Intent::Rotate, &None);
                ledger.record(&fact, at).map_err(|error| Error::new(error.to_string()))?;
            }
        }
        let names = names(settings, names_to_see(settings, &ledger, at));
        let seen = looker.look(&names, at, settings.policy.clock_tolerance);
        let plan = plan(Now { settings, ledger: &ledger, seen: &seen, at });
        let refused = looker.unfit(&plan.steps);
        report.add(plan, &ledger, refused);
    }
    shell.show(&report)?;
    Ok(if args.exit_code && report.is_pending() { Exit::Pending } else { Exit::Ok })
}

fn names(settings: &Settings, names: Vec<Fqdn>) -> BTreeMap<Fqdn, Vec<dkimctl_state::name::Label>> {
    names.into_iter().map(|name| (name, settings.providers.clone())).collect()
}
