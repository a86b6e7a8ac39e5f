//! Amazon Route 53, through the AWS SDK.
//!
//! A DELETE must name the set exactly as it stands, values, TTL and all; together with a CREATE in the same batch,
//! which is done whole or not at all, that is a compare-and-swap. So we send these two and never an UPSERT, which
//! would overwrite whatever it meets.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::BehaviorVersion;
pub use aws_sdk_route53::config::Credentials;
use aws_sdk_route53::config::Region;
use aws_sdk_route53::config::retry::RetryConfig;
use aws_sdk_route53::config::timeout::TimeoutConfig;
use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ChangeStatus, HostedZone, ResourceRecord, ResourceRecordSet, RrType,
};
use aws_sdk_route53::{Client, operation::list_resource_record_sets::ListResourceRecordSetsOutput as Page};
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::Time;
use tokio::runtime::{Builder, Runtime};

use crate::pace::{Pace, SystemTimer, Timer};
use crate::run::{self, Calls, Job, Sent};
use crate::{
    AtName, Caps, ChangeId, CompareAndSet, Descriptor, DnsProvider, Entry, Guarded, Outcome, ProviderError, Rate,
    Visibility, Zone,
};

mod dates;
mod values;
mod words;

use words::{Failed, explain};

pub static DESCRIPTOR: Descriptor = Descriptor {
    code: "route53",
    name: "Amazon Route 53",
    credentials: "the standard AWS chain: environment, profile, web identity, container or instance role",
    least_rights: "route53:ListHostedZones, ListResourceRecordSets, GetChange, and ChangeResourceRecordSets with the \
                   condition keys for TXT, CREATE and DELETE, and the record names (docs/providers/route53.md has it)",
    rights_template: include_str!("route53/policy.json"),
    docs: "https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-conditions-route53.html",
};

/// Of one change call: records, and characters of all values together. Only an UPSERT would count twice.
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html>
const MOST_RECORDS: usize = 1000;
const MOST_CHARACTERS: usize = 32_000;

/// The account's bucket: 50 at once, 10 more each second.
const RATE: Rate = Rate { calls: 50, per: Duration::from_secs(5) };

/// From this many names on, the zone is paged through instead of asking for each.
const MANY: usize = 4;

#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Another endpoint than AWS's own.
    pub endpoint: Option<String>,
    /// A profile of ~/.aws/config; `AWS_PROFILE` or the default one unless set.
    pub profile: Option<String>,
    /// When not empty, only these zones are seen: needed where a name has two zones of one visibility.
    pub zone_ids: Vec<String>,
    /// Instead of the standard chain, for tests.
    pub credentials: Option<Credentials>,
    /// The first wait after a throttled call; a second unless set.
    pub first_backoff: Option<Duration>,
}

pub struct Route53 {
    runtime: Runtime,
    client: Client,
    zone_ids: Vec<String>,
    pace: Pace,
    /// The service's time minus ours in its last answer, in seconds; `i64::MIN` before there was one.
    ahead: Arc<AtomicI64>,
    zones: Mutex<Option<Vec<Zone>>>,
}

impl Route53 {
    pub fn new(config: Config) -> Result<Self, ProviderError> {
        Self::with_timer(config, Box::new(SystemTimer::default()))
    }

