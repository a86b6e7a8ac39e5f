//! Cloudflare (developers.cloudflare.com/api, version 4).
//!
//! Each record has an id of its own, so others at the same name are never touched. There are no conditions: we look
//! right before and right after. All changes of a zone travel in `/dns_records/batch`, one transaction of at most 200
//! (Free) or 3,500 (paid) operations. Authentication and the calls' shape come from the `cloudflare` crate; sending,
//! records and errors are ours (see [`endpoints`]).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::cloudflare::framework::Environment;
use ::cloudflare::framework::auth::Credentials;
use ::cloudflare::framework::endpoint::RequestBody;
use ::cloudflare::framework::endpoint::spec::EndpointSpec;
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::Time;
use serde::de::DeserializeOwned;

use crate::http::{Http, Secret, Silence};
use crate::pace::{Pace, SystemTimer, Timer};
use crate::run::{self, Calls, Job, Sent};
use crate::{
    AtName, Caps, CompareAndSet, Descriptor, DnsProvider, Entry, Guarded, Op, Outcome, ProviderError, Rate, Visibility,
    Zone,
};

mod endpoints;
mod words;

use endpoints::{ApiRecord, Batch, Call, Filter, Id, Reply, Written};

pub static DESCRIPTOR: Descriptor = Descriptor {
    code: "cloudflare",
    name: "Cloudflare",
    credentials: "a scoped API token (the global key is not taken)",
    least_rights: "a token with Zone / DNS / Edit and Zone / Zone / Read, for just the zones it serves",
    rights_template: "Permissions:     Zone / DNS / Edit\n                 Zone / Zone / Read\nZone Resources:  Include / Specific zone / ZONE\n",
    docs: "https://developers.cloudflare.com/fundamentals/api/get-started/create-token/",
};

pub const API: &str = "https://api.cloudflare.com/client/v4";

/// Seconds (Enterprise zones take 30); developers.cloudflare.com/dns/manage-dns-records/reference/ttl
pub const MIN_TTL: u32 = 60;

/// "batch record changes", developers.cloudflare.com/dns/manage-dns-records/how-to/batch-record-changes
const FREE_BATCH: usize = 200;
const PAID_BATCH: usize = 3500;

/// 1,200 calls in five minutes are allowed for a user, dashboard included: a part is left to people.
const RATE: Rate = Rate { calls: 1100, per: Duration::from_secs(300) };

/// From this many names on, the zone's TXT and CNAME records are listed in two calls instead.
const MANY: usize = 3;

#[derive(Debug, Clone)]
pub struct Config {
    pub token: Secret,
    /// [`API`], or another base URL for tests and gateways. Plain HTTP only to this machine.
    pub api: String,
    /// Operations in one batch; by the zone's plan unless set.
    pub batch: Option<usize>,
    /// Written beside new records so that people see where they come from. Means nothing to us: ours is what our
    /// ledger holds.
    pub comment: Option<String>,
    /// Of one call.
    pub timeout: Duration,
}

impl Config {
    pub fn new(token: Secret) -> Self {
        let comment = Some("kept by dkimctl".to_owned());
        Config { token, api: API.to_owned(), batch: None, comment, timeout: Duration::from_secs(30) }
    }
}

pub struct Cloudflare {
    http: Http,
    config: Config,
    environment: Environment,
    /// As listed once, each with the operations that one batch takes.
    zones: Mutex<Option<Vec<(Zone, usize)>>>,
}

impl Cloudflare {
    pub fn new(config: Config) -> Result<Self, ProviderError> {
        Self::with_timer(config, Box::new(SystemTimer::default()))
    }

