//! Facts, waits, steps and failures as sentences: lower case, no full stop, the selector first.

use std::collections::BTreeMap;

use dkimctl_providers::AtName;
use dkimctl_state::lifecycle::fact::{Fact, PolicyChange, PolicyRecord};
use dkimctl_state::lifecycle::ledger::{Key, Ledger};
use dkimctl_state::lifecycle::request::Intent;
use dkimctl_state::lifecycle::step::Wave;
use dkimctl_state::lifecycle::wait::{SlotTaken, Wait, Who};
use dkimctl_state::name::{Fqdn, Label, Selector};
use dkimctl_state::record::dkim::Fingerprint;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::{Span, Time};

use super::Paint;

/// What stands where a list would, if it were not empty: the fact, and the command that changes it.
pub fn nothing(fact: &str, next: &str, paint: Paint) -> String {
    format!("{fact}\n\nNext:   {}\n", paint.bold(next))
}

/// The selector of each key, for sentences about keys.
#[derive(Debug, Clone, Default)]
pub struct Selectors(BTreeMap<Fingerprint, Selector>);

impl Selectors {
    pub fn add(&mut self, ledger: &Ledger) {
        self.0.extend(ledger.keys().map(|(_, key)| (key.fingerprint, key.selector.clone())));
    }

    pub fn learn(&mut self, key: &Key) {
        self.0.insert(key.fingerprint, key.selector.clone());
    }

    pub fn of(ledger: &Ledger) -> Self {
        let mut selectors = Selectors::default();
        selectors.add(ledger);
        selectors
    }

    pub fn name(&self, key: &Fingerprint) -> String {
        self.0.get(key).map_or_else(|| format!("the key {}", key.short()), ToString::to_string)
    }
}

/// What happened.
pub fn fact(fact: &Fact, selectors: &Selectors) -> String {
    let s = fact.key().map(|key| selectors.name(key)).unwrap_or_default();
    match fact {
        Fact::Asked { request, .. } => {
            let reason = request.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("{} asked to {}{reason}", request.by, intent(&request.intent, selectors))
        }
        Fact::Answered { .. } => "what was asked is done".to_owned(),
        Fact::Held { hold } => format!("held by {}: {}", hold.by, hold.reason),
        Fact::Released => "released".to_owned(),
        Fact::Sealed { key } => {
            format!("{}: {} key made and sealed ({})", key.selector, key.algorithm, key.fingerprint.short())
        }
        Fact::Adopted { key } => {
            format!("{}: {} key taken over ({})", key.selector, key.algorithm, key.fingerprint.short())
        }
        Fact::Carried { selector, maxima } => match maxima.negative {
            Some(negative) => {
                format!(
                    "{selector}: caches may keep its answers {}",
                    longest(maxima.ttl.max(maxima.cname).max(negative))
                )
            }
            None => format!("{selector}: caches may keep its answers {}", longest(maxima.ttl.max(maxima.cname))),
        },
        Fact::Written { provider, .. } => format!("{s}: record written at {provider}"),
        Fact::SweptClean { .. } => format!("{s}: every name server has the record, asked once"),
        Fact::SeenEverywhere { .. } => format!("{s}: every name server has the record, asked twice"),
        Fact::Missed { server, .. } => format!("{s}: {server} does not have the record; the wait begins anew"),
        Fact::Delivered { host, .. } => format!("{s}: {host} proved to hold the private key"),
        Fact::Committed { .. } => format!("{s}: may sign from now on"),
        Fact::Signing { host, .. } => format!("{s}: {host} proved to sign with it"),
        Fact::Refused { host: Some(host), why, .. } => format!("{s}: {host} did not sign with it: {why}"),
        Fact::Refused { host: None, why, .. } => format!("{s}: turned back: {why}"),
        Fact::TurnedBack { host, .. } => format!("{s}: {host} proved to sign with the old key again"),
        Fact::Parked { .. } => format!("{s}: parked, every host signs with the old key again"),
        Fact::Activated { .. } => format!("{s}: active, every host signs with it"),
        Fact::Abandoned { .. } => format!("{s}: given up"),
        Fact::Recalled { .. } => format!("{s}: called back to sign again"),
        Fact::Used { by, seen, .. } => format!("{s}: still used by {by} at {seen}; its window begins anew"),
        Fact::Wiped { host, .. } => format!("{s}: {host} proved to have destroyed the private key"),
        Fact::Resealed { .. } => format!("{s}: sealed again, to the recipients that are configured now"),
        Fact::Shredded { .. } => format!("{s}: our sealed private key destroyed"),
        Fact::Condemned { .. } => format!("{s}: known to others"),
        Fact::Emptied { provider, .. } => format!("{s}: revoked at {provider}, p= is empty"),
        Fact::Withdrawing { .. } => format!("{s}: record is being removed"),
        Fact::Removed { provider, .. } => format!("{s}: record removed at {provider}"),
        Fact::Unserved { .. } => format!("{s}: no name server has the record any more"),
        Fact::Resurfaced { server, .. } => format!("{s}: {server} has the removed record again"),
        Fact::Hidden { .. } => format!("{s}: gone, the selector is free"),
        Fact::Policy { record, name, change, from, to, why } => policy(*record, name, *change, from, to, why),
    }
}

