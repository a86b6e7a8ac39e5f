//! SPF, DMARC, and the clock.

use std::net::IpAddr;

use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dmarc::{self, Policy};
use dkimctl_state::record::txt::TxtText;

use crate::doctor::clock::Witness;
use crate::doctor::finding::Said;
use crate::doctor::spf::Facts;
use crate::spf::desired::Relay;
use crate::spf::eval::{Evaluation, Outcome};
use crate::spf::lint;

fn said(evidence: impl Into<String>, fix: impl Into<String>) -> Said {
    Said { evidence: evidence.into(), fix: fix.into() }
}

pub fn no_domain() -> String {
    "no domain was named, and none is configured".to_owned()
}

pub fn too_many_domains(count: usize, most: usize) -> String {
    format!("{count} domains are configured, and no more than {most} are looked at in one run: name some by --domain")
}

pub fn no_resolver() -> Said {
    said("no resolver is known, so DNS could not be asked", "name one: --resolver 192.0.2.53:53")
}

pub fn spf_errors(domain: &SigningDomain, errors: &[&lint::Finding]) -> Said {
    let seen: Vec<String> = errors.iter().map(|error| error.seen.clone()).collect();
    let fixes: Vec<&str> = errors.iter().map(|error| error.fix.as_str()).collect();
    said(
        format!("the SPF record of {domain} is broken: {}", seen.join("; ")),
        format!("{}\ncheck: dkimctl spf check {domain}", fixes.join("\n")),
    )
}

pub fn no_spf(facts: &Facts) -> Said {
    let mut text = "v=spf1".to_owned();
    match &facts.relay {
        Some((host, _)) => {
            let include = include_of(host);
            text.push_str(&format!(" include:{include}"));
        }
        None => facts.sessions.iter().for_each(|(ip, _)| text.push_str(&format!(" {}", mechanism(*ip)))),
    }
    said(
        format!(
            "{} has no SPF record. Gmail and Microsoft want SPF and DKIM both, and DMARC falls back to nothing when a \
             signature breaks",
            facts.domain
        ),
        format!("publish at {}: \"{text} ~all\"\ncheck: dkimctl spf check {}", facts.domain, facts.domain),
    )
}

pub fn spf_unknown(domain: &SigningDomain, why: &[String]) -> Said {
    said(
        format!("the SPF record of {domain} could not be followed, which is not a finding: {}", why.join("; ")),
        format!("ask again later: dkimctl spf check {domain}"),
    )
}

pub fn spf_sound(domain: &SigningDomain) -> String {
    format!("the SPF record of {domain} is sound; whether it covers what sends is not known, for no address is")
}

pub fn spf_pass(domain: &SigningDomain, ip: IpAddr) -> String {
    format!("SPF passes for mail of {domain} from {ip}")
}

pub fn not_covered(facts: &Facts, ip: IpAddr, outcome: Outcome, seen: &Evaluation) -> Said {
    let domain = &facts.domain;
    let why = seen.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let fix = match facts.report.texts.first() {
        Some(text) => {
            let new = with_mechanism(text, &mechanism(ip));
            format!("change the record of {domain}:\n- \"{text}\"\n+ \"{new}\"")
        }
        None => format!("publish at {domain}: \"v=spf1 {} ~all\"", mechanism(ip)),
    };
    said(
        format!("mail of {domain} leaves from {ip}, and SPF says {} to it{why}", outcome.as_str()),
        format!("{fix}\ncheck: dkimctl spf eval --ip {ip} --from postmaster@{domain}"),
    )
}

pub fn relay_missing(facts: &Facts, host: &str) -> Said {
    let domain = &facts.domain;
    let include = include_of(host);
    let fix = match facts.report.texts.first() {
        Some(text) => {
            format!(
                "change the record of {domain}:\n- \"{text}\"\n+ \"{}\"",
                with_mechanism(text, &format!("include:{include}"))
            )
        }
        None => format!("publish at {domain}: \"v=spf1 include:{include} ~all\""),
    };
    said(format!("mail of {domain} leaves through {host}, and the SPF record does not include {include}"), fix)
}

pub fn relay_covered(domain: &SigningDomain, host: &str) -> String {
    format!("the SPF record of {domain} includes the relay {host}")
}

pub fn relay_unheard_of(host: &str) -> String {
    format!("which include belongs to {host} is not known here")
}

/// A new first mechanism: whoever matches an address costs no lookup.
fn with_mechanism(text: &TxtText, mechanism: &str) -> String {
    let text = text.to_string();
    match text.split_once(' ') {
        Some((version, rest)) => format!("{version} {mechanism} {rest}"),
        None => format!("{text} {mechanism}"),
    }
}

/// What a service tells its customers to include; of one that nobody here knows, its own name.
fn include_of(host: &str) -> &str {
    match Relay::of_host(host) {
        Some(relay) => relay.include(),
        None => host.trim_start_matches('[').split([']', ':']).next().unwrap_or(host),
    }
}

fn mechanism(ip: IpAddr) -> String {
    if ip.is_ipv4() { format!("ip4:{ip}") } else { format!("ip6:{ip}") }
}

pub fn dmarc_unknown(domain: &SigningDomain, why: &[String]) -> Said {
    said(
        format!("the DMARC record of {domain} could not be followed, which is not a finding: {}", why.join("; ")),
        format!("ask again later: dkimctl dmarc check {domain}"),
    )
}

pub fn inherits(domain: &SigningDomain, policy: Policy) -> String {
    format!("{domain} follows the DMARC record above it: p={policy}")
}

pub fn dmarc_finding(seen: &dmarc::lint::Finding) -> Said {
    said(seen.seen.clone(), seen.fix.clone())
}

pub fn asks_for_nothing(domain: &SigningDomain) -> Said {
    said(
        format!("DMARC of {domain} is p=none: receivers report, and refuse nobody who forges it"),
        format!("climb on the evidence of the reports: dkimctl dmarc status {domain}"),
    )
}

pub fn dmarc_stands(domain: &SigningDomain, policy: Policy) -> String {
    format!("DMARC of {domain} stands at p={policy}")
}

pub fn no_clock() -> Said {
    said(
        "no other clock was seen to compare with",
        "name a mail server whose greeting tells the time: --peer mx.example.net; or look yourself: timedatectl, chronyc \
         tracking",
    )
}

pub fn clock_kept_by_ntp() -> String {
    "nobody else's clock was seen, and the kernel says that NTP keeps this one".to_owned()
}

pub fn clock_agrees(witness: &Witness) -> String {
    format!("the clock agrees with that of {}, to within {}", witness.whose, witness.distance())
}

pub fn clock_differs(witness: &Witness) -> Said {
    said(
        format!(
            "this clock says {}, and that of {} says {}: {} apart. Signatures from the future or past their end are \
             refused, and the waits of a rotation are wrong",
            witness.ours,
            witness.whose,
            witness.theirs,
            witness.distance()
        ),
        "set the host's clock by NTP: apt install chrony; containers have the host's\ncheck: chronyc tracking",
    )
}

pub fn clocks_quarrel(right: &Witness, wrong: &Witness) -> Said {
    said(
        format!(
            "{} agrees with this clock, and {} is {} away: one of them is wrong",
            right.whose,
            wrong.whose,
            wrong.distance()
        ),
        "check: chronyc tracking",
    )
}
