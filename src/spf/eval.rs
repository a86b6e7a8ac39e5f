//! check_host() (RFC 7208 section 4), and the analyzer: one walk over a record and whatever it leads to.
//!
//! With a session the walk stops where RFC 7208 says and enforces its limits. Without one it visits every branch,
//! takes nothing as a match, counts without stopping, and so shows what any sender would meet.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use dkimctl_state::record::spf::macro_string::{MacroString, Place};
use dkimctl_state::record::spf::{
    Directive, DomainSpec, DualCidr, Letter, Mechanism, Modifier, SpfRecord, Term, ascii, is_spf,
};
use dkimctl_state::record::txt::TxtText;

use super::resolver::{Data, Kind, QueryName, Reply, Resolver, names, texts};
pub use super::session::{Outcome, Session, in_network};
use super::session::{Sender, dotted, is_checkable, is_in, reversed, version};
use super::tree::{AtDomain, Branch, Visit};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    pub outcome: Outcome,
    /// The domain's own words for a fail (RFC 7208 section 6.2).
    pub explanation: Option<String>,
    /// Why it is an error or nothing at all.
    pub why: Option<String>,
    pub lookups: u32,
    pub void_lookups: u32,
    pub tree: Branch,
}

/// RFC 7208 section 4.6.4: at most ten terms that cause lookups; an eleventh is a permerror.
pub const MOST_LOOKUPS: u32 = 10;
/// RFC 7208 section 4.6.4: at most two of them may come back empty.
pub const MOST_VOIDS: u32 = 2;
/// RFC 7208 section 4.6.4: at most ten names of an `mx`, or of the client.
pub const MOST_NAMES: usize = 10;
/// RFC 7208 section 4.6.4: a check may be given up with temperror after a time of at least 20 seconds.
const MOST_TIME: Duration = Duration::from_secs(20);
/// Where an analysis stops: ten times what a record may cost.
const MOST_ANALYZED: u32 = 100;

/// check_host() for the MAIL FROM identity, or for HELO if there is no sender (RFC 7208 section 2.4).
pub fn check(resolver: &dyn Resolver, session: &Session) -> Evaluation {
    let sender = Sender::of(session);
    let domain = sender.domain.clone();
    if !is_checkable(&domain) {
        // RFC 7208 section 4.3: a malformed domain, or one of a single label, gives none without any lookup.
        let tree = Branch { result: Some(Outcome::None), ..Branch::new(&domain, AtDomain::None { exists: false }) };
        let why = Some(format!("`{}` is not a domain name of two labels or more", domain.escape_debug()));
        return Evaluation { outcome: Outcome::None, explanation: None, why, lookups: 0, void_lookups: 0, tree };
    }
    let mut walk = Walk::new(resolver, domain.clone());
    walk.client = Some(Client { session, sender, ip: session.ip.to_canonical() });
    let (mut tree, exp) = walk.branch(&domain);
    let outcome = tree.result.unwrap_or(Outcome::None);
    tree.result = Some(outcome);
    let (lookups, void_lookups) = (walk.lookups, walk.voids);
    let explanation = exp.and_then(|(spec, domain)| walk.explanation(&spec, &domain));
    let is_plain = !matches!(outcome, Outcome::None | Outcome::TempError | Outcome::PermError);
    let why = walk.why.filter(|_| !is_plain);
    Evaluation { outcome, explanation, why, lookups, void_lookups, tree }
}

/// The whole tree under a domain's record, whoever sends.
pub fn analyze(resolver: &dyn Resolver, domain: &str) -> Branch {
    Walk::new(resolver, domain.to_owned()).branch(domain).0
}

/// The same for texts that stand, or might stand, at the name.
pub fn analyze_texts(resolver: &dyn Resolver, domain: &str, texts: Vec<TxtText>) -> Branch {
    let mut walk = Walk::new(resolver, domain.to_owned());
    let (at, record) = read(texts);
    walk.record(domain, at, record).0
}

/// Who asks to deliver.
struct Client<'a> {
    session: &'a Session,
    sender: Sender,
    /// RFC 7208 section 5: an IPv4-mapped address is an IPv4 address.
    ip: IpAddr,
}

struct Walk<'a> {
    resolver: &'a dyn Resolver,
    /// `None` in an analysis.
    client: Option<Client<'a>>,
    /// The domain that the walk began with.
    start: String,
    lookups: u32,
    voids: u32,
    /// The domains whose records are under evaluation, outermost first.
    path: Vec<String>,
    /// The client's validated names, once they were asked for.
    validated: Option<Vec<String>>,
    began: Instant,
    why: Option<String>,
}

