//! DigitalOcean's records as its API has them, with its refusals (docs.digitalocean.com/reference/api, "Domain Records";
//! the limits of texts: DNSControl, providers/digitalocean/auditrecords.go, which an account of theirs verifies).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::door::{Handler, handler};
use super::hosts::{Bench, Raw};
use super::rows::{ZONE, chunked};
use super::servers::http::{Request, Response};
use crate::DnsProvider;

#[derive(Clone)]
pub struct DigitalOcean(Arc<Mutex<State>>);

struct State {
    token: String,
    next_id: u64,
    records: Vec<Record>,
    writes: u64,
    refuse_creates: VecDeque<u16>,
}

#[derive(Clone)]
struct Record {
    id: u64,
    kind: String,
    /// Relative to the zone.
    name: String,
    data: String,
    ttl: u32,
}

impl DigitalOcean {
    /// Every zone begins with its name servers.
    pub fn start(token: &str) -> Self {
        let state = State { token: token.into(), next_id: 1, records: vec![], writes: 0, refuse_creates: [].into() };
        let fake = DigitalOcean(Arc::new(Mutex::new(state)));
        fake.plant("@", "NS", "ns1.digitalocean.com", 1800);
        fake
    }

    pub fn handler(&self) -> Handler {
        let fake = self.clone();
        handler(move |request| fake.0.lock().unwrap().answer(request))
    }

    /// The next calls that create a record are answered with these.
    pub fn refuse_creates(&self, statuses: &[u16]) {
        self.0.lock().unwrap().refuse_creates = statuses.iter().copied().collect();
    }

    fn plant(&self, name: &str, kind: &str, data: &str, ttl: u32) {
        let mut state = self.0.lock().unwrap();
        let id = state.next_id;
        state.next_id += 1;
        state.records.push(Record { id, kind: kind.into(), name: name.into(), data: data.into(), ttl });
    }
}

fn no(status: u16, id: &str, message: &str) -> Response {
    Response::new(status, json!({ "id": id, "message": message }).to_string())
}

fn unprocessable(message: &str) -> Response {
    no(422, "unprocessable_entity", message)
}

impl State {
    fn answer(&mut self, request: &Request) -> Response {
        if request.header("authorization") != Some(&format!("Bearer {}", self.token)) {
            return no(401, "Unauthorized", "Unable to authenticate you");
        }
        let base = format!("/v2/domains/{ZONE}/records");
        let Some(rest) = request.path.strip_prefix(&base) else {
            return no(404, "not_found", "The resource you were accessing could not be found.");
        };
        match (request.method.as_str(), rest.strip_prefix('/').map(str::parse::<u64>)) {
            ("GET", None) => self.list(request),
            ("POST", None) => self.create(request),
            ("DELETE", Some(Ok(id))) => {
                let before = self.records.len();
                self.records.retain(|record| record.id != id);
                if self.records.len() == before {
                    return no(404, "not_found", "The resource you requested could not be found.");
                }
                self.writes += 1;
                Response::new(204, "")
            }
            _ => no(405, "method_not_allowed", "no such method"),
        }
    }

    /// `name` is a whole name, `per_page` at most 200, and `links.pages.next` is there as long as there is more.
    fn list(&self, request: &Request) -> Response {
        let number = |key, or| request.query(key).map_or(or, |value| value.parse().unwrap_or(0));
        let (per_page, page) = (number("per_page", 20usize), number("page", 1usize));
        if !(1..=200).contains(&per_page) || page == 0 {
            return unprocessable("per_page must be between 1 and 200");
        }
        if request.query("name").is_some_and(|name| name != ZONE && !name.ends_with(&format!(".{ZONE}"))) {
            return unprocessable("name must be fully qualified");
        }
        let whole = |record: &Record| if record.name == "@" { ZONE.into() } else { format!("{}.{ZONE}", record.name) };
        let wanted = |record: &&Record| {
            request.query("name").is_none_or(|name| name == whole(record))
                && request.query("type").is_none_or(|kind| kind == record.kind)
        };
        let found: Vec<&Record> = self.records.iter().filter(wanted).collect();
        let shown: Vec<Value> = found
            .iter()
            .skip((page - 1) * per_page)
            .take(per_page)
            .map(|Record { id, kind, name, data, ttl }| {
                json!({ "id": id, "type": kind, "name": name, "data": data, "ttl": ttl, "priority": null, "port": null,
                        "weight": null, "flags": null, "tag": null })
            })
            .collect();
        let next = json!({ "pages": { "next": format!("https://api.digitalocean.com/?page={}", page + 1) } });
        let links = if page * per_page < found.len() { next } else { json!({}) };
        let body = json!({ "domain_records": shown, "links": links, "meta": { "total": found.len() } });
        Response::new(200, body.to_string())
    }

