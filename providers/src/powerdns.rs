//! PowerDNS Authoritative Server through its HTTP API (doc.powerdns.com/authoritative/http-api).
//!
//! The API replaces whole RRsets and knows no conditions. So each change is computed upon what was read a moment
//! before, the other values of the name are sent back in the very form in which they came, and the name is read
//! again after. Many RRsets travel in one PATCH, which the server performs whole or not at all.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::Time;
use serde::{Deserialize, Serialize};

use crate::http::{Answer, Http, Method, Secret, Silence};
use crate::pace::{Pace, SystemTimer};
use crate::run::{self, Calls, Job, Sent};
use crate::{
    AtName, Caps, CompareAndSet, Descriptor, DnsProvider, Entry, Guarded, Outcome, ProviderError, Visibility, Zone,
};

pub static DESCRIPTOR: Descriptor = Descriptor {
    code: "powerdns",
    name: "PowerDNS Authoritative Server (HTTP API)",
    credentials: "the API's URL and its key (`api-key` in pdns.conf)",
    least_rights: "the API key may do everything on the server; keep the API on a loopback or management address \
                   (webserver-address, webserver-allow-from), or use rfc2136 with a TSIG key instead",
    rights_template: "",
    docs: "https://doc.powerdns.com/authoritative/http-api/",
};

/// Changes in one PATCH, and octets of its body: the server takes 2 MB (`webserver-max-bodysize`).
const MOST_CHANGES: usize = 500;
const MOST_OCTETS: usize = 1_000_000;

/// From this many names on, the whole zone is read in one call instead.
const MANY: usize = 8;

/// Where the API is, and its key.
#[derive(Debug, Clone)]
pub struct Config {
    /// `http://127.0.0.1:8081`; without `/api/v1`.
    pub url: String,
    /// `localhost` on every server that is not behind a proxy of many.
    pub server: String,
    pub key: Secret,
    /// Of one call.
    pub timeout: Duration,
}

pub struct PowerDns {
    http: Http,
    base: String,
    key: Secret,
    zones: Mutex<Option<Vec<Zone>>>,
}

impl PowerDns {
    pub fn new(config: Config) -> Result<Self, ProviderError> {
        let url = config.url.trim_end_matches('/').trim_end_matches("/api/v1");
        let host = format!("the PowerDNS API at {url}");
        let http = Http::new(&host, url, config.timeout, Pace::new(None, Box::new(SystemTimer::default())))?;
        let base = format!("{url}/api/v1/servers/{}", config.server);
        Ok(PowerDns { http, base, key: config.key, zones: Mutex::new(None) })
    }

    fn call(&self, method: &Method, path: &str, body: Option<&str>) -> Result<Answer, Silence> {
        let headers = [("X-API-Key", self.key.expose().to_owned())];
        self.http.send(method, &format!("{}{path}", self.base), &headers, body)
    }

    fn get<T: for<'de> Deserialize<'de>>(&self, path: &str, zone: &Fqdn) -> Result<T, ProviderError> {
        let answer = self.call(&Method::GET, path, None)?;
        if !answer.is_ok() {
            return Err(self.explain(&answer, zone));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            ProviderError::Unreachable(format!(
                "{} answered with something else than the API's JSON ({error}), so what stands there is unknown; see \
                 that `url` leads to the server's own API",
                self.http.host()
            ))
        })
    }

    fn explain(&self, answer: &Answer, zone: &Fqdn) -> ProviderError {
        let host = self.http.host();
        let said = serde_json::from_slice::<ApiError>(&answer.body).map_or_else(|_| answer.text(), |e| e.error);
        let said = self.key.scrub(&said);
        match answer.status {
            401 | 403 => ProviderError::Auth(format!(
                "{host} does not accept the key (HTTP {}), so nothing was changed; compare it with `api-key` in \
                 pdns.conf, and this host's address with webserver-allow-from",
                answer.status
            )),
            404 => ProviderError::Rejected {
                code: "404".into(),
                message: format!(
                    "{host} serves no zone `{zone}` ({said}); see that `url` and `server` are right and the zone is there"
                ),
            },
            status => ProviderError::Rejected {
                code: status.to_string(),
                message: format!("{host} refused the change of `{zone}`: {said}; its log may tell more"),
            },
        }
    }

    fn list_zones(&self) -> Result<Vec<Zone>, ProviderError> {
        let root: Fqdn = "zones.invalid".parse().map_err(|_| ProviderError::Unreachable("no name".into()))?;
        let listed: Vec<ApiZone> = self.get("/zones?dnssec=false", &root)?;
        // A secondary is changed at its primary; the root and the like are no names of ours.
        let primary = listed.into_iter().filter(|zone| !matches!(&*zone.kind, "Slave" | "Secondary" | "Consumer"));
        let zone = |zone: ApiZone| {
            let name = zone.name.parse().ok()?;
            Some(Zone { id: zone.id, name, visibility: Visibility::Public })
        };
        Ok(primary.filter_map(zone).collect())
    }
}

impl DnsProvider for PowerDns {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn caps(&self) -> Caps {
        Caps {
            min_ttl: 0,
            max_text: 20_000,
            max_batch: MOST_CHANGES,
            atomic_batch: true,
            compare_and_set: CompareAndSet::LookAgain,
            rate: None,
        }
    }