/// Why a walk ends early.
enum Stop {
    Temp(String),
    Perm(String),
}

/// The `exp=` that speaks for a fail, and the domain that it stands at.
type Exp = Option<(DomainSpec, String)>;

impl<'a> Walk<'a> {
    fn new(resolver: &'a dyn Resolver, start: String) -> Self {
        Walk {
            resolver,
            client: None,
            start,
            lookups: 0,
            voids: 0,
            path: Vec::new(),
            validated: None,
            began: Instant::now(),
            why: None,
        }
    }

    /// The record of a domain.
    fn branch(&mut self, domain: &str) -> (Branch, Exp) {
        let (at, record) = match QueryName::parse(domain).map(|name| self.ask(&name, Kind::Txt)) {
            Some(Reply::Found(data)) => read(texts(data)),
            Some(Reply::Nothing { exists }) => (AtDomain::None { exists }, None),
            Some(Reply::Failed(why)) => (AtDomain::Unknown(why), None),
            None => (AtDomain::None { exists: false }, None),
        };
        self.record(domain, at, record)
    }

    fn record(&mut self, domain: &str, at: AtDomain, record: Option<SpfRecord>) -> (Branch, Exp) {
        let mut branch = Branch::new(domain, at);
        let Some(record) = record else {
            let (outcome, why) = match &branch.at {
                AtDomain::Broken { why, .. } => (Outcome::PermError, format!("the record of {domain}: {why}")),
                AtDomain::Several(all) => {
                    (Outcome::PermError, format!("{domain} has {} SPF records (RFC 7208 section 4.5)", all.len()))
                }
                AtDomain::Unknown(why) => (Outcome::TempError, why.clone()),
                _ => (Outcome::None, format!("{domain} has no SPF record")),
            };
            self.why.get_or_insert(why);
            branch.result = self.client.is_some().then_some(outcome);
            return (branch, None);
        };
        self.path.push(domain.to_ascii_lowercase());
        let (outcome, exp) = self.terms(domain, &record, &mut branch.terms);
        self.path.pop();
        branch.result = self.client.is_some().then_some(outcome);
        (branch, exp)
    }

    fn terms(&mut self, domain: &str, record: &SpfRecord, visits: &mut Vec<Visit>) -> (Outcome, Exp) {
        for directive in record.directives() {
            let mut visit = Visit::new(&Term::Directive(directive.clone()));
            let matched = self.directive(domain, directive, &mut visit);
            if self.client.is_some() {
                visit.matched = matched.as_ref().ok().copied();
            }
            if let Err(Stop::Temp(why) | Stop::Perm(why)) = &matched {
                visit.trouble.get_or_insert_with(|| why.clone());
            }
            visits.push(visit);
            match matched {
                Ok(false) => {}
                Ok(true) => {
                    let outcome = Outcome::from(directive.qualifier());
                    let exp = record.exp().filter(|_| outcome == Outcome::Fail);
                    return (outcome, exp.map(|spec| (spec.clone(), domain.to_owned())));
                }
                // An analysis goes on behind what would stop a check.
                Err(_) if self.client.is_none() => {}
                Err(stop) => return (self.stopped(stop), None),
            }
        }
        // RFC 7208 section 6.1: redirect= counts only when no mechanism matched, and never beside an `all`.
        let Some(target) = record.redirect().filter(|_| record.all().is_none()) else {
            // RFC 7208 section 4.7: the default is neutral.
            return (Outcome::Neutral, None);
        };
        let mut visit = Visit::new(&Term::Modifier(Modifier::Redirect(target.clone())));
        let redirected = self.redirect(domain, target, &mut visit);
        visits.push(visit);
        match redirected {
            Ok(ended) => ended,
            Err(stop) => (self.stopped(stop), None),
        }
    }

