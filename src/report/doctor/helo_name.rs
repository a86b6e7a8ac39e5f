//! HELO001 and HELO004.

use std::path::Path;

use crate::doctor::compose::interpolate::Text;
use crate::doctor::finding::Said;
use crate::doctor::helo_name::Fault;

pub fn both_names(service: &str, hostname: &Text, domainname: &Text) -> Said {
    Said {
        evidence: format!(
            "service {service} has `hostname: {hostname}` and `domainname: {domainname}`: some engines put one behind \
             the other"
        ),
        fix: format!("remove `domainname:`, and keep `hostname: {hostname}`"),
    }
}

pub fn one_name(service: &str, name: &str) -> String {
    format!("service {service} has `hostname: {name}`, and no `domainname`")
}

pub fn written_name(by: &str, name: &str) -> String {
    format!("{name} ({by})")
}

pub fn name_in_force(name: &str) -> String {
    format!("{name} (postconf)")
}

fn reason(fault: Fault) -> &'static str {
    match fault {
        Fault::Empty => "which is no name",
        Fault::ContainerId => "the container's id: another one tomorrow, and receivers refuse it (504 5.5.2)",
        Fault::NoDomain => "which is no full name: receivers refuse it (504 5.5.2)",
        Fault::Local => "which nobody else can resolve: receivers refuse it (450 4.7.1 Host not found)",
        Fault::Character => "which has a character that no host name has: receivers refuse it (501, 504)",
        Fault::Address => "an address that is not written as one (RFC 5321 section 4.1.3)",
        Fault::Example => "an example's name that was left as it was",
    }
}

const FIX: &str = "set `myhostname = mail.example.com` in main.cf, with the name that your address has in reverse";

pub fn bad_name(name: &str, fault: Fault, line: Option<u32>) -> Said {
    let beside = match line {
        Some(line) => format!("; `hostname:` in the Compose file changes nothing while line {line} of main.cf says it"),
        None => String::new(),
    };
    Said { evidence: format!("HELO would be `{name}`, {}", reason(fault)), fix: format!("{FIX}{beside}") }
}

pub fn bad_name_in_force(name: &str, fault: Fault, hostname: Option<&str>) -> Said {
    let baked = hostname.map(|hostname| {
        format!("\nthe container's hostname is {hostname}, but main.cf has a value of its own: the machine's that built the image")
    });
    Said { evidence: format!("HELO is `{name}`, {}{}", reason(fault), baked.unwrap_or_default()), fix: FIX.to_owned() }
}

pub fn depends(by: &str, value: &str) -> Said {
    let value = if value.is_empty() { String::new() } else { format!(" ({value})") };
    Said {
        evidence: format!("HELO depends on `{by}`{value}, which is not known from the files"),
        fix: "look at what runs: dkimctl doctor --container NAME".to_owned(),
    }
}

pub fn set_at_start(parameter: &str, script: &Path) -> Said {
    Said {
        evidence: format!("`{parameter}` is set when the container starts, by {}", script.display()),
        fix: "look at what runs: dkimctl doctor --container NAME".to_owned(),
    }
}

pub fn may_be_baked(hostname: &str) -> Said {
    Said {
        evidence: format!(
            "`hostname: {hostname}` is good, but no main.cf sets `myhostname`: Debian's package writes the build \
             machine's name there, which wins"
        ),
        fix: format!("set `myhostname = {hostname}` in main.cf, or look at what runs: dkimctl doctor --container NAME"),
    }
}

pub fn given_elsewhere(service: &str) -> Said {
    Said {
        evidence: format!("no file here says which name service {service} uses in HELO; its image may"),
        fix: "look at what runs: dkimctl doctor --container NAME".to_owned(),
    }
}

pub fn no_name(service: &str) -> Said {
    Said {
        evidence: format!("nothing gives service {service} a name: HELO would be the container's id"),
        fix: format!("{FIX}, and `hostname: mail.example.com` for the service"),
    }
}

pub fn not_asked(why: &str) -> Said {
    Said { evidence: format!("HELO could not be looked up: {why}"), fix: String::new() }
}