    fn zones(&self) -> Result<Vec<Zone>, ProviderError> {
        let mut known = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = Some(self.list_zones()?);
        }
        Ok(known.clone().unwrap_or_default())
    }

    fn observe(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        zone.holds(names)?;
        self.look(zone, names)
    }

    fn list(&self, zone: &Zone) -> Result<Option<Vec<Fqdn>>, ProviderError> {
        let whole: ApiZoneRecords = self.get(&format!("/zones/{}", zone.id), &zone.name)?;
        let texts = whole.rrsets.into_iter().filter(|set| set.kind == "TXT");
        Ok(Some(texts.filter_map(|set| set.name.parse().ok()).collect()))
    }

    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
        run::apply(self, zone, ops)
    }

    fn clock(&self) -> Option<Time> {
        self.http.clock()
    }
}

impl Calls for PowerDns {
    fn look(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        let wanted: HashSet<&Fqdn> = names.iter().collect();
        let mut found: HashMap<Fqdn, Vec<RrSet>> = HashMap::new();
        let paths: Vec<String> = if wanted.len() > MANY {
            vec![format!("/zones/{}", zone.id)]
        } else {
            wanted.iter().map(|name| format!("/zones/{}?rrset_name={name}.", zone.id)).collect()
        };
        for path in paths {
            let whole: ApiZoneRecords = self.get(&path, &zone.name)?;
            for set in whole.rrsets {
                // A wildcard and the like is not a name of ours.
                if let Some(name) = set.name.parse().ok().filter(|name| wanted.contains(name)) {
                    found.entry(name).or_default().push(set);
                }
            }
        }
        Ok(names.iter().map(|name| found.get(name).map_or(AtName::Absent, |sets| at_name(sets))).collect())
    }

    fn fit(&self, jobs: &[Job]) -> usize {
        let mut octets = 0;
        let longest = |job: &&Job| {
            octets += 200 + job.after.texts().map(|text| text.as_bytes().len() * 4 + 60).sum::<usize>();
            octets <= MOST_OCTETS
        };
        jobs.iter().take(MOST_CHANGES).take_while(longest).count()
    }

    fn send(&self, zone: &Zone, jobs: &[Job]) -> Sent {
        let rrsets: Vec<RrSet> = jobs.iter().map(change).collect();
        let body = serde_json::json!({ "rrsets": rrsets }).to_string();
        match self.call(&Method::PATCH, &format!("/zones/{}", zone.id), Some(&body)) {
            Ok(answer) if answer.is_ok() => Sent::Done(None),
            Ok(answer) => match self.explain(&answer, &zone.name) {
                error @ ProviderError::Auth(_) => Sent::Fatal(error),
                error if answer.status == 404 => Sent::Fatal(error),
                error if answer.status >= 500 => Sent::Unknown(error.to_string()),
                error => Sent::Refused(error),
            },
            Err(Silence::Nothing(error)) => Sent::Fatal(error),
            Err(Silence::Unknown(why)) => Sent::Unknown(why),
        }
    }
}

/// The RRset as it is to be: REPLACE with every value, or DELETE when none is left.
fn change(job: &Job) -> RrSet {
    let (ttl, entries): (_, &[Entry]) = match &job.after {
        AtName::Txt { ttl, entries } => (Some(*ttl), entries),
        _ => (None, &[]),
    };
    let content = |entry: &Entry| entry.id.clone().unwrap_or_else(|| entry.text.quoted());
    RrSet {
        name: format!("{}.", job.name()),
        kind: "TXT".into(),
        ttl,
        changetype: Some(if entries.is_empty() { "DELETE" } else { "REPLACE" }.into()),
        records: entries.iter().map(|entry| ApiRecord { content: content(entry), disabled: false }).collect(),
    }
}

fn at_name(sets: &[RrSet]) -> AtName {
    if let Some(alias) = sets.iter().find(|set| set.kind == "CNAME") {
        let target = alias.records.first().map(|record| record.content.clone()).unwrap_or_default();
        return match target.parse() {
            Ok(target) => AtName::Cname { target, ttl: alias.ttl.unwrap_or(0) },
            Err(_) => AtName::Unsupported(format!("the name is an alias of `{target}`")),
        };
    }
    if sets.iter().any(|set| set.kind == "LUA") {
        return AtName::Unsupported("the name holds a LUA record, which makes its own answers".into());
    }
    let Some(set) = sets.iter().find(|set| set.kind == "TXT") else { return AtName::Absent };
    if set.records.iter().any(|record| record.disabled) {
        let why = "a TXT record of the name is disabled; delete it or enable it, then run again";
        return AtName::Unsupported(why.into());
    }
    let mut entries = Vec::with_capacity(set.records.len());
    for ApiRecord { content, .. } in &set.records {
        let Ok(text) = TxtText::from_quoted(content) else {
            return AtName::Unsupported(format!("a TXT record of the name cannot be read: {content}"));
        };
        entries.push(Entry { id: Some(content.clone()), ..Entry::new(text) });
    }
    AtName::Txt { ttl: set.ttl.unwrap_or(0), entries }
}

#[derive(Deserialize)]
struct ApiZone {
    id: String,
    name: String,
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct ApiZoneRecords {
    rrsets: Vec<RrSet>,
}

#[derive(Serialize, Deserialize)]
struct RrSet {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changetype: Option<String>,
    #[serde(default)]
    records: Vec<ApiRecord>,
}

#[derive(Serialize, Deserialize)]
struct ApiRecord {
    content: String,
    #[serde(default)]
    disabled: bool,
}

#[derive(Deserialize)]
struct ApiError {
    error: String,
}

impl fmt::Debug for PowerDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PowerDns").field("base", &self.base).finish_non_exhaustive()
    }
}