    /// Whether a directive matches the client.
    fn directive(&mut self, domain: &str, directive: &Directive, visit: &mut Visit) -> Result<bool, Stop> {
        if visit.own_lookups > 0 {
            self.count()?;
        }
        let mechanism = &directive.mechanism;
        match mechanism {
            Mechanism::All => return Ok(self.client.is_some()),
            Mechanism::Ip4(network, length) => {
                return Ok(self.client_in((*network).into(), length.unwrap_or(32)));
            }
            Mechanism::Ip6(network, length) => {
                return Ok(self.client_in((*network).into(), length.unwrap_or(128)));
            }
            _ => {}
        }
        let target = match mechanism.target() {
            Some(spec) => match self.expand(domain, spec, visit) {
                Some(target) => target,
                None => return Ok(false),
            },
            None => domain.to_owned(),
        };
        visit.target = Some(target.clone());
        if let Mechanism::Include(_) = mechanism {
            return self.include(&target, visit);
        }
        let Some(name) = QueryName::parse(&target) else {
            // RFC 7208 section 4.3 leaves a name that no query can be made of open: it does not exist.
            visit.trouble = Some(format!("`{}` is not a name that DNS can be asked for", target.escape_debug()));
            return Ok(false);
        };
        match mechanism {
            Mechanism::A(_, cidr) => {
                let addresses = self.addresses(&name, visit, true)?;
                Ok(self.any_matches(&addresses, *cidr))
            }
            Mechanism::Mx(_, cidr) => self.mx(&name, *cidr, visit),
            Mechanism::Ptr(_) => self.ptr(&target, visit),
            Mechanism::Exists(_) => match self.ask(&name, Kind::A) {
                // RFC 7208 section 5.7: an A lookup, even when the client has an IPv6 address.
                Reply::Found(_) => Ok(self.client.is_some()),
                Reply::Nothing { .. } => self.void(visit, &name, Kind::A).map(|()| false),
                Reply::Failed(why) => Err(Stop::Temp(why)),
            },
            Mechanism::All | Mechanism::Ip4(..) | Mechanism::Ip6(..) | Mechanism::Include(_) => Ok(false),
        }
    }

    // RFC 7208 section 5.2: the table of what an included result means.
    fn include(&mut self, target: &str, visit: &mut Visit) -> Result<bool, Stop> {
        let (below, _) = self.below(target, visit)?;
        let matched = match below.result {
            Some(Outcome::Pass) => Ok(true),
            Some(Outcome::TempError) => Err(Stop::Temp(self.reason())),
            Some(Outcome::PermError) => Err(Stop::Perm(self.reason())),
            Some(Outcome::None) => {
                Err(Stop::Perm(format!("the included {target} has no SPF record (RFC 7208 section 5.2)")))
            }
            _ => Ok(false),
        };
        visit.below = Some(below);
        matched
    }

    // RFC 7208 section 6.1: the target's result is the result, but its none is a permerror.
    fn redirect(&mut self, domain: &str, target: &DomainSpec, visit: &mut Visit) -> Result<(Outcome, Exp), Stop> {
        self.count()?;
        let Some(target) = self.expand(domain, target, visit) else { return Ok((Outcome::Neutral, None)) };
        visit.target = Some(target.clone());
        let (below, exp) = self.below(&target, visit)?;
        let outcome = below.result.unwrap_or(Outcome::Neutral);
        visit.below = Some(below);
        if outcome == Outcome::None {
            return Err(Stop::Perm(format!("{target}, redirected to, has no SPF record (RFC 7208 section 6.1)")));
        }
        Ok((outcome, exp))
    }

    /// The record of another domain, with care for loops: a check runs into the limit, an analysis says so.
    fn below(&mut self, target: &str, visit: &mut Visit) -> Result<(Branch, Exp), Stop> {
        if self.client.is_none() && self.path.contains(&target.to_ascii_lowercase()) {
            return Ok((Branch::new(target, AtDomain::Loop), None));
        }
        let (below, exp) = self.branch(target);
        if let (AtDomain::None { exists: false }, Some(name)) = (&below.at, QueryName::parse(target)) {
            self.void(visit, &name, Kind::Txt)?;
        }
        Ok((below, exp))
    }

