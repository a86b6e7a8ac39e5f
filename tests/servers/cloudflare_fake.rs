//! The zones and DNS records part of Cloudflare's API, as strict as the real one is known to be.
//!
//! Every refusal names where the real service was seen to refuse so. What we know only from one report is said to be.
//! Not known, and assumed: quoted and bare content of the same text count as identical.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use dkimctl_state::record::txt::TxtText;
use serde_json::{Value, json};

use super::http::{HttpServer, Request, Response};

pub const TOKEN: &str = "canary-cloudflare-token-0123456789";
/// A token that may read and not write.
pub const READ_ONLY: &str = "canary-cloudflare-read-only-012345";

#[derive(Debug, Clone)]
pub struct FakeZone {
    pub id: String,
    pub name: String,
    pub plan: &'static str,
    pub status: &'static str,
    pub kind: &'static str,
    /// Records that the plan allows.
    pub quota: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FakeRecord {
    pub id: String,
    pub name: String,
    pub kind: String,
    pub content: String,
    pub ttl: u64,
    pub comment: Option<String>,
}

#[derive(Default)]
pub struct State {
    pub zones: Vec<FakeZone>,
    pub records: HashMap<String, Vec<FakeRecord>>,
    /// Method and path with query of every call so far.
    pub log: Vec<String>,
    /// Answered to the next calls, the last one first, before anything else happens.
    pub next: Vec<Response>,
    /// Records (name, type, content) that somebody else writes right before our next write arrives.
    pub meanwhile: Vec<(String, String, String)>,
    /// Performs the next write and then says nothing.
    pub drop_answer: bool,
    last_id: u64,
}

pub struct CloudflareFake {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

impl CloudflareFake {
    /// Zones of the Free plan, active.
    pub fn start<'a>(zones: impl IntoIterator<Item = &'a str>) -> Self {
        let zone = |name: &str| FakeZone {
            id: format!("{:032x}", name.bytes().fold(0_u128, |sum, byte| sum.wrapping_mul(31) + u128::from(byte))),
            name: name.to_owned(),
            plan: "free",
            status: "active",
            kind: "full",
            quota: 1_000_000,
        };
        let state = State { zones: zones.into_iter().map(zone).collect(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        let server = HttpServer::start(move |request| answer(&shared, request));
        CloudflareFake { server, state }
    }

    pub fn api(&self) -> String {
        format!("http://{}/client/v4", self.server.address)
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Calls that are not GET, so far.
    pub fn writes(&self) -> usize {
        self.state().log.iter().filter(|line| !line.starts_with("GET ")).count()
    }

    /// Puts a record there past all checks; returns its id.
    pub fn plant(&self, name: &str, kind: &str, content: &str, ttl: u64) -> String {
        let mut state = self.state();
        let inside = |zone: &&FakeZone| name == zone.name || name.ends_with(&format!(".{}", zone.name));
        let zone = state.zones.iter().filter(inside).max_by_key(|zone| zone.name.len()).unwrap().id.clone();
        let id = state.fresh_id();
        let (name, kind, content) = (name.to_owned(), kind.to_owned(), content.to_owned());
        let record = FakeRecord { id: id.clone(), name, kind, content, ttl, comment: None };
        state.records.entry(zone).or_default().push(record);
        id
    }

    pub fn at(&self, name: &str, kind: &str) -> Vec<FakeRecord> {
        let state = self.state();
        let all = state.records.values().flatten().filter(|record| record.name == name && record.kind == kind);
        all.cloned().collect()
    }

    pub fn clear(&self, name: &str) {
        self.state().records.values_mut().for_each(|records| records.retain(|record| record.name != name));
    }
}

impl State {
    fn fresh_id(&mut self) -> String {
        self.last_id += 1;
        format!("{:032x}", self.last_id)
    }
}

/// What is wrong with a call: status, code, message.
type Wrong = (u16, u64, String);

fn answer(shared: &Mutex<State>, request: &Request) -> Response {
    let mut state = shared.lock().unwrap();
    let query: Vec<String> = request.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
    state.log.push(format!("{} {}?{}", request.method, request.path, query.join("&")));
    if let Some(scripted) = state.next.pop() {
        return scripted;
    }
    let date = "Sun, 22 Nov 2026 10:00:00 GMT";
    let response = match route(&mut state, request) {
        Ok(body) => Response::new(200, body.to_string()),
        Err((status, code, message)) => Response::new(status, refusal(code, &message).to_string()),
    };
    let silent = request.method != "GET" && std::mem::take(&mut state.drop_answer);
    Response { silent, ..response.with("date", date).with("ratelimit", "\"default\";r=1199;t=300") }
}

/// `{"result":null,"success":false,"errors":[{"code":81057,"message":"..."}],"messages":[]}`, as quoted in
/// aaPanel/aaPanel#112 and many other threads.
pub fn refusal(code: u64, message: &str) -> Value {
    let error = match code {
        // kubernetes-sigs/external-dns#3706: the reason stands in the chain of a general code.
        9300..=9312 => json!({ "code": 1004, "message": "DNS Validation Error",
            "error_chain": [{ "code": code, "message": message }] }),
        _ => json!({ "code": code, "message": message }),
    };
    json!({ "result": null, "success": false, "errors": [error], "messages": [] })
}

fn route(state: &mut State, request: &Request) -> Result<Value, Wrong> {
    let writing = request.method != "GET";
    authorize(request, writing)?;
    let meanwhile = if writing { std::mem::take(&mut state.meanwhile) } else { Vec::new() };
    for (name, kind, content) in meanwhile {
        let zone = state.zones.iter().find(|zone| name.ends_with(&zone.name)).unwrap().id.clone();
        let record = FakeRecord { id: state.fresh_id(), name, kind, content, ttl: 300, comment: None };
        state.records.entry(zone).or_default().push(record);
    }
    let path = request.path.strip_prefix("/client/v4/").ok_or_else(|| no_route(&request.path))?;
    let parts: Vec<&str> = path.split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["zones"]) => list_zones(state, request),
        (method, ["zones", zone, rest @ ..]) => {
            let zone = state.zones.iter().find(|known| known.id == *zone).cloned().ok_or_else(|| no_route(path))?;
            match (method, rest) {
                ("GET", ["dns_records"]) => list_records(state, &zone, request),
                ("POST", ["dns_records"]) => {
                    let body = parse(&request.body)?;
                    let mut records = state.records.get(&zone.id).cloned().unwrap_or_default();
                    let made = post(state, &zone, &mut records, &body)?;
                    state.records.insert(zone.id, records);
                    Ok(success(shown(&made), None))
                }
                ("POST", ["dns_records", "batch"]) => batch(state, &zone, &parse(&request.body)?),
                _ => Err(no_route(path)),
            }
        }
        _ => Err(no_route(path)),
    }
}

/// Missing: 9106. Malformed: 6003 with 6111. Unknown: 9109 "Invalid access token". No right to write: 10000. All four as
/// quoted in cloudflare/terraform-provider-cloudflare and external-dns threads on tokens; the statuses from there.
fn authorize(request: &Request, writing: bool) -> Result<(), Wrong> {
    let header = request.header("authorization").ok_or((
        400,
        9106,
        "Missing X-Auth-Key, X-Auth-Email or Authorization headers".to_owned(),
    ))?;
    let token = header.strip_prefix("Bearer ").filter(|token| token.len() >= 30);
    match token.ok_or((400, 6111, "Invalid format for Authorization header".to_owned()))? {
        TOKEN => Ok(()),
        READ_ONLY if !writing => Ok(()),
        READ_ONLY => Err((403, 10000, "Authentication error".into())),
        _ => Err((403, 9109, "Invalid access token".into())),
    }
}

fn no_route(path: &str) -> Wrong {
    (404, 7003, format!("Could not route to /{path}, perhaps your object identifier is invalid?"))
}

fn parse(body: &str) -> Result<Value, Wrong> {
    // timothymiller/cloudflare-ddns#206.
    serde_json::from_str(body).map_err(|_| (400, 9207, "Request body is invalid.".to_owned()))
}

fn success(result: Value, pages: Option<Value>) -> Value {
    json!({ "result": result, "success": true, "errors": [], "messages": [], "result_info": pages })
}

/// developers.cloudflare.com/api/resources/zones/methods/list: per_page is 5 to 50, 20 unless given.
fn list_zones(state: &State, request: &Request) -> Result<Value, Wrong> {
    let (page, per_page) = paging(request, 20, 50)?;
    let shown = |zone: &FakeZone| {
        let activated = (zone.status == "active").then_some("2024-01-02T00:00:00Z");
        json!({ "id": zone.id, "name": zone.name, "status": zone.status, "type": zone.kind, "paused": false,
            "activated_on": activated, "plan": { "id": "x", "legacy_id": zone.plan } })
    };
    let all: Vec<Value> = state.zones.iter().map(shown).collect();
    Ok(paged(&all, page, per_page))
}

/// developers.cloudflare.com/api/resources/dns/subresources/records/methods/list: per_page up to 5,000,000, 100 unless
/// given; `name.exact`, formerly `name`.
fn list_records(state: &State, zone: &FakeZone, request: &Request) -> Result<Value, Wrong> {
    let (page, per_page) = paging(request, 100, 5_000_000)?;
    let name = request.query("name.exact").or(request.query("name"));
    let fits = |record: &&FakeRecord| {
        name.is_none_or(|name| name == record.name) && request.query("type").is_none_or(|kind| kind == record.kind)
    };
    let records = state.records.get(&zone.id).map(Vec::as_slice).unwrap_or_default();
    let all: Vec<Value> = records.iter().filter(fits).map(shown).collect();
    Ok(paged(&all, page, per_page))
}

fn paging(request: &Request, usual: usize, most: usize) -> Result<(usize, usize), Wrong> {
    let number = |key, usual| request.query(key).map_or(Some(usual), |text| text.parse().ok());
    match (number("page", 1), number("per_page", usual)) {
        (Some(page @ 1..), Some(per_page)) if (1..=most).contains(&per_page) => Ok((page, per_page)),
        _ => Err((400, 1004, "Invalid list options: page or per_page".into())),
    }
}

fn paged(all: &[Value], page: usize, per_page: usize) -> Value {
    let slice: Vec<Value> = all.iter().skip((page - 1) * per_page).take(per_page).cloned().collect();
    let info = json!({ "page": page, "per_page": per_page, "count": slice.len(), "total_count": all.len(),
        "total_pages": all.len().div_ceil(per_page) });
    success(Value::Array(slice), Some(info))
}

fn shown(record: &FakeRecord) -> Value {
    let FakeRecord { id, name, kind, content, ttl, comment } = record;
    json!({ "id": id, "name": name, "type": kind, "content": content, "ttl": ttl, "comment": comment, "proxied": false,
        "proxiable": false, "settings": {}, "meta": {}, "tags": [] })
}

/// developers.cloudflare.com/api/resources/dns/subresources/records/methods/batch: deletes, patches, puts, posts, in this
/// order, in one transaction. At most 200 operations on Free, 3,500 otherwise ("batch record changes" in the docs; the
/// code of that refusal is not documented).
fn batch(state: &mut State, zone: &FakeZone, body: &Value) -> Result<Value, Wrong> {
    let list = |key: &str| body[key].as_array().cloned().unwrap_or_default();
    let (deletes, patches, puts, posts) = (list("deletes"), list("patches"), list("puts"), list("posts"));
    let operations = deletes.len() + patches.len() + puts.len() + posts.len();
    let most = if zone.plan == "free" { 200 } else { 3500 };
    if operations > most {
        return Err((400, 1004, format!("a batch holds at most {most} operations on this plan")));
    }
    let mut records = state.records.get(&zone.id).cloned().unwrap_or_default();
    for delete in &deletes {
        let place = find(&records, delete)?;
        records.remove(place);
    }
    for patch in patches.iter().chain(&puts) {
        let place = find(&records, patch)?;
        let mut record = records.remove(place);
        record.content = patch["content"].as_str().unwrap_or(&record.content).to_owned();
        record.ttl = patch["ttl"].as_u64().unwrap_or(record.ttl);
        check(zone, &records, &record)?;
        records.insert(place, record);
    }
    for body in &posts {
        post(state, zone, &mut records, body)?;
    }
    state.records.insert(zone.id.clone(), records);
    Ok(success(json!({ "deletes": deletes, "patches": patches, "puts": puts, "posts": posts }), None))
}

/// 81044 "Record does not exist.": cloudflare/cloudflare-go and terraform-provider-cloudflare threads on deletes.
fn find(records: &[FakeRecord], wanted: &Value) -> Result<usize, Wrong> {
    let found = records.iter().position(|record| Some(record.id.as_str()) == wanted["id"].as_str());
    found.ok_or((404, 81044, "Record does not exist.".into()))
}

fn post(state: &mut State, zone: &FakeZone, records: &mut Vec<FakeRecord>, body: &Value) -> Result<FakeRecord, Wrong> {
    // kubernetes-sigs/external-dns#3706, on the Free plan.
    let tags = body["tags"].as_array().map_or(0, Vec::len);
    if zone.plan == "free" && tags > 0 {
        return Err((400, 9300, format!("DNS record has {tags} tags, exceeding the quota of 0.")));
    }
    // developers.cloudflare.com/dns/manage-dns-records/reference/record-attributes: 100 characters on Free, 500 on others;
    // code and words from STRRL/cloudflare-tunnel-ingress-controller#139 and #168.
    let comment = body["comment"].as_str().map(str::to_owned);
    let longest = if zone.plan == "free" { 100 } else { 500 };
    if comment.as_ref().is_some_and(|comment| comment.chars().count() > longest) {
        let why = format!("DNS record comment exceeds the maximum length of {longest} characters.");
        return Err((400, 9313, why));
    }
    // A name outside of the zone gets the zone's name appended: seen in NewFuture/DDNS#21.
    let name = body["name"].as_str().unwrap_or_default().trim_end_matches('.').to_lowercase();
    // timothymiller/cloudflare-ddns#91: an empty name, which once meant the zone itself.
    if name.is_empty() {
        return Err((400, 9000, "DNS name is invalid.".into()));
    }
    let inside = name == zone.name || name.ends_with(&format!(".{}", zone.name));
    let name = if inside { name } else { format!("{name}.{}", zone.name) };
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let ttl = body["ttl"].as_u64().unwrap_or(1);
    let record = FakeRecord { id: state.fresh_id(), name, kind: text("type"), content: text("content"), ttl, comment };
    check(zone, records, &record)?;
    // "Record quota exceeded.": ZoneABC/ZoneABC#30. 200 records on Free zones since 2024-09-01, developers.cloudflare.com/dns
    // FAQ, and thunderbird/thunderbird-accounts#1060. No report gives its code, so clients have to go by the words.
    if records.len() >= zone.quota {
        return Err((400, 1004, "Record quota exceeded.".into()));
    }
    records.push(record.clone());
    Ok(record)
}

fn check(zone: &FakeZone, others: &[FakeRecord], record: &FakeRecord) -> Result<(), Wrong> {
    let at_name = || others.iter().filter(|other| other.name == record.name);
    // 9021: terraform-provider-cloudflare and lego threads on TTL; the range from the docs' page on TTL.
    if record.ttl != 1 && !(60..=86_400).contains(&record.ttl) {
        return Err((400, 9021, "Invalid TTL. Must be between 60 and 86,400 seconds, or 1 for Automatic.".into()));
    }
    // 81054 and 81053: "A CNAME record with that host already exists", "An A, AAAA, or CNAME record with that host
    // already exists", in many external-dns and terraform threads.
    if record.kind != "CNAME" && at_name().any(|other| other.kind == "CNAME") {
        return Err((400, 81054, "A CNAME record with that host already exists.".into()));
    }
    if record.kind == "CNAME" && at_name().next().is_some() {
        return Err((400, 81053, "An A, AAAA, or CNAME record with that host already exists.".into()));
    }
    if record.kind == "TXT" {
        // developers.cloudflare.com/dns/manage-dns-records/reference/dns-record-types: 4,096 octets on the wire, and
        // 8,192 characters for all of a name and type; the codes from cisagov/manage.get.gov#5244.
        if text_of(&record.content).as_bytes().len() > 4080 {
            return Err((400, 9015, "Record content exceeds the allowed length of 4096 wire format bytes.".into()));
        }
        let texts = at_name().filter(|other| other.kind == "TXT").map(|other| other.content.len()).sum::<usize>();
        if texts + record.content.len() > 8192 {
            return Err((400, 83011, "Combined content length of records with this name is too long.".into()));
        }
    }
    let same = |other: &FakeRecord| other.kind == record.kind && text_of(&other.content) == text_of(&record.content);
    if at_name().any(same) {
        // 81058 with these words; formerly 81057 "The record already exists." (NewFuture/DDNS#21, aaPanel/aaPanel#112).
        return Err((400, 81058, "An identical record already exists.".into()));
    }
    let _ = zone;
    Ok(())
}

fn text_of(content: &str) -> TxtText {
    let quoted = content.len() > 1 && content.starts_with('"') && content.ends_with('"');
    quoted.then(|| TxtText::from_quoted(content).ok()).flatten().unwrap_or_else(|| TxtText::from(content))
}