    /// With another clock to pace by, for tests.
    pub fn with_timer(config: Config, timer: Box<dyn Timer>) -> Result<Self, ProviderError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| {
            ProviderError::Unreachable(format!("no runtime for the AWS SDK can be made ({error}); see the limits here"))
        })?;
        let version = BehaviorVersion::v2026_01_12();
        // Route 53 is global, and signed for this region.
        let mut loader = aws_config::defaults(version).region(Region::from_static("us-east-1"));
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(credentials) = config.credentials {
            loader = loader.credentials_provider(credentials);
        }
        if let Some(endpoint) = &config.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let shared = runtime.block_on(loader.load());
        let backoff = config.first_backoff.unwrap_or(Duration::from_secs(1));
        let retry = RetryConfig::adaptive().with_max_attempts(8).with_initial_backoff(backoff);
        let timeout = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(10))
            .operation_attempt_timeout(Duration::from_secs(30))
            .operation_timeout(Duration::from_secs(300));
        let ahead = Arc::new(AtomicI64::new(i64::MIN));
        let client = aws_sdk_route53::config::Builder::from(&shared)
            .retry_config(retry)
            .timeout_config(timeout.build())
            .interceptor(dates::Dates(ahead.clone()));
        let client = Client::from_conf(client.build());
        let pace = Pace::new(Some(RATE), timer);
        Ok(Route53 { runtime, client, zone_ids: config.zone_ids, pace, ahead, zones: Mutex::new(None) })
    }

    fn list_zones(&self) -> Result<Vec<Zone>, ProviderError> {
        let mut zones: Vec<Zone> = Vec::new();
        let mut marker = None;
        loop {
            self.pace.wait();
            let call = self.client.list_hosted_zones().set_marker(marker).send();
            let page = self.runtime.block_on(call).map_err(|error| explain(&error))?;
            for zone in page.hosted_zones().iter().filter_map(|zone| self.zone(zone)) {
                let twin = |known: &&mut Zone| known.name == zone.name && known.visibility == zone.visibility;
                match zones.iter_mut().find(twin) {
                    Some(known) => known.id = format!("{} or {}", known.id, zone.id),
                    None => zones.push(zone),
                }
            }
            marker = page.next_marker().map(str::to_owned);
            if !page.is_truncated() || marker.is_none() {
                return Ok(zones);
            }
        }
    }

    fn zone(&self, zone: &HostedZone) -> Option<Zone> {
        let id = zone.id().trim_start_matches("/hostedzone/").to_owned();
        let wanted = self.zone_ids.is_empty() || self.zone_ids.iter().any(|one| one.ends_with(&id));
        let private = zone.config().is_some_and(|config| config.private_zone());
        let visibility = if private { Visibility::Private } else { Visibility::Public };
        let name = zone.name().parse().ok().filter(|_| wanted)?;
        Some(Zone { id, name, visibility })
    }

    /// One page of the zone's sets, from `start` on.
    fn page(&self, zone: &Zone, start: Start, most: i32) -> Result<Page, ProviderError> {
        self.pace.wait();
        let (name, kind, identifier) = start;
        let call = self
            .client
            .list_resource_record_sets()
            .hosted_zone_id(&zone.id)
            .set_start_record_name(name)
            .set_start_record_type(kind)
            .set_start_record_identifier(identifier)
            .max_items(most);
        self.runtime.block_on(call.send()).map_err(|error| explain(&error).into())
    }
}

/// Name, type and identifier.
type Start = (Option<String>, Option<RrType>, Option<String>);

/// Where the next page starts, if there is one.
fn next(page: &Page) -> Option<Start> {
    let name = page.next_record_name().map(str::to_owned).filter(|_| page.is_truncated())?;
    Some((Some(name), page.next_record_type().cloned(), page.next_record_identifier().map(str::to_owned)))
}

impl DnsProvider for Route53 {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn caps(&self) -> Caps {
        Caps {
            min_ttl: 0,
            // A value is at most 4,000 characters, quotes and escapes included.
            max_text: 3900,
            max_batch: MOST_RECORDS,
            atomic_batch: true,
            compare_and_set: CompareAndSet::Exact,
            rate: Some(RATE),
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
        let mut names = Vec::new();
        let mut start: Start = (None, None, None);
        loop {
            let page = self.page(zone, start, 300)?;
            let texts = page.resource_record_sets().iter().filter(|set| *set.r#type() == RrType::Txt);
            names.extend(texts.filter_map(|set| set.name().parse::<Fqdn>().ok()));
            match next(&page) {
                Some(more) => start = more,
                None => break,
            }
        }
        names.dedup();
        Ok(Some(names))
    }

    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
        run::apply(self, zone, ops)
    }