    /// With another clock to wait by, for tests.
    pub fn with_timer(config: Config, timer: Box<dyn Timer>) -> Result<Self, ProviderError> {
        let api = config.api.trim_end_matches('/');
        let local = ["http://127.0.0.1", "http://[::1]", "http://localhost"]
            .iter()
            .filter_map(|own| api.strip_prefix(own))
            .any(|rest| rest.is_empty() || rest.starts_with([':', '/']));
        if !(api.starts_with("https://") || local) || api.contains(['?', '#', ' ', '@']) {
            return Err(ProviderError::Unreachable(format!(
                "`{api}` is no URL that a token may be sent to; leave `api` out, or name an https:// URL"
            )));
        }
        let http = Http::new("Cloudflare", api, config.timeout, Pace::new(Some(RATE), timer))?;
        // Without the slash at the end the crate would lose the path's last part.
        let environment = Environment::Custom(format!("{api}/"));
        Ok(Cloudflare { http, config, environment, zones: Mutex::new(None) })
    }

    /// Makes one call, and returns its result and how many pages there are.
    fn call<T: DeserializeOwned>(&self, call: &Call<T>) -> Result<(T, u64), Failed> {
        let credentials = Credentials::UserAuthToken { token: self.config.token.expose().to_owned() };
        let body = match call.body() {
            Some(RequestBody::Json(json)) => Some(json),
            _ => None,
        };
        let url = call.url(&self.environment);
        let mut tries = if call.is_question() { 3 } else { 1 };
        let answer = loop {
            let answer = self.http.send(&call.method(), url.as_str(), &credentials.headers(), body.as_deref());
            let answer = answer.map_err(Failed::Silence)?;
            tries -= 1;
            if answer.status < 500 || tries == 0 {
                break answer;
            }
        };
        match serde_json::from_slice::<Reply<T>>(&answer.body) {
            Ok(Reply { success: true, result: Some(result), result_info, .. }) if answer.is_ok() => {
                Ok((result, result_info.map_or(1, |info| info.total_pages)))
            }
            _ if answer.status >= 500 => Err(Failed::Server(answer.status)),
            // The result may be of another shape in an error.
            _ => match serde_json::from_slice::<Reply<serde_json::Value>>(&answer.body) {
                Ok(reply) if !reply.success => {
                    let errors = reply.errors.unwrap_or_default();
                    let error = words::explain(&answer, &errors, !call.is_question(), &self.config.token);
                    Err(Failed::Refused(error))
                }
                _ => Err(Failed::Garbled(answer.status, self.config.token.scrub(&answer.text()))),
            },
        }
    }

    fn pages<T: DeserializeOwned>(&self, page: impl Fn(u64) -> Call<Vec<T>>) -> Result<Vec<T>, ProviderError> {
        let (mut all, pages) = self.call(&page(1))?;
        for number in 2..=pages {
            all.extend(self.call(&page(number))?.0);
        }
        Ok(all)
    }

    fn list_zones(&self) -> Result<Vec<(Zone, usize)>, ProviderError> {
        let listed = self.pages(endpoints::zones)?;
        if listed.is_empty() {
            return Err(words::sees_nothing());
        }
        // A secondary zone is changed at its primary; a name that we cannot read is none of ours.
        let primary = listed.into_iter().filter(|zone| zone.kind != "secondary");
        let zone = |zone: endpoints::ApiZone| {
            let name = zone.name.parse().ok()?;
            let private = zone.kind == "internal";
            let visibility = if private { Visibility::Private } else { Visibility::Public };
            let paid = zone.plan.is_some_and(|plan| matches!(&*plan.legacy_id, "pro" | "business" | "enterprise"));
            let batch = self.config.batch.unwrap_or(if paid { PAID_BATCH } else { FREE_BATCH }).max(1);
            Some((Zone { id: zone.id, name, visibility }, batch))
        };
        Ok(primary.filter_map(zone).collect())
    }

    /// The zones, listed once in the life of this.
    fn known_zones<R>(&self, read: impl FnOnce(&[(Zone, usize)]) -> R) -> Result<R, ProviderError> {
        let mut known = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = Some(self.list_zones()?);
        }
        Ok(read(known.as_deref().unwrap_or_default()))
    }
}

