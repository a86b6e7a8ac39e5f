use dkimctl_state::name::SigningDomain;

use super::super::error::{Error, Exit};
use super::super::machine::WriteState;
use super::super::shell::Shell;
use super::SendArgs;
use crate::config::placement::Seed;
use crate::placement::journal::{self, Sent};
use crate::placement::probe::Token;
use crate::placement::submit::Submitted;
use crate::report::placement::{SendReport, SentTo, probe_text};

pub fn run(shell: &Shell, args: SendArgs) -> Result<Exit, Error> {
    let config = shell.config()?;
    let place = config.path.display();
    let Some((submission, secret)) = &config.placement.submission else {
        return Err(Error::new(format!("{place} has no [placement], so there is no server to submit a probe to"))
            .hint("add [placement] with from, host, user and secret_file, and a [[placement.seed]] for each mailbox"));
    };
    let seeds = wanted(&config.placement.seeds, &args.seed)?;
    if seeds.is_empty() {
        return Err(Error::new(format!("{place} has no [[placement.seed]], so there is no mailbox to write to"))
            .hint("add a [[placement.seed]] with name and address for each mailbox of yours"));
    }
    let domain = submission.from.rsplit_once('@').map_or("", |(_, domain)| domain);
    if !domain.parse::<SigningDomain>().is_ok_and(|domain| config.domains.contains(&domain)) {
        shell.warn(format_args!(
            "{domain} is not a configured domain, so nothing is known of the keys that sign for it"
        ));
    }
    // Before anything is sent: a probe that is not remembered is not found again.
    let mut state = WriteState::open(shell, &config, "placement send")?;
    let secret = secret.as_ref().map(|source| source.read()).transpose()?;
    let through = submission.open(secret.as_ref().map(|secret| secret.trim())).map_err(Error::said)?;
    let token = Token::new(shell.now());
    let text = probe_text(&submission.from, &token);
    let mut report = SendReport {
        token: token.clone(),
        from: submission.from.clone(),
        host: format!("{}:{}", submission.host, submission.port),
        seeds: Vec::new(),
    };
    let mut taken = Vec::new();
    let mut stopped = None;
    for seed in seeds {
        match submission.send(&through, &seed.address, &token, &text) {
            Ok(submitted) => {
                if matches!(submitted, Submitted::Taken(_)) {
                    taken.push(seed.name.clone());
                }
                let Seed { name, address, family, .. } = seed.clone();
                report.seeds.push(SentTo { seed: name, address, family, submitted: submitted.into() });
            }
            Err(error) => {
                stopped = Some(error);
                break;
            }
        }
    }
    if !taken.is_empty() {
        let round = Sent { token, at: shell.now(), from: submission.from.clone(), seeds: taken.clone() };
        journal::remember_sent(&mut state.store, round)?;
    }
    match stopped {
        Some(error) if report.seeds.is_empty() => return Err(Error::said(error)),
        Some(error) => shell.error(&error, &[]),
        None => {}
    }
    shell.show(&report)?;
    Ok(if taken.len() == report.seeds.len() && !report.seeds.is_empty() { Exit::Ok } else { Exit::ChecksFailed })
}

/// The seeds of these names; all of them if none is named.
pub(super) fn wanted<'s>(seeds: &'s [Seed], names: &[String]) -> Result<Vec<&'s Seed>, Error> {
    if names.is_empty() {
        return Ok(seeds.iter().collect());
    }
    let find = |name: &String| {
        seeds.iter().find(|seed| seed.name == *name).ok_or_else(|| {
            let meant = crate::config::error::nearest(name, seeds.iter().map(|seed| seed.name.as_str()));
            let meant = meant.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            Error::usage(format!("no [[placement.seed]] has the name `{name}`{meant}"))
        })
    };
    names.iter().map(find).collect()
}