    fn create(&mut self, request: &Request) -> Response {
        if let Some(status) = self.refuse_creates.pop_front() {
            // The crate waits as long as it is told to.
            return no(status, "refused", "refused by the test").with("retry-after", "0");
        }
        let Ok(body) = serde_json::from_str::<Value>(&request.body) else { return no(400, "bad_request", "no JSON") };
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let (kind, name, data, ttl) = (text("type"), text("name"), text("data"), body["ttl"].as_u64().unwrap_or(1800));
        if kind.is_empty() || name.is_empty() || data.is_empty() {
            return unprocessable("Name, type and data are needed.");
        }
        if ttl < 30 {
            return unprocessable("TTL must be greater than or equal to 30");
        }
        if kind == "TXT" && (data.contains('\\') || encoded(&data) > 509) {
            return unprocessable("Data is invalid for a TXT record.");
        }
        let beside = |record: &&Record| record.name == name && (record.kind == "CNAME") != (kind == "CNAME");
        if self.records.iter().any(|record| beside(&record)) {
            return unprocessable("CNAME records cannot share a name with other records");
        }
        let same = |record: &&Record| record.name == name && record.kind == kind && record.data == data;
        if self.records.iter().any(|record| same(&record)) {
            return unprocessable("Record already exists.");
        }
        let id = self.next_id;
        self.next_id += 1;
        self.writes += 1;
        let ttl = u32::try_from(ttl).unwrap();
        self.records.push(Record { id, kind, name, data, ttl });
        Response::new(201, json!({ "domain_record": { "id": id } }).to_string())
    }
}

/// Octets of a text as character-strings in quotes.
fn encoded(data: &str) -> usize {
    data.len() + 3 * data.len().div_ceil(255) - 1
}

impl Bench for DigitalOcean {
    fn host(&self) -> &dyn DnsProvider {
        unreachable!("the adapter is the host")
    }

    fn put(&self, name: &str, ttl: u32, records: &[Vec<String>]) {
        self.0.lock().unwrap().records.retain(|record| record.name != name);
        for chunks in records {
            self.plant(name, "TXT", &chunks.concat(), ttl);
        }
    }

    fn alias(&self, name: &str, target: &str) {
        self.plant(name, "CNAME", target, 300);
    }

    /// A text is one here; the chunks are those that its servers make.
    fn records(&self, name: &str) -> Raw {
        let name = name.strip_suffix(&format!(".{ZONE}")).unwrap_or(name);
        let state = self.0.lock().unwrap();
        let here = state.records.iter().filter(|record| record.name == name && record.kind == "TXT");
        here.map(|record| (record.ttl, chunked(&record.data, 255))).collect()
    }

    fn writes(&self) -> u64 {
        self.0.lock().unwrap().writes
    }
}

/// Whoever does it wrong is refused.
pub fn refusals() {
    let fake = DigitalOcean::start("right");
    fake.plant("alias", "CNAME", "elsewhere.example.", 300);
    fake.plant("taken", "TXT", "x", 300);
    let answer = fake.handler();
    let ask = |token: &str, method: &str, path: &str, body: Value| {
        let headers = vec![("authorization".into(), format!("Bearer {token}"))];
        let path = format!("/v2/domains/{path}");
        let (method, body) = (method.to_owned(), body.to_string());
        answer(&Request { method, path, headers, body, ..Request::default() }).status
    };
    let here = format!("{ZONE}/records");
    let record = |name: &str, data: &str, ttl: u32| json!({ "type": "TXT", "name": name, "data": data, "ttl": ttl });
    assert_eq!(ask("wrong", "GET", &here, json!(null)), 401);
    assert_eq!(ask("right", "GET", "stranger.example/records", json!(null)), 404);
    assert_eq!(ask("right", "DELETE", &format!("{here}/99"), json!(null)), 404);
    for wrong in [
        record("new", "x", 29),
        record("new", &"x".repeat(600), 300),
        record("new", "a\\b", 300),
        record("alias", "x", 300),
        record("taken", "x", 300),
        record("", "x", 300),
    ] {
        assert_eq!(ask("right", "POST", &here, wrong.clone()), 422, "{wrong}");
    }
    assert_eq!(fake.writes(), 0);
    assert_eq!(ask("right", "POST", &here, record("new", "x", 300)), 201);
}
