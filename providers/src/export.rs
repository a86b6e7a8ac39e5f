//! Our records in the terms of other tools, for zones that are kept there: one file a tool.
//!
//! Each text says in comments what keeps that tool from deleting or fighting over records that dkimctl writes itself.
//! A tool should either get the records from here or leave them alone, never both.

use std::fmt;
use std::str::FromStr;

use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;

mod dnscontrol;
mod nsupdate;
mod octodns;
mod terraform;
mod zone;

/// One TXT record that ought to stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub name: Fqdn,
    /// Seconds.
    pub ttl: u32,
    pub text: TxtText,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 1035 section 5, for `$INCLUDE`.
    Zone,
    /// A script for nsupdate(1).
    Nsupdate,
    /// octoDNS YAML.
    OctoDns,
    /// DNSControl JavaScript.
    DnsControl,
    /// Terraform, with the resources of Route 53 and Cloudflare.
    Terraform,
}

impl Format {
    pub const ALL: [Format; 5] =
        [Format::Zone, Format::Nsupdate, Format::OctoDns, Format::DnsControl, Format::Terraform];

    pub fn code(self) -> &'static str {
        match self {
            Format::Zone => "zone",
            Format::Nsupdate => "nsupdate",
            Format::OctoDns => "octodns",
            Format::DnsControl => "dnscontrol",
            Format::Terraform => "terraform",
        }
    }
}

/// The name of no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no export format; there are zone, nsupdate, octodns, dnscontrol and terraform")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Format::ALL.into_iter().find(|format| format.code() == text).ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// The records of one zone as text for a tool, sorted by name; those outside of the zone are left out.
pub fn export(format: Format, zone: &Fqdn, records: &[Record]) -> String {
    let mut records: Vec<&Record> = records.iter().filter(|record| record.name.is_in(zone)).collect();
    records.sort_by(|a, b| (&a.name, &a.text).cmp(&(&b.name, &b.text)));
    match format {
        Format::Zone => zone::write(zone, &records),
        Format::Nsupdate => nsupdate::write(zone, &records),
        Format::OctoDns => octodns::write(zone, &records),
        Format::DnsControl => dnscontrol::write(zone, &records),
        Format::Terraform => terraform::write(zone, &records),
    }
}

/// The name without the zone; `apex` for the zone itself.
fn relative<'a>(record: &'a Record, zone: &Fqdn, apex: &'a str) -> &'a str {
    let rest = record.name.as_str().strip_suffix(zone.as_str()).unwrap_or_default().trim_end_matches('.');
    if rest.is_empty() { apex } else { rest }
}

/// A string literal as JSON, JavaScript and HCL read it.
fn literal(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