    fn settled(&self, _zone: &Zone, change: &ChangeId) -> Result<bool, ProviderError> {
        self.pace.wait();
        let answer = self.runtime.block_on(self.client.get_change().id(&change.0).send());
        let answer = answer.map_err(|error| explain(&error))?;
        Ok(answer.change_info().is_some_and(|info| *info.status() == ChangeStatus::Insync))
    }

    fn clock(&self) -> Option<Time> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        (ahead != i64::MIN).then(|| Time::from_unix(system_seconds().saturating_add(ahead)))
    }
}

impl Calls for Route53 {
    fn look(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        if zone.id.contains(" or ") {
            return Err(words::ambiguous(&zone.id));
        }
        let wanted: HashSet<&Fqdn> = names.iter().collect();
        let mut found = Found { wanted: &wanted, sets: HashMap::new() };
        if wanted.len() >= MANY {
            self.page_through(zone, &mut found)?;
        } else {
            for name in &wanted {
                self.look_at(zone, name, &mut found)?;
            }
        }
        let sets = found.sets;
        let show = |name: &Fqdn| sets.get(name).map_or(AtName::Absent, |sets| at_name(sets, *name == zone.name));
        Ok(names.iter().map(show).collect())
    }

    fn fit(&self, jobs: &[Job]) -> usize {
        let (mut records, mut characters) = (0, 0);
        let fits = |job: &&Job| {
            let both = [values(&job.now), values(&job.after)].concat();
            records += both.len();
            characters += both.iter().map(|value| value.chars().count()).sum::<usize>();
            records <= MOST_RECORDS && characters <= MOST_CHARACTERS
        };
        jobs.iter().take_while(fits).count()
    }

    fn send(&self, zone: &Zone, jobs: &[Job]) -> Sent {
        let changes = jobs.iter().flat_map(|job| {
            let gone = change(ChangeAction::Delete, job.name(), &job.now);
            gone.into_iter().chain(change(ChangeAction::Create, job.name(), &job.after))
        });
        let batch = ChangeBatch::builder().set_changes(Some(changes.collect())).build();
        let Ok(batch) = batch else { return Sent::Unknown("no change could be built".into()) };
        self.pace.wait();
        let call = self.client.change_resource_record_sets().hosted_zone_id(&zone.id).change_batch(batch);
        match self.runtime.block_on(call.send()) {
            Ok(done) => Sent::Done(done.change_info().map(|info| ChangeId(info.id().to_owned()))),
            Err(error) => match explain(&error) {
                Failed::Refused(error) => Sent::Refused(error),
                Failed::Fatal(error) => Sent::Fatal(error),
                Failed::Unknown(why) => Sent::Unknown(why),
            },
        }
    }
}

/// The sets of the names that were asked for.
struct Found<'a> {
    wanted: &'a HashSet<&'a Fqdn>,
    sets: HashMap<Fqdn, Vec<ResourceRecordSet>>,
}

impl Found<'_> {
    fn take(&mut self, page: &Page) {
        for set in page.resource_record_sets() {
            // A wildcard and the like is not a name of ours.
            if let Some(name) = set.name().parse().ok().filter(|name| self.wanted.contains(name)) {
                self.sets.entry(name).or_default().push(set.clone());
            }
        }
    }
}

impl Route53 {
    /// The sets of one name stand together, from the name itself on.
    fn look_at(&self, zone: &Zone, name: &Fqdn, found: &mut Found) -> Result<(), ProviderError> {
        let mut start: Start = (Some(format!("{name}.")), None, None);
        loop {
            let page = self.page(zone, start, 10)?;
            for set in page.resource_record_sets().iter().filter(|set| set.name().parse().ok().as_ref() == Some(name)) {
                found.sets.entry(name.clone()).or_default().push(set.clone());
            }
            match next(&page).filter(|(next, ..)| next.as_ref().and_then(|n| n.parse().ok()).as_ref() == Some(name)) {
                Some(more) => start = more,
                None => return Ok(()),
            }
        }
    }