fn policy(
    record: PolicyRecord,
    name: &Fqdn,
    change: PolicyChange,
    from: &Option<TxtText>,
    to: &Option<TxtText>,
    why: &str,
) -> String {
    let record = match record {
        PolicyRecord::Spf => "SPF",
        PolicyRecord::Dmarc => "DMARC",
        PolicyRecord::Reports => "leave to send reports",
    };
    let now = to.as_ref().map(|text| format!(": \"{text}\"")).unwrap_or_default();
    let was = from.as_ref().filter(|_| to != from).map(|text| format!(", was \"{text}\"")).unwrap_or_default();
    let change = match change {
        PolicyChange::Adopted => "taken over",
        PolicyChange::Written => "written",
        PolicyChange::RolledBack => "rolled back",
        PolicyChange::Removed => "removed",
    };
    format!("{record} at {name} {change}{now}{was} ({why})")
}

/// What an operator wants: the words after "asked to".
pub fn intent(intent: &Intent, selectors: &Selectors) -> String {
    match intent {
        Intent::Rotate => "rotate".to_owned(),
        Intent::Rollback => "roll back".to_owned(),
        Intent::Revoke { key } => format!("revoke {}", selectors.name(key)),
        Intent::Retire { key } => format!("retire {} although it was seen in use", selectors.name(key)),
    }
}

