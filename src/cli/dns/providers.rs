use std::fmt::Write as _;

use dkimctl_providers::Descriptor;
use serde::Serialize;

use crate::cli::error::{Error, Exit};
use crate::cli::shell::Shell;
use crate::report::{Paint, Report};

/// List every kind of DNS host: what it is, what it needs, and the narrowest rights that suffice
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(shell: &Shell, _args: Args) -> Result<Exit, Error> {
    let hosts = dkimctl_providers::all().iter().map(|descriptor| Host::from(**descriptor)).collect();
    shell.show(&Hosts { providers: hosts })?;
    Ok(Exit::Ok)
}

#[derive(Debug, Serialize)]
struct Hosts {
    providers: Vec<Host>,
}

#[derive(Debug, Serialize)]
struct Host {
    code: &'static str,
    name: &'static str,
    credentials: &'static str,
    least_rights: &'static str,
    docs: &'static str,
}

impl From<Descriptor> for Host {
    fn from(known: Descriptor) -> Self {
        let Descriptor { code, name, credentials, least_rights, docs } = known;
        Host { code, name, credentials, least_rights, docs }
    }
}

impl Report for Hosts {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for Host { code, name, credentials, least_rights, docs } in &self.providers {
            let _ = writeln!(out, "{}  {name}", paint.bold(format!("{code:<11}")));
            let _ = writeln!(out, "  needs   {credentials}");
            let _ = writeln!(out, "  rights  {least_rights}");
            let _ = writeln!(out, "  docs    {docs}\n");
        }
        out
    }
}
