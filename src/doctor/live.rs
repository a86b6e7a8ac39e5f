//! The checks that look at the network, the signer and DNS, applied to the patient: what is looked at, from where, and
//! what is passed over because nobody named it.
//!
//! Several groups need the same look; [`super::patient::Seen`] keeps it for the run.

use std::net::SocketAddr;

use dkimctl_providers::wire::to_name;
use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::time::{Span, Time};
use hickory_proto::rr::Name;
use rayon::prelude::*;

use super::clock::{self, Witness, cookie};
use super::container::Container;
use super::dkim::{self, look as dkim_look};
use super::finding::{Findings, Tier};
use super::inside::Inside;
use super::net::look::{Ask, Named, look};
use super::net::{self, judge};
use super::patient::{Patient, Reach};
use super::signer::{self, Kind};
use super::{dmarc as dmarc_check, helo_seen, relay_probe, rspamd, safekeys, spf as spf_check};
use crate::config::Observe;
use crate::dmarc::look as dmarc_look;
use crate::host::settings::HostSettings;
use crate::observe::configured;
use crate::report::doctor as say;
use crate::signers::{self, milter::Client};
use crate::spf::resolver::Recursive;

/// The place where mail runs, if it is known.
struct Place {
    inside: Inside,
    container: Option<String>,
    /// The signer, where it is configured; what is in a container shows there.
    signer: Option<signer::Named>,
    client: Client,
}

const OPENDKIM_CONF: &str = "/etc/opendkim.conf";

pub fn net(patient: &Patient, findings: &mut Findings) {
    if let Some(out) = way_out(patient, &judge::IDS, findings) {
        judge::judge(out, findings);
    }
}

pub fn ip6(patient: &Patient, findings: &mut Findings) {
    if let Some(out) = way_out(patient, &["IP6001"], findings) {
        judge::ipv6(out, findings);
    }
}

pub fn helo(patient: &Patient, findings: &mut Findings) {
    let ids = ["HELO002", "HELO003"];
    if place(patient).is_none() && !matches!(patient.container, Reach::Failed(_)) {
        ids.iter().for_each(|id| findings.skip(id, "HELO", say::net::nobody_named()));
    } else if let Some(out) = way_out(patient, &ids, findings) {
        if let (Some(helo), None) = (&out.helo, patient.container.there()) {
            helo_seen::in_force(helo, findings);
        }
        helo_seen::judge(out, findings);
    }
}

pub fn clock(patient: &Patient, findings: &mut Findings) {
    let Some(out) = way_out(patient, &["SYS001"], findings) else { return };
    let policy = patient.ours.config.as_ref().map(|config| config.policy.clone()).unwrap_or_default();
    let mut witnesses = clock::of_peers(out);
    // A peer may be wrong itself, so a second opinion is asked for; that it agrees is enough.
    if !witnesses.iter().any(|witness| witness.distance() <= policy.clock_tolerance) {
        witnesses.extend(clocks_of_name_servers(patient, out));
    }
    witnesses.extend(clock_inside(patient));
    let on_this_machine = place(patient).is_some_and(|place| place.inside.is_here() || place.inside.network.is_some());
    let kept_by_ntp = witnesses.is_empty() && on_this_machine && clock::kept_by_ntp();
    clock::judge(&witnesses, kept_by_ntp, policy.clock_tolerance, findings);
}

/// So many name servers are asked for the time at most.
const MOST_CLOCKS: usize = 6;

/// The name servers that are asked other things anyway: those of the HELO name and of the domains that sign, and the
/// resolvers.
fn clocks_of_name_servers(patient: &Patient, out: &net::Facts) -> Vec<Witness> {
    let lookup = configured::lookup(&observe(patient));
    let helo = out.helo.as_ref().and_then(|helo| helo.name.parse::<Fqdn>().ok());
    let domains = patient.signing_domains();
    let names = helo.into_iter().chain(domains.iter().take(2).map(|domain| domain.as_fqdn().clone()));
    let mut asked: Vec<(SocketAddr, Name)> = Vec::new();
    for name in names.map(|name| to_name(&name)) {
        let servers = lookup.served_at(&name).into_iter().chain(lookup.config().resolvers.iter().copied());
        for server in servers {
            if asked.len() < MOST_CLOCKS && asked.iter().all(|(known, _)| *known != server) {
                asked.push((server, name.clone()));
            }
        }
    }
    let options = lookup.config().options;
    asked.par_iter().filter_map(|(server, name)| cookie::ask(*server, name, options)).collect()
}

/// The container's own clock: it is the host's, unless somebody took care that it is not.
fn clock_inside(patient: &Patient) -> Option<Witness> {
    let said = patient.container.there()?.ask(&["date", "+%s"]).ok()?;
    let theirs = Time::from_unix(said.trim().parse().ok()?);
    let ours = Time::from_unix(chrono::Utc::now().timestamp());
    let witness = Witness { whose: "the container".to_owned(), theirs, ours };
    // That it agrees proves nothing: it is one clock as a rule.
    (witness.distance() > Span::seconds(60)).then_some(witness)
}

