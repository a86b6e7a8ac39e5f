//! HELO001, HELO004: the name that the server says of itself, as it is written and as it is in force.

use super::compose::model::Service;
use super::container::Container;
use super::finding::{Findings, Place, Severity, Tier};
use super::patient::Patient;
use super::written::{Kind, Mta};
use crate::report::doctor::helo_name as said;

/// What HELO001 is about, at every tier.
pub const HELO: &str = "HELO";

pub fn examine(patient: &Patient, findings: &mut Findings) {
    for project in &patient.written().projects {
        for service in &project.services {
            if let (Some(hostname), Some(domainname)) = (&service.hostname, &service.domainname)
                && hostname.value.known().is_some_and(|name| name.contains('.'))
            {
                let said = said::both_names(&service.name, &hostname.value, &domainname.value);
                findings.found("HELO004", Tier::Files, &service.name, said).at(project.place(domainname.origin));
            }
        }
    }
    for mta in patient.written().mtas() {
        let service = mta.service;
        if let (Some(hostname), None) = (&service.hostname, &service.domainname)
            && let Some(name) = hostname.value.known().filter(|name| name.contains('.'))
        {
            findings.ok("HELO004", Tier::Files, &service.name, said::one_name(&service.name, name));
        }
        written(&mta, findings);
    }
    in_force(patient, findings);
}

/// What the files make of it. Only a main.cf that says a name says it for sure.
fn written(mta: &Mta<'_>, findings: &mut Findings) {
    let service = mta.service;
    if let Some((path, main)) = mta.main_cf()
        && let Some(entry) = main.get("smtp_helo_name").or_else(|| main.get("myhostname"))
    {
        let place = Place::line(path.display().to_string(), entry.line);
        let refused = match main.expanded(&entry.name) {
            Some(name) => match fault(&name, "") {
                None => return findings.ok("HELO001", Tier::Files, HELO, said::written_name(&entry.name, &name)),
                Some(fault) => said::bad_name(&name, fault, Some(entry.line)),
            },
            None => {
                findings.unknown("HELO001", Tier::Files, HELO, said::depends(&entry.name, &entry.value)).at(place);
                return;
            }
        };
        match mta.setter_of(&entry.name) {
            Some(script) => {
                let said = said::set_at_start(&entry.name, script);
                findings.unknown("HELO001", Tier::Files, HELO, said).at(Place::file(script.display().to_string()));
            }
            None => {
                findings.found("HELO001", Tier::Files, HELO, refused).at(place);
            }
        }
        return;
    }
    let by_variable = mta.service.environment.iter().find(|variable| {
        const NAMES: &[&str] = &[
            "POSTFIX_MYHOSTNAME",
            "MYHOSTNAME",
            "MAILNAME",
            "OVERRIDE_HOSTNAME",
            "SERVER_HOSTNAME",
            "HOSTNAME",
            "HOSTNAMES",
        ];
        NAMES.contains(&variable.name.to_ascii_uppercase().as_str())
    });
    let by_image = matches!(mta.kind, Kind::PostfixImage | Kind::Suite | Kind::Other);
    if let Some(variable) = by_variable.filter(|_| by_image) {
        return match variable.value.as_ref().and_then(|value| value.known()).map(|name| (name, fault(name, ""))) {
            Some((name, None)) => findings.ok("HELO001", Tier::Files, HELO, said::written_name(&variable.name, name)),
            Some((name, Some(fault))) => {
                let said = said::bad_name(name, fault, None);
                findings
                    .found("HELO001", Tier::Files, HELO, said)
                    .weighing(Severity::Warn)
                    .at(mta.project.place(variable.origin));
            }
            None => {
                let said = said::depends(&variable.name, "");
                findings.unknown("HELO001", Tier::Files, HELO, said).at(mta.project.place(variable.origin));
            }
        };
    }
    match full_name(service) {
        Name::Known(name) => match fault(&name, "") {
            // Debian's package writes the build machine's name into main.cf, which then wins.
            None if mta.kind == Kind::OwnPostfix && mta.setter_of("myhostname").is_none() => {
                let said = said::may_be_baked(&name);
                findings.unknown("HELO001", Tier::Files, HELO, said).at(mta.project.place(service.origin));
            }
            None => findings.ok("HELO001", Tier::Files, HELO, said::written_name("hostname", &name)),
            Some(fault) => {
                let said = said::bad_name(&name, fault, None);
                let place = mta.project.place(service.hostname.as_ref().map_or(service.origin, |at| at.origin));
                findings.found("HELO001", Tier::Files, HELO, said).weighing(Severity::Warn).at(place);
            }
        },
        Name::Unresolved => {
            let said = said::depends("hostname", "");
            findings.unknown("HELO001", Tier::Files, HELO, said).at(mta.project.place(service.origin));
        }
        // Another file, another image's variable, the host's own name: it may well be given elsewhere.
        Name::None if mta.service.is_piece() || by_image || mta.service.has_env_file || on_host(service) => {
            let said = said::given_elsewhere(&service.name);
            findings.unknown("HELO001", Tier::Files, HELO, said).at(mta.project.place(service.origin));
        }
        Name::None => {
            let said = said::no_name(&service.name);
            findings
                .found("HELO001", Tier::Files, HELO, said)
                .weighing(Severity::Warn)
                .at(mta.project.place(service.origin));
        }
    }
}

