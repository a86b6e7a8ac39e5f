//! The part of Route 53's API that DNS records need, as strict as the real one is known to be.
//!
//! Every refusal names where the real service was seen to refuse so, or which page of its documentation says so.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::http::{HttpServer, Request, Response};

pub const ACCESS_KEY: &str = "AKIDCANARY0123456789";
pub const SECRET_KEY: &str = "canary-aws-secret-key-0123456789abcdef";

#[derive(Debug, Clone)]
pub struct FakeZone {
    pub id: String,
    /// With the dot at the end.
    pub name: String,
    pub private: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct FakeSet {
    /// With the dot at the end.
    pub name: String,
    pub kind: String,
    pub ttl: Option<u64>,
    pub values: Vec<String>,
    /// Of a weighted or otherwise routed set.
    pub identifier: Option<String>,
    pub alias: bool,
}

#[derive(Default)]
pub struct State {
    pub zones: Vec<FakeZone>,
    pub sets: HashMap<String, Vec<FakeSet>>,
    /// Method and path with query of every call so far.
    pub log: Vec<String>,
    /// Answered to the next calls, the last one first, before anything else happens.
    pub next: Vec<Response>,
    /// Sets that somebody else creates right before our next change arrives.
    pub meanwhile: Vec<FakeSet>,
    /// Performs the next changes and then says nothing, so many times.
    pub drop_answers: u32,
    /// How often GetChange says PENDING before INSYNC.
    pub pending: u32,
    /// Changes in each accepted call.
    pub batches: Vec<usize>,
    changes: HashMap<String, u32>,
}

pub struct Route53Fake {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

impl Route53Fake {
    pub fn start<'a>(zones: impl IntoIterator<Item = &'a str>) -> Self {
        let zone = |(number, name): (usize, &str)| FakeZone {
            id: format!("Z{number:013}"),
            name: format!("{name}."),
            private: false,
        };
        let zones = zones.into_iter().enumerate().map(zone).collect();
        let state = Arc::new(Mutex::new(State { zones, ..State::default() }));
        let shared = state.clone();
        let server = HttpServer::start(move |request| answer(&shared, request));
        Route53Fake { server, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address)
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Change calls so far.
    pub fn writes(&self) -> usize {
        self.state().log.iter().filter(|line| line.starts_with("POST ")).count()
    }

    /// Puts a set there past all checks, instead of what stood there.
    pub fn plant(&self, set: FakeSet) {
        let mut state = self.state();
        let zone = state.zones.iter().find(|zone| set.name.ends_with(&zone.name)).unwrap().id.clone();
        let sets = state.sets.entry(zone).or_default();
        sets.retain(|other| key(other) != key(&set));
        sets.push(set);
    }

    pub fn at(&self, name: &str, kind: &str) -> Vec<FakeSet> {
        let fits = |set: &&FakeSet| set.name == name && set.kind == kind;
        self.state().sets.values().flatten().filter(fits).cloned().collect()
    }
}

fn key(set: &FakeSet) -> (&str, &str, Option<&str>) {
    (&set.name, &set.kind, set.identifier.as_deref())
}

/// What is wrong with a call: status, code, message.
type Wrong = (u16, &'static str, String);

fn answer(shared: &Mutex<State>, request: &Request) -> Response {
    let mut state = shared.lock().unwrap();
    let query: Vec<String> = request.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
    state.log.push(format!("{} {}?{}", request.method, request.path, query.join("&")));
    if let Some(scripted) = state.next.pop() {
        return scripted;
    }
    let response = match route(&mut state, request) {
        Ok(body) => Response::new(200, format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}")),
        Err((status, code, message)) => refusal(status, code, &message),
    };
    let silent = request.method == "POST" && state.drop_answers > 0;
    state.drop_answers -= u32::from(silent);
    Response { silent, ..response }.with("content-type", "text/xml").with("date", "Sun, 22 Nov 2026 10:00:00 GMT")
}

/// <https://docs.aws.amazon.com/Route53/latest/APIReference/requests-rest-responses.html>
pub fn refusal(status: u16, code: &str, message: &str) -> Response {
    let message = escape(message);
    let body = format!(
        "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Error>\
         <Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    );
    Response::new(status, body)
}

fn route(state: &mut State, request: &Request) -> Result<String, Wrong> {
    // <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html>, and what `aws` shows with a wrong key.
    let header = request.header("authorization").ok_or((403, "MissingAuthenticationToken", "Missing Token".into()))?;
    if !header.contains(&format!("Credential={ACCESS_KEY}/")) {
        let message = "The security token included in the request is invalid.".into();
        return Err((403, "InvalidClientTokenId", message));
    }
    let path = request.path.trim_start_matches("/2013-04-01/").trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["hostedzone"]) => Ok(list_zones(state, request)),
        ("GET", ["change", id]) => get_change(state, id),
        (method, ["hostedzone", id, "rrset"]) => {
            let zone = state.zones.iter().find(|zone| zone.id == *id).cloned();
            let zone = zone.ok_or((404, "NoSuchHostedZone", format!("No hosted zone found with ID: {id}")))?;
            if method == "GET" {
                Ok(list_sets(state, &zone, request))
            } else {
                change_sets(state, &zone, &request.body)
            }
        }
        _ => Err((404, "UnknownOperationException", String::new())),
    }
}

/// At most 100 a page: docs, API_ListHostedZones.
fn list_zones(state: &State, request: &Request) -> String {
    let start = request.query("marker").and_then(|m| state.zones.iter().position(|z| z.id == m)).unwrap_or(0);
    let mut zones = String::new();
    for FakeZone { id, name, private } in state.zones.iter().skip(start).take(100) {
        zones += &format!(
            "<HostedZone><Id>/hostedzone/{id}</Id><Name>{name}</Name><CallerReference>c</CallerReference><Config>\
             <PrivateZone>{private}</PrivateZone></Config></HostedZone>"
        );
    }
    let next = state.zones.get(start + 100).map(|zone| format!("<NextMarker>{}</NextMarker>", zone.id));
    let (truncated, next) = (next.is_some(), next.unwrap_or_default());
    format!(
        "<ListHostedZonesResponse><HostedZones>{zones}</HostedZones><IsTruncated>{truncated}</IsTruncated>{next}\
         <MaxItems>100</MaxItems></ListHostedZonesResponse>"
    )
}

/// Sorted by the name with its labels reversed and a dot at the end, then by type and identifier, from the one asked
/// for on; at most 300 a page: docs, API_ListResourceRecordSets.
fn list_sets(state: &State, zone: &FakeZone, request: &Request) -> String {
    let place = |name: &str, kind: &str, identifier: &str| {
        let labels: Vec<&str> = name.trim_end_matches('.').rsplit('.').collect();
        (labels.join(".") + ".", kind.to_owned(), identifier.to_owned())
    };
    let of = |set: &FakeSet| place(&set.name, &set.kind, set.identifier.as_deref().unwrap_or_default());
    let asked = |key| request.query(key).unwrap_or_default();
    let start = place(asked("name"), asked("type"), asked("identifier"));
    let mut sets: Vec<&FakeSet> = state.sets.get(&zone.id).map(|sets| sets.iter().collect()).unwrap_or_default();
    sets.retain(|set| asked("name").is_empty() || of(set) >= start);
    sets.sort_by_key(|set| of(set));
    let most = asked("maxitems").parse().unwrap_or(300).min(300);
    let mut shown = String::new();
    for set in sets.iter().take(most) {
        shown += &format!("<ResourceRecordSet><Name>{}</Name><Type>{}</Type>", set.name, set.kind);
        if let Some(identifier) = &set.identifier {
            shown += &format!("<SetIdentifier>{identifier}</SetIdentifier><Weight>1</Weight>");
        }
        if let Some(ttl) = set.ttl {
            shown += &format!("<TTL>{ttl}</TTL>");
        }
        if set.alias {
            shown += "<AliasTarget><HostedZoneId>Z</HostedZoneId><DNSName>x.example.</DNSName>\
                      <EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget>";
        } else {
            let value = |value: &String| format!("<ResourceRecord><Value>{}</Value></ResourceRecord>", escape(value));
            let values: String = set.values.iter().map(value).collect();
            shown += &format!("<ResourceRecords>{values}</ResourceRecords>");
        }
        shown += "</ResourceRecordSet>";
    }
    let next = sets.get(most).map_or_else(String::new, |set| {
        let identifier = set.identifier.as_ref().map(|i| format!("<NextRecordIdentifier>{i}</NextRecordIdentifier>"));
        let (name, kind, identifier) = (&set.name, &set.kind, identifier.unwrap_or_default());
        format!("<NextRecordName>{name}</NextRecordName><NextRecordType>{kind}</NextRecordType>{identifier}")
    });
    format!(
        "<ListResourceRecordSetsResponse><ResourceRecordSets>{shown}</ResourceRecordSets><IsTruncated>{}</IsTruncated>\
         {next}<MaxItems>{most}</MaxItems></ListResourceRecordSetsResponse>",
        sets.len() > most
    )
}

/// PENDING, then INSYNC: docs, API_GetChange.
fn get_change(state: &mut State, id: &str) -> Result<String, Wrong> {
    let pending = state.changes.get_mut(id);
    let pending = pending.ok_or((404, "NoSuchChange", format!("Could not find resource with ID: {id}")))?;
    let status = if *pending > 0 { "PENDING" } else { "INSYNC" };
    *pending = pending.saturating_sub(1);
    Ok(change_info("GetChangeResponse", id, status))
}

fn change_info(element: &str, id: &str, status: &str) -> String {
    format!(
        "<{element}><ChangeInfo><Id>/change/{id}</Id><Status>{status}</Status>\
         <SubmittedAt>2026-11-22T10:00:00Z</SubmittedAt></ChangeInfo></{element}>"
    )
}

/// All of it or none: docs, API_ChangeResourceRecordSets, "Change Batches and Transactional Changes".
fn change_sets(state: &mut State, zone: &FakeZone, body: &str) -> Result<String, Wrong> {
    for set in std::mem::take(&mut state.meanwhile) {
        state.sets.entry(zone.id.clone()).or_default().push(set);
    }
    let changes: Vec<(String, FakeSet)> = elements(body, "Change").iter().map(|change| read_change(change)).collect();
    let invalid = |message: String| (400, "InvalidChangeBatch", format!("[{message}]"));
    if changes.is_empty() {
        return Err((400, "InvalidInput", "1 validation error detected: Changes must have length at least 1".into()));
    }
    limits(&changes).map_err(invalid)?;
    let mut sets = state.sets.get(&zone.id).cloned().unwrap_or_default();
    let mut deleted = HashSet::new();
    for (action, set) in &changes {
        well_formed(zone, set).map_err(invalid)?;
        // "You cannot delete the same resource record set more than once in a single change batch": the same page.
        if action == "DELETE" && !deleted.insert((set.name.clone(), set.kind.clone(), set.identifier.clone())) {
            return Err(invalid(format!(
                "The request contains an invalid set of changes for a resource record set '{} {}'",
                set.kind, set.name
            )));
        }
        perform(zone, &mut sets, action, set).map_err(invalid)?;
    }
    state.sets.insert(zone.id.clone(), sets);
    state.batches.push(changes.len());
    let id = format!("C{:013}", state.changes.len());
    let pending = state.pending;
    state.changes.insert(id.clone(), pending);
    Ok(change_info("ChangeResourceRecordSetsResponse", &id, "PENDING"))
}

/// 1,000 records and 32,000 characters of values, an UPSERT counted twice: docs, DNSLimitations, "Quotas on API
/// requests"; octodns/octodns#73 met the second.
fn limits(changes: &[(String, FakeSet)]) -> Result<(), String> {
    let (mut records, mut characters) = (0, 0);
    for (action, set) in changes {
        let times = if action == "UPSERT" { 2 } else { 1 };
        records += times * set.values.len();
        characters += times * set.values.iter().map(|value| value.chars().count()).sum::<usize>();
    }
    match () {
        _ if records > 1000 => Err("Number of records limit of 1000 exceeded.".into()),
        _ if characters > 32_000 => Err("Number of characters limit of 32000 exceeded.".into()),
        _ => Ok(()),
    }
}

fn well_formed(zone: &FakeZone, set: &FakeSet) -> Result<(), String> {
    let FakeSet { name, kind, .. } = set;
    // aws/aws-cli and cert-manager threads.
    if *name != zone.name && !name.ends_with(&format!(".{}", zone.name)) {
        return Err(format!("RRSet with DNS name {name} is not permitted in zone {}", zone.name));
    }
    if !set.alias && (set.ttl.is_none() || set.values.is_empty()) {
        return Err(format!("Invalid request: Missing field 'TTL' or 'ResourceRecords' in Change with [Name={name}]"));
    }
    let mut known = HashSet::new();
    for value in set.values.iter().filter(|_| kind == "TXT") {
        let fatal =
            |what: &str| Err(format!("Invalid Resource Record: 'FATAL problem: {what} encountered with '{value}''"));
        match strings(value) {
            // AWS Knowledge Center on "InvalidTXTRDATA".
            None => return fatal("InvalidTXTRDATA (Value should be enclosed in quotation marks)"),
            // boto/boto3#1462; adjacent strings without a space count as one: aws/aws-sdk-js-v3#5626.
            Some(all) if all.iter().any(|string| string.len() > 255) || value.contains("\"\"") && value.len() > 2 => {
                return fatal("CharacterStringTooLong (Value is too long)");
            }
            // docs, ResourceRecordTypes: "The maximum length of a value in a TXT record is 4,000 characters".
            Some(_) if value.len() > 4000 => return fatal("ValueTooLong (Value is too long)"),
            // kubernetes-sigs/external-dns and terraform-provider-aws threads.
            Some(all) if !known.insert(all.clone()) => return Err(format!("Duplicate Resource Record: '{value}'")),
            Some(_) => {}
        }
    }
    Ok(())
}

fn perform(zone: &FakeZone, sets: &mut Vec<FakeSet>, action: &str, set: &FakeSet) -> Result<(), String> {
    let FakeSet { name, kind, .. } = set;
    let place = sets.iter().position(|other| key(other) == key(set));
    match (action, place) {
        // The texts as quoted in many threads (rancher/rancher#10253 has the form); "but it already exists" in
        // kubernetes-sigs/external-dns#3007.
        ("DELETE", None) => {
            return Err(format!(
                "Tried to delete resource record set [name='{name}', type='{kind}'] but it was not found"
            ));
        }
        ("DELETE", Some(place)) => {
            let stands = &sets[place];
            let form = |set: &FakeSet| {
                let mut values: Vec<_> =
                    set.values.iter().map(|v| strings(v).unwrap_or(vec![v.clone().into()])).collect();
                values.sort();
                (set.ttl, values)
            };
            if form(stands) != form(set) {
                return Err(format!(
                    "Tried to delete resource record set [name='{name}', type='{kind}'] but the values provided do not \
                     match the current values"
                ));
            }
            sets.remove(place);
            return Ok(());
        }
        ("CREATE", Some(_)) => {
            return Err(format!(
                "Tried to create resource record set [name='{name}', type='{kind}'] but it already exists"
            ));
        }
        ("UPSERT", Some(place)) => drop(sets.remove(place)),
        _ => {}
    }
    let others = || sets.iter().filter(|other| other.name == *name);
    // kubernetes-sigs/external-dns threads: "not permitted because a conflicting RRSet of type CNAME".
    if let Some(other) = others().find(|other| (other.kind == "CNAME") != (kind == "CNAME")) {
        return Err(format!(
            "RRSet of type {kind} with DNS name {name} is not permitted because a conflicting RRSet of type {} with the \
             same DNS name already exists in zone {}",
            other.kind, zone.name
        ));
    }
    // terraform-provider-aws threads on weighted records.
    if others().any(|other| other.kind == *kind && other.identifier.is_some() != set.identifier.is_some()) {
        return Err(format!(
            "RRSet with DNS name {name}, type {kind} cannot be created as other RRSets exist with the same name and type."
        ));
    }
    sets.push(set.clone());
    Ok(())
}

/// The octets of each quoted string, octal escapes read: docs, ResourceRecordTypes, "TXT record type".
pub fn strings(value: &str) -> Option<Vec<Vec<u8>>> {
    let (mut all, mut string) = (Vec::new(), None::<Vec<u8>>);
    let mut bytes = value.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match (&mut string, byte) {
            (None, b'"') => string = Some(Vec::new()),
            (None, b' ') => {}
            (None, _) => return None,
            (Some(_), b'"') => all.extend(string.take()),
            (Some(octets), b'\\') => match bytes.next()? {
                digit @ b'0'..=b'7' => {
                    let mut value = u32::from(digit - b'0');
                    while let Some(next) = bytes.next_if(|next| (b'0'..=b'7').contains(next) && value < 32) {
                        value = value * 8 + u32::from(next - b'0');
                    }
                    octets.push(u8::try_from(value).ok()?);
                }
                other => octets.push(other),
            },
            // What is not ASCII has to be escaped.
            (Some(_), 128..) => return None,
            (Some(octets), byte) => octets.push(byte),
        }
    }
    (string.is_none() && !all.is_empty()).then_some(all)
}

fn read_change(change: &str) -> (String, FakeSet) {
    let one = |name: &str| elements(change, name).first().map(|text| unescape(text));
    let set = FakeSet {
        name: one("Name").unwrap_or_default().to_lowercase().trim_end_matches('.').to_owned() + ".",
        kind: one("Type").unwrap_or_default(),
        ttl: one("TTL").and_then(|text| text.parse().ok()),
        values: elements(change, "Value").iter().map(|value| unescape(value)).collect(),
        identifier: one("SetIdentifier"),
        alias: change.contains("<AliasTarget>"),
    };
    (one("Action").unwrap_or_default(), set)
}

/// What stands in each `<name>...</name>`.
pub fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open).skip(1).filter_map(|rest| rest.split_once(&close).map(|(inside, _)| inside)).collect()
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub fn unescape(text: &str) -> String {
    let text = text.replace("&quot;", "\"").replace("&apos;", "'").replace("&#39;", "'").replace("&#34;", "\"");
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
