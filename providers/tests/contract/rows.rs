//! How the table is written, and how a row is run.

use dkimctl_providers::{AtName, DnsProvider, Entry, Guarded, Op, Outcome, ProviderError, Zone};
use dkimctl_state::name::Fqdn;

use super::hosts::{Bench, Raw};

pub const ZONE: &str = "contract.example";

/// Where most rows write; `apex` stands for a name that others use too.
pub const KEY: &str = "s1._domainkey";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Applied,
    Already,
    Conflict,
    Outside,
    Refused,
}

/// Every row runs on all of these, unless it says otherwise.
const HOSTS: &[&str] =
    &["memory", "zonefile", "bind", "knot", "powerdns", "cloudflare", "route53", "moto", "ministack"];

/// Through the crate dns-update a name is set as a whole, and no TTL is told: these take the rows that name them.
pub const BY_CRATE: &[&str] = &["bind by crate", "powerdns by crate", "desec", "digitalocean"];

pub struct Row {
    pub name: &'static str,
    story: &'static str,
    hosts: Vec<&'static str>,
    events: Vec<Event>,
}

pub enum Event {
    Put(String, u32, Vec<Vec<String>>),
    Alias(String, String),
    /// What the next `apply` has seen, unless it says so itself.
    Look,
    Apply {
        ops: Vec<(Op, Option<AtName>)>,
        expect: Vec<Expect>,
        quiet: bool,
    },
    Holds(String, u32, Vec<Vec<String>>),
}

pub fn row(name: &'static str, story: &'static str) -> Row {
    Row { name, story, hosts: HOSTS.to_vec(), events: Vec::new() }
}