enum Name {
    Known(String),
    Unresolved,
    None,
}

/// `hostname`, with `domainname` behind it where it has no dot.
fn full_name(service: &Service) -> Name {
    let Some(hostname) = &service.hostname else { return Name::None };
    let (Some(host), domain) = (hostname.value.known(), service.domainname.as_ref().map(|at| at.value.known())) else {
        return Name::Unresolved;
    };
    match domain {
        _ if host.contains('.') => Name::Known(host.to_owned()),
        Some(None) => Name::Unresolved,
        Some(Some(domain)) if !domain.is_empty() => Name::Known(format!("{host}.{domain}")),
        _ => Name::Known(host.to_owned()),
    }
}

fn on_host(service: &Service) -> bool {
    service.network_mode.as_ref().is_some_and(|mode| mode.value.text == "host")
}

fn in_force(patient: &Patient, findings: &mut Findings) {
    let postfix = match patient.postfix() {
        Ok(Some(postfix)) => postfix,
        Ok(None) => return,
        Err(why) => {
            findings.unknown("HELO001", Tier::Effective, HELO, said::not_asked(why));
            return;
        }
    };
    let container = patient.container.there();
    let name = postfix.get("smtp_helo_name").filter(|name| !name.is_empty()).unwrap_or(postfix.value("myhostname"));
    let hostname = container.map(Container::hostname).unwrap_or_default();
    match fault(name, container.map(Container::id).unwrap_or_default()) {
        None => findings.ok("HELO001", Tier::Effective, HELO, said::name_in_force(name)),
        Some(fault) => {
            let baked = postfix.is_set("myhostname") && hostname.contains('.') && hostname != name;
            findings.found(
                "HELO001",
                Tier::Effective,
                HELO,
                said::bad_name_in_force(name, fault, baked.then_some(hostname)),
            );
        }
    }
}

/// What is wrong with a name in HELO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Empty,
    /// The id of the container, or the beginning of it.
    ContainerId,
    /// One label.
    NoDomain,
    /// `localhost`, `.localdomain`, `.local`, `.internal`.
    Local,
    /// An underscore or another character that no host name has.
    Character,
    /// An address that is not written as one: `[192.0.2.1]` would be.
    Address,
    /// A name of the documentation, left as it was.
    Example,
}

/// What is wrong with it, if anything; `id` is the container's, where there is one.
pub fn fault(name: &str, id: &str) -> Option<Fault> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        let address = address.strip_prefix("ipv6:").unwrap_or(address);
        return address.parse::<std::net::IpAddr>().is_err().then_some(Fault::Character);
    }
    let first = name.split('.').next().unwrap_or_default();
    let hexadecimal = first.len() == 12 && first.bytes().all(|byte| byte.is_ascii_hexdigit());
    if name.is_empty() {
        Some(Fault::Empty)
    } else if name.parse::<std::net::IpAddr>().is_ok() {
        Some(Fault::Address)
    } else if hexadecimal && (id.is_empty() || id.starts_with(first)) {
        Some(Fault::ContainerId)
    } else if name.split('.').any(|l| l.is_empty() || !l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')) {
        Some(Fault::Character)
    } else if name == "localhost"
        || ["localdomain", "local", "internal", "lan", "localhost"].contains(&name.rsplit('.').next()?)
    {
        Some(Fault::Local)
    } else if !name.contains('.') {
        Some(Fault::NoDomain)
    } else if ["yourdomain.com", "yourdomain.tld", "your-domain.com"]
        .iter()
        .any(|d| name == *d || name.ends_with(&format!(".{d}")))
    {
        Some(Fault::Example)
    } else {
        None
    }
}

#[cfg(test)]
#[path = "helo_name_tests.rs"]
mod tests;
