use dkimctl_state::name::Fqdn;
use dkimctl_state::record::dmarc::lint::lint;
use dkimctl_state::record::dmarc::looks_like_dmarc;

use super::super::error::{Error, Exit};
use super::super::record::asked;
use super::super::shell::Shell;
use super::CheckArgs;
use crate::dmarc::look::{self, Looked};
use crate::report::dmarc::{CheckReport, Checked};
use crate::spf::resolver::Resolver;

pub fn run(shell: &Shell, args: CheckArgs) -> Result<Exit, Error> {
    let resolver = asked(args.resolver)?;
    let domains: Vec<Fqdn> = match args.domains.as_slice() {
        [] => shell.config()?.domains.names().map(|name| name.as_fqdn().clone()).collect(),
        named => named.to_vec(),
    };
    let report = CheckReport { domains: domains.iter().map(|domain| look(&resolver, domain)).collect() };
    shell.show(&report)?;
    Ok(match report.domains.iter().any(Checked::has_errors) {
        true => Exit::ChecksFailed,
        false if report.domains.iter().any(|checked| !checked.unknown.is_empty()) => Exit::NotChecked,
        false => Exit::Ok,
    })
}

pub(super) fn look(resolver: &dyn Resolver, domain: &Fqdn) -> Checked {
    let Looked { context, unknown } = look::look(resolver, domain);
    let Some(context) = context else { return Checked::unknown(domain, unknown.join("; ")) };
    let records = context.texts.iter().filter(|text| looks_like_dmarc(text)).map(ToString::to_string).collect();
    Checked::new(domain, records, lint(domain, &context), context.organizational, unknown)
}