/// Why not yet: "not until ...: ...", or what has to happen.
pub fn wait(wait: &Wait) -> String {
    let until = |selector: &Selector, until: &Time, why: &str| format!("{selector}: not until {until}: {why}");
    match wait {
        Wait::NeverAsked => "no key yet, and none was asked for".to_owned(),
        Wait::Slots { taken, until } => {
            let mut by: Vec<(Vec<&str>, &str)> = Vec::new();
            for SlotTaken { selector, by: why, .. } in taken {
                match by.iter_mut().find(|(_, other)| other == why) {
                    Some((selectors, _)) => selectors.push(selector.as_str()),
                    None => by.push((vec![selector.as_str()], why)),
                }
            }
            let by: Vec<String> = by.iter().map(|(names, why)| format!("{}: {why}", names.join(" and "))).collect();
            let by = format!("no selector is free ({})", by.join("; "));
            until.map_or_else(|| by.clone(), |until| format!("not until {until}: {by}"))
        }
        Wait::Foreign { name, at, texts } => {
            let seen: Vec<String> = texts.iter().map(short).collect();
            format!("{name} holds a value at {at} that is not ours, and it is not touched: {}", seen.join(", "))
        }
        Wait::Alias { name, target } => {
            format!("{name} is an alias of {target}, which lies in no zone of ours, so nothing is published")
        }
        Wait::Unsupported { name, why } => format!("{name} is not touched: {why}"),
        Wait::Unknown { name, whom } if whom.is_empty() => format!("{name}: no name server could be asked"),
        Wait::Unknown { name, whom } => format!("{name}: no answer from {}", whom.join(", ")),
        Wait::Propagation { selector, lacking } => format!("{selector}: not yet at {}", lacking.join(", ")),
        Wait::SecondSweep { selector, until: at } => until(selector, at, "every name server is asked a second time"),
        Wait::Caches { selector, until: at } => until(selector, at, "caches may still deny its record"),
        Wait::Delivery { selector, host } => format!("{selector}: {host} has not proved to hold the private key"),
        Wait::Switch { selector, host } => format!("{selector}: {host} has not proved to sign with it"),
        Wait::TurnBack { selector, host } => {
            format!("{selector}: {host} has not proved to sign with the old key again")
        }
        Wait::Grace { selector, until: at } => until(selector, at, "the private key is kept for a rollback"),
        Wait::Wipe { selector, host } => format!("{selector}: {host} has not proved to have destroyed the private key"),
        Wait::Window { selector, until: at } => {
            until(selector, at, &format!("mail signed with {selector} may still be under way"))
        }
        Wait::StillUsed { selector, by, at: seen, until: at } => {
            until(selector, at, &format!("{by} still used it at {seen}"))
        }
        Wait::StillUsedTooLong { selector, by, at } => {
            format!("{selector}: {by} still used it at {at}, after a second window; its record stays until you decide")
        }
        Wait::Removal { selector, serving } => {
            format!("{selector}: {} still has the removed record", serving.join(", "))
        }
        Wait::OldCaches { selector, until: at } => until(selector, at, "caches may still have the removed record"),
        Wait::Gravestone { selector, until: at } => until(selector, at, "the empty p= stays as a gravestone"),
        Wait::RecordLost { selector, lacking } => {
            format!("{selector}: ITS RECORD IS MISSING at {}; mail signed with it fails there", lacking.join(", "))
        }
        Wait::NoWayBack => "there is no earlier key left to go back to".to_owned(),
        Wait::Held { since, by, reason } => format!("held by {by} since {since}: {reason}"),
        Wait::ClockBehind { newest, now } => {
            format!("the clock here says {now}, and the state already knows {newest}; nothing is done until it is set")
        }
        Wait::ClockDisagrees { other, now } => {
            format!(
                "the clock here says {now}, the DNS host says {other}; nothing signs or is removed until one is set"
            )
        }
    }
}

/// A name in a zone that is delegated to somebody else.
pub fn delegated(zone: &Fqdn, server: &str) -> String {
    let server = server.trim_end_matches('.');
    format!("{zone} is a zone of its own, delegated to {server}, and no provider that is configured here holds it")
}

/// What stands at a name where a TXT record ought to be.
pub fn unusable(at: &AtName) -> String {
    match at {
        AtName::Cname { target, .. } => format!("an alias of {target}, which lies in no zone of ours"),
        AtName::Delegated { zone, server } => delegated(zone, server),
        AtName::Unsupported(why) => why.clone(),
        AtName::Absent | AtName::Txt { .. } => "nothing unusual".to_owned(),
    }
}

/// All servers of a provider, as it knows them itself.
pub fn servers_of(provider: &Label) -> String {
    format!("some server of {provider}")
}

pub fn too_long(name: &Fqdn, octets: usize, provider: &Label, most: usize) -> String {
    format!(
        "the record of {name} has {octets} octets, and {provider} holds texts of {most} at most, so it was published nowhere; \
         `rsa_bits = 2048` makes a key that fits, or name another provider"
    )
}

pub fn not_settled() -> String {
    "the change is taken, and not yet given to all of them".to_owned()
}