pub fn keys(patient: &Patient, findings: &mut Findings) {
    let name = place(patient).and_then(|place| place.container);
    match signer_of(patient) {
        None if matches!(patient.container, Reach::NotAsked | Reach::There(_)) => {
            findings.skip("KEY003", "keys", say::safekeys::no_signer());
        }
        None => {
            let Reach::Failed(why) = &patient.container else { return };
            findings.unknown("KEY003", Tier::Effective, "keys", say::safekeys::not_there(why));
        }
        Some(Err(why)) => {
            findings.unknown("KEY003", Tier::Effective, "keys", say::safekeys::not_there(why));
        }
        Some(Ok(facts)) => safekeys::judge(facts, name.as_deref(), findings),
    }
}

pub fn dkim(patient: &Patient, findings: &mut Findings) {
    let ids = ["DKIM001", "DKIM002", "DKIM003", "DKIM004", "DKIM005"];
    if patient.offline {
        ids.iter().for_each(|id| findings.skip(id, "keys", say::net::offline()));
        return;
    }
    let signer = signer_of(patient);
    let signs = signer.and_then(|signer| signer.as_ref().ok());
    let sweeper = configured::sweeper(&observe(patient));
    let mut facts = dkim_look::look(&patient.ours.keys, &patient.domains, signs, &*sweeper, patient.now);
    match (signer, place(patient)) {
        (Some(Ok(signer)), Some(place)) => {
            dkim_look::probe(&mut facts, &place.inside, signer, &place.client, patient.now);
        }
        (Some(Err(why)), _) => {
            findings.unknown("DKIM005", Tier::Observed, "signer", say::dkim::no_signer(why));
        }
        _ => match &patient.container {
            Reach::Failed(why) => {
                findings.unknown("DKIM005", Tier::Observed, "signer", say::dkim::no_signer(why));
            }
            _ => findings.skip("DKIM005", "signer", say::safekeys::no_signer()),
        },
    }
    dkim::judge(&facts, findings);
}

pub fn spf(patient: &Patient, findings: &mut Findings) {
    let Some((resolver, domains)) = policies(patient, "SPF001", findings) else { return };
    // Where mail leaves from is not known: then the record alone is looked at.
    let nothing = net::Facts::default();
    let out = if place(patient).is_some() || !patient.public.is_empty() { seen_way_out(patient) } else { &nothing };
    side_by_side(&domains, findings, |domain, findings| {
        spf_check::judge(&spf_check::look(&resolver, domain, out, patient.now), findings);
    });
}

pub fn dmarc(patient: &Patient, findings: &mut Findings) {
    let Some((resolver, domains)) = policies(patient, "DMARC001", findings) else { return };
    side_by_side(&domains, findings, |domain, findings| {
        let looked = dmarc_look::look(&resolver, domain.as_fqdn());
        dmarc_check::judge(domain, &looked, patient.profile, findings);
    });
}

pub fn relay(patient: &Patient, findings: &mut Findings) {
    let Some(target) = patient.probe_relay.as_ref().filter(|_| !patient.offline) else { return };
    match relay_probe::look(target, &patient.public) {
        Ok(tries) => relay_probe::judge(&tries, findings),
        Err(why) => {
            findings.unknown("RELAY001", Tier::Observed, target, say::relay_probe::no_target(&why));
        }
    }
}

/// A resolver is asked some twenty questions a domain; a fleet is looked at by samples, or by `spf check`.
const MOST_DOMAINS: usize = 200;

/// Looks at domains side by side; what was found stands in their order.
fn side_by_side(
    domains: &[SigningDomain],
    findings: &mut Findings,
    look: impl Fn(&SigningDomain, &mut Findings) + Sync,
) {
    let one = |domain: &SigningDomain| {
        let mut findings = Findings::default();
        look(domain, &mut findings);
        findings
    };
    let found: Vec<Findings> = domains.par_iter().map(one).collect();
    found.into_iter().for_each(|other| findings.append(other));
}

/// Whom to ask, and about which domains.
fn policies(patient: &Patient, id: &'static str, findings: &mut Findings) -> Option<(Recursive, Vec<SigningDomain>)> {
    if patient.offline {
        findings.skip(id, "DNS", say::net::offline());
        return None;
    }
    let mut domains = patient.signing_domains();
    if let (true, Some(Ok(signer))) = (domains.is_empty(), signer_of(patient)) {
        domains = signer.signing.iter().map(|(domain, _)| domain.clone()).collect();
    }
    if domains.is_empty() {
        findings.skip(id, "DNS", say::policy::no_domain());
        return None;
    }
    if domains.len() > MOST_DOMAINS {
        findings.skip(id, "DNS", say::policy::too_many_domains(domains.len(), MOST_DOMAINS));
        return None;
    }
    match patient.resolvers.first() {
        Some(&resolver) => Some((Recursive::new(resolver), domains)),
        None => {
            findings.unknown(id, Tier::Effective, "DNS", say::policy::no_resolver());
            None
        }
    }
}