    // RFC 7208 section 5.4: no implicit MX; more than ten exchangers are a permerror (section 4.6.4).
    fn mx(&mut self, name: &QueryName, cidr: DualCidr, visit: &mut Visit) -> Result<bool, Stop> {
        let exchangers = match self.ask(name, Kind::Mx) {
            Reply::Found(data) => names(data),
            Reply::Nothing { .. } => return self.void(visit, name, Kind::Mx).map(|()| false),
            Reply::Failed(why) => return Err(Stop::Temp(why)),
        };
        visit.names = exchangers.clone();
        if exchangers.len() > MOST_NAMES {
            let count = exchangers.len();
            return Err(Stop::Perm(format!("{name} has {count} mail exchangers, above 10 (RFC 7208 section 4.6.4)")));
        }
        // A null MX (RFC 7505) and other names that cannot be asked for have no address.
        for exchanger in exchangers.iter().filter_map(|name| QueryName::parse(name)) {
            let addresses = self.addresses(&exchanger, visit, false)?;
            if self.any_matches(&addresses, cidr) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn ptr(&mut self, target: &str, visit: &mut Visit) -> Result<bool, Stop> {
        if self.client.is_none() {
            visit.dynamic = true;
            return Ok(false);
        }
        let found = self.validated(Some(visit))?;
        // RFC 7208 section 5.5: a validated name that is the target or lies below it.
        let matched = found.iter().any(|name| is_in(name, target));
        visit.names = found;
        Ok(matched)
    }

    /// The client's names that lead back to its address, of the first ten that its PTR records give.
    // RFC 7208 section 5.5: a PTR lookup that fails finds no name; an address lookup that fails skips its name.
    fn validated(&mut self, visit: Option<&mut Visit>) -> Result<Vec<String>, Stop> {
        if let Some(known) = &self.validated {
            return Ok(known.clone());
        }
        let Some(ip) = self.client.as_ref().map(|client| client.ip) else { return Ok(Vec::new()) };
        let reverse = format!("{}.{}.arpa", reversed(&dotted(ip)), version(ip));
        let Some(reverse) = QueryName::parse(&reverse) else { return Ok(Vec::new()) };
        let mut pointers = match self.ask(&reverse, Kind::Ptr) {
            Reply::Found(data) => names(data),
            Reply::Failed(_) => Vec::new(),
            Reply::Nothing { .. } => {
                if let Some(visit) = visit {
                    self.void(visit, &reverse, Kind::Ptr)?;
                }
                Vec::new()
            }
        };
        pointers.truncate(MOST_NAMES);
        let kind = if ip.is_ipv4() { Kind::A } else { Kind::Aaaa };
        pointers.retain(|pointer| {
            QueryName::parse(pointer).is_some_and(|name| match self.ask(&name, kind) {
                Reply::Found(data) => data.contains(&Data::Address(ip)),
                _ => false,
            })
        });
        self.validated = Some(pointers.clone());
        Ok(pointers)
    }

    /// The addresses of a name: of the client's family, or both in an analysis.
    fn addresses(&mut self, name: &QueryName, visit: &mut Visit, counts: bool) -> Result<Vec<IpAddr>, Stop> {
        let kinds: &[Kind] = match self.client.as_ref().map(|client| client.ip) {
            Some(IpAddr::V4(_)) => &[Kind::A],
            Some(IpAddr::V6(_)) => &[Kind::Aaaa],
            None => &[Kind::A, Kind::Aaaa],
        };
        let mut found = Vec::new();
        for kind in kinds {
            match self.ask(name, *kind) {
                Reply::Found(data) => found.extend(data.into_iter().filter_map(|data| match data {
                    Data::Address(ip) => Some(ip),
                    _ => None,
                })),
                Reply::Nothing { .. } if counts => self.void(visit, name, *kind)?,
                Reply::Nothing { .. } => {}
                Reply::Failed(why) => return Err(Stop::Temp(why)),
            }
        }
        visit.addresses.extend(&found);
        Ok(found)
    }

    fn any_matches(&self, addresses: &[IpAddr], cidr: DualCidr) -> bool {
        addresses.iter().any(|address| {
            let length = if address.is_ipv4() { cidr.v4.unwrap_or(32) } else { cidr.v6.unwrap_or(128) };
            self.client_in(*address, length)
        })
    }

    fn client_in(&self, network: IpAddr, length: u8) -> bool {
        self.client.as_ref().is_some_and(|client| in_network(client.ip, network, length))
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        let most = if self.client.is_some() { MOST_LOOKUPS } else { MOST_ANALYZED };
        if self.lookups > most {
            return Err(Stop::Perm(format!("more than {most} terms cause lookups (RFC 7208 section 4.6.4)")));
        }
        Ok(())
    }

    /// Notes an empty answer. A term counts once, however many of its questions came back empty.
    fn void(&mut self, visit: &mut Visit, name: &QueryName, kind: Kind) -> Result<(), Stop> {
        visit.voids.push((name.to_string(), kind));
        if visit.voids.len() == 1 {
            self.voids += 1;
        }
        if self.voids > MOST_VOIDS && self.client.is_some() {
            let why = format!("more than {MOST_VOIDS} lookups found nothing, {name} at last (RFC 7208 section 4.6.4)");
            return Err(Stop::Perm(why));
        }
        Ok(())
    }

    fn ask(&self, name: &QueryName, kind: Kind) -> Reply {
        if self.client.is_some() && self.began.elapsed() > MOST_TIME {
            return Reply::Failed(format!("the check took longer than {} s", MOST_TIME.as_secs()));
        }
        self.resolver.ask(name, kind)
    }

    fn stopped(&mut self, stop: Stop) -> Outcome {
        let (why, outcome) = match stop {
            Stop::Temp(why) => (why, Outcome::TempError),
            Stop::Perm(why) => (why, Outcome::PermError),
        };
        self.why = Some(why);
        outcome
    }

    fn reason(&self) -> String {
        self.why.clone().unwrap_or_default()
    }

    /// The target of a term, `None` in an analysis if only a message could tell.
    fn expand(&mut self, domain: &str, spec: &DomainSpec, visit: &mut Visit) -> Option<String> {
        let known = |letter| matches!(letter, Letter::Domain | Letter::SenderDomain);
        if self.client.is_none() && !spec.string().letters().all(known) {
            visit.dynamic = true;
            return None;
        }
        Some(spec.expand(|letter| self.value(letter, domain)))
    }

    /// RFC 7208 section 7.2: what each macro letter stands for.
    fn value(&mut self, letter: Letter, domain: &str) -> String {
        if letter == Letter::ClientName {
            return self.client_name(domain);
        }
        let Some(Client { session, sender, ip }) = &self.client else {
            return if letter == Letter::Domain { domain.to_owned() } else { self.start.clone() };
        };
        match letter {
            Letter::Sender => format!("{}@{}", sender.local, sender.domain),
            Letter::LocalPart => sender.local.clone(),
            Letter::SenderDomain => sender.domain.clone(),
            Letter::Domain => domain.to_owned(),
            Letter::Ip => dotted(*ip),
            Letter::IpVersion => version(*ip).to_owned(),
            Letter::Helo => session.helo.clone(),
            Letter::PrettyIp => ip.to_string(),
            Letter::Receiver => session.receiver.clone(),
            Letter::Timestamp => session.now.unix().to_string(),
            Letter::ClientName => String::new(),
        }
    }

    // RFC 7208 section 7.3: the domain itself if it is validated, else a name below it, else any, else "unknown".
    fn client_name(&mut self, domain: &str) -> String {
        let names = self.validated(None).unwrap_or_default();
        let itself = names.iter().find(|name| name.eq_ignore_ascii_case(domain));
        let below = || names.iter().find(|name| is_in(name, domain));
        itself.or_else(below).or(names.first()).cloned().unwrap_or_else(|| "unknown".to_owned())
    }

    /// The text that `exp=` leads to. Whatever goes wrong, there is none and the result stands.
    // RFC 7208 section 6.2: exactly one TXT record, joined, expanded; US-ASCII. Its lookups do not count.
    fn explanation(&mut self, spec: &DomainSpec, domain: &str) -> Option<String> {
        let target = spec.expand(|letter| self.value(letter, domain));
        let Reply::Found(data) = self.ask(&QueryName::parse(&target)?, Kind::Txt) else { return None };
        let [text] = texts(data).try_into().ok()?;
        let string = MacroString::parse(ascii(&text).ok()?, Place::Explanation).ok()?;
        let said = string.expand(|letter| self.value(letter, domain));
        // It goes into an SMTP reply, and HELO or a local part may have put anything in: no controls, no line ends.
        said.bytes().all(|byte| matches!(byte, b' '..=b'~')).then_some(said)
    }
}

/// Picks the SPF record among the TXT records of a name (RFC 7208 section 4.5) and reads it.
fn read(all: Vec<TxtText>) -> (AtDomain, Option<SpfRecord>) {
    let spf: Vec<TxtText> = all.into_iter().filter(is_spf).collect();
    match spf.as_slice() {
        [] => (AtDomain::None { exists: true }, None),
        [one] => match SpfRecord::parse(one) {
            Ok(record) => (AtDomain::Record(one.to_string()), Some(record)),
            Err(error) => (AtDomain::Broken { text: one.to_string(), why: error.to_string() }, None),
        },
        several => (AtDomain::Several(several.iter().map(TxtText::to_string).collect()), None),
    }
}

#[cfg(test)]
#[path = "eval_tests.rs"]
mod tests;
