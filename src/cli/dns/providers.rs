use std::fmt::Write as _;

use dkimctl_providers::Descriptor;
use dkimctl_providers::dnsupdate::hosts::{CAVEATS, HOSTS, Host as Known};
use serde::Serialize;

use crate::cli::error::{Error, Exit};
use crate::cli::shell::Shell;
use crate::report::{Paint, Report};

/// List every kind of DNS host: what it is, what it needs, and the narrowest rights that suffice
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(shell: &Shell, _args: Args) -> Result<Exit, Error> {
    let hosts = dkimctl_providers::all().iter().map(|descriptor| Host::from(**descriptor)).collect();
    let built_in = cfg!(feature = "dns-update");
    shell.show(&Hosts { providers: hosts, through_dns_update: HOSTS.iter().map(More::from).collect(), built_in })?;
    Ok(Exit::Ok)
}

#[derive(Debug, Serialize)]
struct Hosts {
    providers: Vec<Host>,
    /// Reached through the crate dns-update, by `type = "dnsupdate"`.
    through_dns_update: Vec<More>,
    /// Whether this program was built with it.
    #[serde(rename = "dns_update_built_in")]
    built_in: bool,
}

#[derive(Debug, Serialize)]
struct More {
    server: &'static str,
    name: &'static str,
    secrets: &'static [&'static str],
    min_ttl: u32,
    max_text: usize,
    caveat: &'static str,
}

impl From<&Known> for More {
    fn from(host: &Known) -> Self {
        let Known { code: server, name, secrets, min_ttl, max_text, caveat, .. } = *host;
        More { server, name, secrets, min_ttl, max_text, caveat }
    }
}

#[derive(Debug, Serialize)]
struct Host {
    code: &'static str,
    name: &'static str,
    credentials: &'static str,
    least_rights: &'static str,
    rights_template: &'static str,
    docs: &'static str,
}

impl From<Descriptor> for Host {
    fn from(known: Descriptor) -> Self {
        let Descriptor { code, name, credentials, least_rights, rights_template, docs } = known;
        Host { code, name, credentials, least_rights, rights_template, docs }
    }
}

impl Report for Hosts {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for Host { code, name, credentials, least_rights, docs, .. } in &self.providers {
            let _ = writeln!(out, "{}  {name}", paint.bold(format!("{code:<11}")));
            let _ = writeln!(out, "  needs   {credentials}");
            let _ = writeln!(out, "  rights  {least_rights}");
            let _ = writeln!(out, "  docs    {docs}\n");
        }
        let built = if self.built_in { "" } else { " (this program was built without: --features dns-update)" };
        let _ = writeln!(out, "{}{built}", paint.bold("More, by type = \"dnsupdate\""));
        let _ = writeln!(out, "  all     {CAVEATS}");
        for More { server, name, secrets, min_ttl, max_text, caveat } in &self.through_dns_update {
            let secrets = secrets.join(" and ");
            let _ = writeln!(out, "{}  {name}: {secrets}", paint.bold(format!("{server:<12}")));
            let _ = writeln!(out, "  can     TTLs from {min_ttl} s, texts of up to {max_text} octets");
            let _ = writeln!(out, "  cannot  {caveat}");
        }
        out
    }
}