impl Row {
    pub fn on(mut self, hosts: &'static [&'static str]) -> Self {
        self.hosts = hosts.to_vec();
        self
    }

    pub fn and(mut self, hosts: &[&'static str]) -> Self {
        self.hosts.extend(hosts);
        self
    }

    fn then(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    pub fn put(self, name: &str, ttl: u32, records: &[Vec<String>]) -> Self {
        self.then(Event::Put(name.into(), ttl, records.to_vec()))
    }

    pub fn alias(self, name: &str, target: &str) -> Self {
        self.then(Event::Alias(name.into(), target.into()))
    }

    pub fn look(self) -> Self {
        self.then(Event::Look)
    }

    /// Applies what was planned upon the last look, or upon a fresh one.
    pub fn apply(self, ops: Vec<Op>, expect: &[Expect]) -> Self {
        let ops = ops.into_iter().map(|op| (op, None)).collect();
        self.then(Event::Apply { ops, expect: expect.to_vec(), quiet: false })
    }

    /// The same, and not one write may happen.
    pub fn quietly(self, ops: Vec<Op>, expect: &[Expect]) -> Self {
        let ops = ops.into_iter().map(|op| (op, None)).collect();
        self.then(Event::Apply { ops, expect: expect.to_vec(), quiet: true })
    }

    /// Applies what was planned upon something else than what stands there.
    pub fn apply_seen(self, ops: Vec<(Op, AtName)>, expect: &[Expect]) -> Self {
        let ops = ops.into_iter().map(|(op, seen)| (op, Some(seen))).collect();
        self.then(Event::Apply { ops, expect: expect.to_vec(), quiet: false })
    }

    pub fn holds(self, name: &str, ttl: u32, records: &[Vec<String>]) -> Self {
        self.then(Event::Holds(name.into(), ttl, records.to_vec()))
    }

    pub fn gone(self, name: &str) -> Self {
        self.holds(name, 0, &[])
    }
}

pub fn run_table(table: Vec<Row>, kind: &str, bench: &dyn Bench) {
    let zone = bench.host().zones().unwrap().remove(0);
    for (number, row) in table.into_iter().enumerate().filter(|(_, row)| row.hosts.contains(&kind)) {
        // Each row lives below a name of its own.
        let below = |name: &str| format!("{name}.row{number}");
        let context = format!("{kind}: {}: {}", row.name, row.story);
        let mut looked: Option<AtName> = None;
        for event in row.events {
            match event {
                Event::Put(name, ttl, records) => bench.put(&below(&name), bench.ttl(ttl), &records),
                Event::Alias(name, target) => bench.alias(&below(&name), &target),
                Event::Look => looked = Some(bench.host().observe(&zone, &[fqdn(&below(KEY))]).unwrap().remove(0)),
                Event::Apply { ops, expect, quiet } => {
                    let timed =
                        |(op, seen): (Op, Option<AtName>)| (with_ttl(op, bench), seen.map(|seen| lasting(seen, bench)));
                    let ops: Vec<_> = ops.into_iter().map(timed).map(|(op, seen)| (moved(op, number), seen)).collect();
                    let guarded = guard(bench.host(), &zone, ops, looked.take());
                    let before = bench.writes();
                    let outcomes = bench.host().apply(&zone, &guarded);
                    let kinds: Vec<_> = outcomes.iter().map(expect_of).collect();
                    let wanted: Vec<_> = expect.into_iter().map(Some).collect();
                    assert_eq!(kinds, wanted, "{context}\n{outcomes:#?}");
                    assert!(!quiet || bench.writes() == before, "{context}: it wrote");
                }
                Event::Holds(name, ttl, records) => {
                    let mut stands = bench.records(&below(&name));
                    let mut wanted: Raw = records.into_iter().map(|chunks| (bench.ttl(ttl), chunks)).collect();
                    stands.sort();
                    wanted.sort();
                    assert_eq!(stands, wanted, "{context}");
                }
            }
        }
    }
    lists(kind, bench, &zone);
}

/// What the host lists when it is asked for its names with text: a new one, and no alias.
fn lists(kind: &str, bench: &dyn Bench, zone: &Zone) {
    bench.put("stranger._domainkey", 300, &[vec!["v=DKIM1; p=QUJD".into()]]);
    bench.alias("alias._domainkey", "elsewhere.example.");
    let names = bench.host().list(zone).unwrap();
    if BY_CRATE.contains(&kind) {
        return assert_eq!(names, None, "the crate lists no names");
    }
    let names = names.unwrap_or_else(|| panic!("{kind} cannot list"));
    assert!(names.contains(&fqdn("stranger._domainkey")), "{kind}: {names:?}");
    assert!(!names.contains(&fqdn("alias._domainkey")), "{kind}: {names:?}");
}

pub fn guard(
    host: &dyn DnsProvider,
    zone: &Zone,
    ops: Vec<(Op, Option<AtName>)>,
    looked: Option<AtName>,
) -> Vec<Guarded> {
    let see = |op: &Op| host.observe(zone, &[op.name().clone()]).unwrap().remove(0);
    let guard = |(op, seen): (Op, Option<AtName>)| {
        let seen = seen.or_else(|| looked.clone()).unwrap_or_else(|| see(&op));
        Guarded { op, seen }
    };
    ops.into_iter().map(guard).collect()
}

pub fn expect_of(outcome: &Outcome) -> Option<Expect> {
    match outcome {
        Outcome::Applied(_) => Some(Expect::Applied),
        Outcome::Already => Some(Expect::Already),
        Outcome::Conflict(_) => Some(Expect::Conflict),
        Outcome::Rejected(ProviderError::NoZone(_)) => Some(Expect::Outside),
        Outcome::Rejected(ProviderError::Rejected { .. }) => Some(Expect::Refused),
        _ => None,
    }
}

fn with_ttl(mut op: Op, bench: &dyn Bench) -> Op {
    if let Op::Add { ttl, .. } | Op::Replace { ttl, .. } = &mut op {
        *ttl = bench.ttl(*ttl);
    }
    op
}

fn lasting(seen: AtName, bench: &dyn Bench) -> AtName {
    match seen {
        AtName::Txt { ttl, entries } => AtName::Txt { ttl: bench.ttl(ttl), entries },
        other => other,
    }
}

/// Puts an operation below the row's name; one that is to be outside of the zone stays there.
pub fn moved(mut op: Op, number: usize) -> Op {
    let (Op::Add { name, .. } | Op::Replace { name, .. } | Op::Remove { name, .. }) = &mut op;
    if let Some(inside) = name.as_str().strip_suffix(".in") {
        *name = fqdn(&format!("{inside}.row{number}"));
    }
    op
}

pub fn place(name: &str) -> Fqdn {
    match name.strip_prefix("..") {
        Some(outside) => outside.parse().unwrap(),
        None => format!("{name}.in").parse().unwrap(),
    }
}

pub fn add(name: &str, text: &str, ttl: u32) -> Op {
    Op::Add { name: place(name), text: text.into(), ttl }
}

pub fn replace(name: &str, old: &str, new: &str, ttl: u32) -> Op {
    Op::Replace { name: place(name), old: old.into(), new: new.into(), ttl }
}

pub fn remove(name: &str, text: &str) -> Op {
    Op::Remove { name: place(name), text: text.into() }
}

pub fn txt(ttl: u32, texts: &[&str]) -> AtName {
    AtName::Txt { ttl, entries: texts.iter().map(|text| Entry::new((*text).into())).collect() }
}

pub fn fqdn(relative: &str) -> Fqdn {
    format!("{relative}.{ZONE}").parse().unwrap()
}

pub fn chunked(text: &str, size: usize) -> Vec<String> {
    text.as_bytes().chunks(size).map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect()
}

pub fn strings(raw: &[Vec<u8>]) -> Vec<String> {
    raw.iter().map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect()
}