impl DnsProvider for Cloudflare {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn caps(&self) -> Caps {
        Caps {
            min_ttl: MIN_TTL,
            // A record is at most 4,096 octets on the wire, with a length octet for each 255.
            max_text: 4000,
            max_batch: self.config.batch.unwrap_or(FREE_BATCH),
            atomic_batch: true,
            compare_and_set: CompareAndSet::LookAgain,
            rate: Some(RATE),
        }
    }

    fn zones(&self) -> Result<Vec<Zone>, ProviderError> {
        self.known_zones(|known| known.iter().map(|(zone, _)| zone.clone()).collect())
    }

    fn observe(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        zone.holds(names)?;
        self.look(zone, names)
    }

    fn list(&self, zone: &Zone) -> Result<Option<Vec<Fqdn>>, ProviderError> {
        let records = self.pages(|page| endpoints::records(&zone.id, &Filter::Type("TXT"), page))?;
        let names: BTreeSet<Fqdn> = records.iter().filter_map(|record: &ApiRecord| record.name.parse().ok()).collect();
        Ok(Some(names.into_iter().collect()))
    }

    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
        let limit =
            |known: &[(Zone, usize)]| known.iter().find(|(known, _)| known.id == zone.id).map(|(_, batch)| *batch);
        let batch = match self.known_zones(limit) {
            Ok(batch) => batch.unwrap_or(FREE_BATCH),
            Err(error) => return vec![Outcome::Rejected(error); ops.len()],
        };
        run::apply(&Changes { host: self, batch }, zone, ops)
    }

    fn clock(&self) -> Option<Time> {
        self.http.clock()
    }
}

impl Cloudflare {
    fn look(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        let wanted: HashSet<&Fqdn> = names.iter().collect();
        let filters: Vec<Filter> = if wanted.len() >= MANY {
            vec![Filter::Type("TXT"), Filter::Type("CNAME")]
        } else {
            wanted.iter().map(|name| Filter::Name(name.as_str())).collect()
        };
        let mut found: HashMap<Fqdn, Vec<ApiRecord>> = HashMap::new();
        for filter in filters {
            for record in self.pages(|page| endpoints::records(&zone.id, &filter, page))? {
                if let Some(name) = record.name.parse().ok().filter(|name| wanted.contains(name)) {
                    found.entry(name).or_default().push(record);
                }
            }
        }
        let show = |name: &Fqdn| found.get(name).map_or(AtName::Absent, |records| at_name(records, *name == zone.name));
        Ok(names.iter().map(show).collect())
    }
}

/// One `apply`.
struct Changes<'a> {
    host: &'a Cloudflare,
    /// Operations that one batch takes.
    batch: usize,
}

impl Calls for Changes<'_> {
    fn look(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        self.host.look(zone, names)
    }

    fn fit(&self, jobs: &[Job]) -> usize {
        let mut operations = 0;
        let fits = |job: &&Job| {
            operations += change(job, None).len();
            operations <= self.batch
        };
        jobs.iter().take_while(fits).count()
    }

    fn send(&self, zone: &Zone, jobs: &[Job]) -> Sent {
        let mut batch = Batch::default();
        for job in jobs {
            batch.append(change(job, self.host.config.comment.as_deref()));
        }
        match self.host.call(&endpoints::batch(&zone.id, &batch)) {
            Ok(_) => Sent::Done(None),
            Err(Failed::Refused(error @ (ProviderError::Auth(_) | ProviderError::RateLimited { .. }))) => {
                Sent::Fatal(error)
            }
            Err(Failed::Refused(error)) => Sent::Refused(error),
            Err(Failed::Silence(Silence::Nothing(error))) => Sent::Fatal(error),
            Err(failed) => Sent::Unknown(ProviderError::from(failed).to_string()),
        }
    }
}