/// The way out; without one, what there is to say instead of each check.
fn way_out<'p>(patient: &'p Patient, ids: &[&'static str], findings: &mut Findings) -> Option<&'p net::Facts> {
    let mut pass_over = |why: fn() -> String| ids.iter().for_each(|id| findings.skip(id, "network", why()));
    match &patient.container {
        _ if patient.offline => pass_over(say::net::offline),
        Reach::Failed(why) => ids.iter().for_each(|id| {
            findings.unknown(id, Tier::Effective, "container", say::net::no_container(why));
        }),
        _ if place(patient).is_none() && patient.public.is_empty() => pass_over(say::net::nobody_named),
        _ => return Some(seen_way_out(patient)),
    }
    None
}

fn seen_way_out(patient: &Patient) -> &net::Facts {
    patient.seen.way_out.get_or_init(|| {
        let lookup = configured::lookup(&observe(patient));
        let ask = Ask { public: patient.public.clone(), blocklists: patient.blocklists.clone(), ..Ask::default() };
        let ask = match place(patient) {
            // From here port 25 says nothing about a server that is elsewhere.
            None => Ask { peers: Vec::new(), ..ask },
            Some(place) => {
                let (helo, relay) = postfix(&place, patient);
                Ask { inside: place.inside, peers: patient.peers.clone(), helo, relay, ..ask }
            }
        };
        look(&ask, &lookup)
    })
}

/// What Postfix calls itself, and whom it sends through.
fn postfix(place: &Place, patient: &Patient) -> (Option<Named>, Option<String>) {
    let values: Vec<String> = match (place.container.is_some(), patient.postfix()) {
        (true, Ok(Some(postfix))) => SETTINGS.iter().map(|name| postfix.value(name).to_owned()).collect(),
        (true, _) => return (None, None),
        (false, _) => {
            let command = ["postconf", "-x", "-h"].into_iter().chain(SETTINGS).collect::<Vec<_>>();
            let ran = place.inside.run(&command);
            let Some(ran) = ran.ok().filter(super::engine::Ran::is_ok) else { return (None, None) };
            ran.stdout().lines().map(|line| line.trim().to_owned()).collect()
        }
    };
    let [helo, hostname, relay] = &values[..] else { return (None, None) };
    let (name, source) = if helo.is_empty() { (hostname, "myhostname") } else { (helo, "smtp_helo_name") };
    let named = Named { name: name.clone(), source: source.to_owned() };
    (Some(named).filter(|named| !named.name.is_empty()), Some(relay.clone()).filter(|relay| !relay.is_empty()))
}

const SETTINGS: [&str; 3] = ["smtp_helo_name", "myhostname", "relayhost"];

fn signer_of(patient: &Patient) -> Option<&Result<signer::Facts, String>> {
    let place = place(patient)?;
    let look = || {
        let named = match (&place.signer, patient.container.there()) {
            (Some(named), _) => Some(named.clone()),
            (None, Some(container)) => signer_in(container, &place.inside),
            (None, None) => None,
        };
        Some(signer::look(&place.inside, &named?))
    };
    patient.seen.signer.get_or_init(look).as_ref()
}

/// What signs in a container: whatever is configured there, and if both are, what runs.
fn signer_in(container: &Container, inside: &Inside) -> Option<signer::Named> {
    // What could not be asked is for the look to say.
    let is_there = |path: &str| !matches!(container.read(path), Ok(None));
    let rspamd = match (is_there(OPENDKIM_CONF), is_there(rspamd::CONF)) {
        (false, false) => return None,
        (true, true) => signer::runs(inside, Kind::Rspamd) && !signer::runs(inside, Kind::OpenDkim),
        (_, rspamd) => rspamd,
    };
    Some(if rspamd { signer::Named::Rspamd } else { signer::Named::OpenDkim(OPENDKIM_CONF.into()) })
}

/// The container that was named, or this host, if its own `host.toml` is configured.
fn place(patient: &Patient) -> Option<Place> {
    match &patient.container {
        Reach::There(container) => Some(Place {
            inside: Inside::container(container),
            container: Some(container.name.clone()),
            signer: None,
            client: Client::default(),
        }),
        Reach::Failed(_) => None,
        Reach::NotAsked => {
            let signers = &patient.ours.config.as_ref()?.signers;
            let settings =
                signers.values().filter_map(|signer| HostSettings::load(signer.apply.as_ref()?).ok()).next()?;
            // Its paths are those of the container, which has to be named to be looked into.
            if settings.signer.container().is_some() {
                return None;
            }
            let (named, client) = match settings.signer {
                signers::Settings::OpenDkim(opendkim) => (signer::Named::OpenDkim(opendkim.conf), opendkim.client),
                signers::Settings::Rspamd(rspamd) => {
                    (signer::Named::KnownRspamd(rspamd::Conf::of(&rspamd)), rspamd.client)
                }
            };
            Some(Place { inside: Inside::here(), container: None, signer: Some(named), client })
        }
    }
}

/// As configured, with the resolvers that were named.
pub(super) fn observe(patient: &Patient) -> Observe {
    let both = || Observe { ipv4: true, ipv6: true, ..Observe::default() };
    let configured = patient.ours.config.as_ref().map_or_else(both, |config| config.observe.clone());
    Observe { recursives: patient.resolvers.clone(), ..configured }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