    /// Pages through the zone, over the parts where no wanted name is.
    fn page_through(&self, zone: &Zone, found: &mut Found) -> Result<(), ProviderError> {
        let mut places: Vec<(String, &Fqdn)> =
            found.wanted.iter().map(|name| (values::place(name.as_str()), *name)).collect();
        places.sort();
        let mut rest = places.as_slice();
        let Some((_, first)) = rest.first() else { return Ok(()) };
        let mut start: Start = (Some(format!("{first}.")), None, None);
        loop {
            let page = self.page(zone, start, 300)?;
            found.take(&page);
            let Some(more) = next(&page) else { return Ok(()) };
            let reached = values::place(more.0.as_deref().unwrap_or_default());
            rest = &rest[rest.partition_point(|(place, _)| *place < reached)..];
            let Some((place, name)) = rest.first() else { return Ok(()) };
            start = if *place == reached { more } else { (Some(format!("{name}.")), None, None) };
        }
    }
}

/// The values of a set as they go into a call.
fn values(at: &AtName) -> Vec<String> {
    let entries: &[Entry] = match at {
        AtName::Txt { entries, .. } => entries,
        _ => &[],
    };
    let value = |entry: &Entry| match &entry.id {
        Some(listed) => values::respaced(listed),
        None => values::encode(&entry.text),
    };
    entries.iter().map(value).collect()
}

/// `None` when there is no set to delete, or none to create.
fn change(action: ChangeAction, name: &Fqdn, at: &AtName) -> Option<Change> {
    let AtName::Txt { ttl, .. } = at else { return None };
    let records = values(at).into_iter().filter_map(|value| ResourceRecord::builder().value(value).build().ok());
    let set = ResourceRecordSet::builder()
        .name(format!("{name}."))
        .r#type(RrType::Txt)
        .ttl(i64::from(*ttl))
        .set_resource_records(Some(records.collect()))
        .build();
    Change::builder().action(action).resource_record_set(set.ok()?).build().ok()
}

/// The NS records of the zone itself delegate nothing.
fn at_name(sets: &[ResourceRecordSet], apex: bool) -> AtName {
    let of = |kind: RrType| sets.iter().find(move |set| *set.r#type() == kind);
    let unsupported = |why: &str| AtName::Unsupported(why.to_owned());
    if of(RrType::Ns).is_some() && !apex {
        return unsupported("the name is delegated; publish through the host of that zone");
    }
    let relevant = of(RrType::Cname).or_else(|| of(RrType::Txt));
    let Some(set) = relevant else { return AtName::Absent };
    if set.set_identifier().is_some() || set.health_check_id().is_some() || set.traffic_policy_instance_id().is_some() {
        return unsupported(
            "the name has a routing policy (weighted, latency, failover or the like), which answers differently from \
             one question to the next; give it a simple record, or publish by hand",
        );
    }
    if set.alias_target().is_some() {
        return unsupported("the name is an alias to another record of AWS; publish where it leads to");
    }
    let ttl = set.ttl().and_then(|ttl| u32::try_from(ttl).ok()).unwrap_or(0);
    if *set.r#type() == RrType::Cname {
        let target = set.resource_records().first().map(ResourceRecord::value).unwrap_or_default();
        return match target.parse() {
            Ok(target) => AtName::Cname { target, ttl },
            Err(_) => AtName::Unsupported(format!("the name is an alias of `{target}`")),
        };
    }
    let mut entries = Vec::with_capacity(set.resource_records().len());
    for value in set.resource_records().iter().map(ResourceRecord::value) {
        let Some(raw) = values::decode(value) else {
            return AtName::Unsupported(format!("a TXT value of the name cannot be read: {value}"));
        };
        let text = TxtText::join(raw.iter().map(Vec::as_slice));
        entries.push(Entry { text, raw, id: Some(value.to_owned()) });
    }
    AtName::Txt { ttl, entries }
}

fn system_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

impl fmt::Debug for Route53 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route53").field("zone_ids", &self.zone_ids).finish_non_exhaustive()
    }
}