/// A record that holds the old value keeps its id and gets the new one; further copies go.
fn change(job: &Job, comment: Option<&str>) -> Batch {
    let entries: &[Entry] = match &job.now {
        AtName::Txt { entries, .. } => entries,
        _ => &[],
    };
    let ids = |text: &TxtText| entries.iter().filter(|e| e.text == *text).filter_map(|e| e.id.clone()).collect();
    let (mut ours, written): (Vec<String>, Option<(&TxtText, u32)>) = match job.op() {
        Op::Add { text, ttl, .. } => (ids(text), Some((text, *ttl))),
        Op::Replace { old, new, ttl, .. } if old == new => (ids(new), Some((new, *ttl))),
        Op::Replace { old, new, ttl, .. } => ([ids(new), ids(old)].concat(), Some((new, *ttl))),
        Op::Remove { text, .. } => (ids(text), None),
    };
    let mut batch = Batch::default();
    if let Some((text, ttl)) = written {
        let id = (!ours.is_empty()).then(|| ours.remove(0));
        let comment = comment.map(str::to_owned).filter(|_| id.is_none());
        let record = Written { id, kind: "TXT", name: job.name().to_string(), content: text.quoted(), ttl, comment };
        if record.id.is_some() { &mut batch.patches } else { &mut batch.posts }.push(record);
    }
    batch.deletes = ours.into_iter().map(|id| Id { id }).collect();
    batch
}

/// The NS records of the zone itself delegate nothing.
fn at_name(records: &[ApiRecord], apex: bool) -> AtName {
    if let Some(alias) = records.iter().find(|record| record.kind == "CNAME") {
        return match alias.content.parse() {
            Ok(target) => AtName::Cname { target, ttl: served(alias.ttl) },
            Err(_) => AtName::Unsupported(format!("the name is an alias of `{}`", alias.content)),
        };
    }
    if let Some(delegated) = records.iter().find(|record| record.kind == "NS" && !apex) {
        let to = &delegated.content;
        return AtName::Unsupported(format!("the name is delegated to {to}; publish through the host of that zone"));
    }
    let texts = || records.iter().filter(|record| record.kind == "TXT");
    // All TXT records of a name are answered under one TTL (RFC 2181 section 5.2).
    let Some(ttl) = texts().map(|record| served(record.ttl)).min() else { return AtName::Absent };
    let entry = |record: &ApiRecord| Entry { id: Some(record.id.clone()), ..Entry::new(decode(&record.content)) };
    AtName::Txt { ttl, entries: texts().map(entry).collect() }
}

/// Content is shown as it was given: as quoted strings by those who know, as bare text by others.
fn decode(content: &str) -> TxtText {
    let quoted = content.len() >= 2 && content.starts_with('"') && content.ends_with('"');
    let read = quoted.then(|| TxtText::from_quoted(content).ok()).flatten();
    read.unwrap_or_else(|| TxtText::from(content))
}

/// 1 is "automatic", which is 300 seconds (developers.cloudflare.com/dns/manage-dns-records/reference/ttl).
fn served(ttl: u32) -> u32 {
    if ttl == 1 { 300 } else { ttl }
}

/// Why a call brought no result.
enum Failed {
    Silence(Silence),
    Refused(ProviderError),
    Server(u16),
    Garbled(u16, String),
}

impl From<Failed> for ProviderError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Silence(silence) => silence.into(),
            Failed::Refused(error) => error,
            Failed::Server(status) => ProviderError::Unreachable(format!(
                "Cloudflare has trouble of its own (HTTP {status}), so what it did and what stands there is unknown; \
                 see cloudflarestatus.com, and run the same command again"
            )),
            Failed::Garbled(status, text) => ProviderError::Unreachable(format!(
                "Cloudflare's answer cannot be read (HTTP {status}: {text}), so what stands there is unknown; a proxy in \
                 between may have answered"
            )),
        }
    }
}

impl fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloudflare").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "cloudflare_tests.rs"]
mod tests;