pub fn alias_of_apex(zone: &Fqdn) -> String {
    format!("it is an alias of {zone} itself, where the zone's own records stand; let it lead to a name below")
}

/// A chain of aliases that resolvers give up as well.
pub fn endless_alias(at: &Fqdn, looped: bool) -> String {
    match looped {
        true => format!("its chain of aliases leads back to {at}, so no verifier finds a record"),
        false => format!("its chain of aliases is longer than resolvers follow (it had come to {at})"),
    }
}

/// An end outside of our zones, unless it leads on.
pub fn leads_on_unknown(at: &AtName, why: &str) -> String {
    format!("{}, and whether it leads on is not known: {why}", unusable(at))
}

/// A name that none of our zones holds, and whose servers do not say whether it is an alias.
pub fn no_zone_and_unknown(name: &Fqdn, why: &str) -> String {
    format!("no zone of this provider holds `{name}`, and whether it is an alias is not known: {why}")
}

/// The next command for a wait that a person ends; nothing where time or others do.
pub fn advice(wait: &Wait, domain: &impl std::fmt::Display) -> Option<String> {
    Some(match wait {
        Wait::NeverAsked => format!("dkimctl rotate {domain}"),
        Wait::Held { .. } => format!("dkimctl release {domain}"),
        Wait::StillUsedTooLong { selector, .. } => format!("dkimctl retire {domain} --selector {selector} --overrule"),
        Wait::NoWayBack => format!("dkimctl rotate {domain}"),
        Wait::Alias { .. } => format!("dkimctl dns delegate {domain}"),
        Wait::Foreign { .. } | Wait::RecordLost { .. } => format!("dkimctl verify {domain}"),
        _ => return None,
    })
}

pub fn who(who: Who) -> &'static str {
    match who {
        Who::Time => "time",
        Who::Dns => "DNS",
        Who::Host => "mail host",
        Who::Operator => "you",
    }
}

/// What a wave of steps is, while it is performed.
pub fn wave(wave: Wave, steps: usize) -> String {
    let s = if steps == 1 { "" } else { "s" };
    match wave {
        Wave::Record => format!("recording {steps} fact{s}"),
        Wave::Generate => format!("making {steps} key{s}"),
        Wave::Publish => format!("publishing {steps} record{s}"),
        Wave::Hosts => format!("writing {steps} order{s} for mail hosts"),
        Wave::Shred => format!("destroying {steps} sealed key{s}"),
        Wave::Withdraw => format!("removing {steps} record{s}"),
    }
}

/// How far a fleet has come: the wave, the domains, and how long the rest will take.
pub fn fleet((wave, waves): (usize, usize), (done, domains): (usize, usize), left: Option<Span>) -> String {
    let left = left.map(|left| format!(", about {} left", length(left))).unwrap_or_default();
    format!("wave {wave} of {waves}: {done} of {domains} domains done{left}")
}

/// A length of time as people say it: the two largest units.
pub fn length(span: Span) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (1..10, 1.., _) => format!("{days} d {hours} h"),
        _ => format!("{days} d"),
    }
}

/// A time as seen from `now`: `in 22 h`, `now`, `2 d ago`.
pub fn relative(at: Time, now: Time) -> String {
    match (at.unix() - now.unix()).signum() {
        1 => format!("in {}", length(at.since(now))),
        -1 => format!("{} ago", length(now.since(at))),
        _ => "now".to_owned(),
    }
}

/// A TXT value, cut where only base64 is left.
pub fn short(text: &TxtText) -> String {
    const ENOUGH: usize = 60;
    let text = text.to_str_lossy();
    match text.char_indices().nth(ENOUGH) {
        Some((cut, _)) => format!("\"{}...\"", &text[..cut]),
        None => format!("\"{text}\""),
    }
}

fn longest(seconds: u32) -> String {
    format!("up to {}", length(Span::seconds(seconds.into())))
}
