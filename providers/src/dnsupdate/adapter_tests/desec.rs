//! deSEC's RRsets as its API has them (desec.readthedocs.io, "Retrieving and Creating DNS Records"; the refusals of
//! contents: desec-stack, api/desecapi/models/records.py and dns.py).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::door::{Handler, handler};
use super::hosts::{Bench, Raw, unquoted};
use super::rows::{ZONE, chunked};
use super::servers::http::{Request, Response};
use crate::DnsProvider;

#[derive(Clone)]
pub struct Desec(Arc<Mutex<State>>);

struct State {
    token: String,
    /// TTL and contents, by name and type.
    sets: BTreeMap<(String, String), (u32, Vec<String>)>,
    writes: u64,
}

const LEAST_TTL: u32 = 3600;

impl Desec {
    /// Every domain begins with its name servers.
    pub fn start(token: &str) -> Self {
        let servers = vec!["ns1.desec.io.".to_owned(), "ns2.desec.org.".to_owned()];
        let sets = BTreeMap::from([((String::new(), "NS".to_owned()), (3600, servers))]);
        Desec(Arc::new(Mutex::new(State { token: token.to_owned(), sets, writes: 0 })))
    }

    pub fn handler(&self) -> Handler {
        let fake = self.clone();
        handler(move |request| fake.0.lock().unwrap().answer(request))
    }
}

fn no(status: u16, detail: &str) -> Response {
    Response::new(status, json!({ "detail": detail }).to_string())
}

impl State {
    fn answer(&mut self, request: &Request) -> Response {
        if request.header("authorization") != Some(&format!("Token {}", self.token)) {
            return no(401, "Invalid token.");
        }
        let Some(rest) = request.path.strip_prefix(&format!("/api/v1/domains/{ZONE}/")) else {
            return no(404, "Not found.");
        };
        let parts: Vec<&str> = rest.split('/').collect();
        match (request.method.as_str(), &parts[..]) {
            ("GET", [""]) => Response::new(200, json!({ "name": ZONE, "minimum_ttl": LEAST_TTL }).to_string()),
            ("GET", ["rrsets", name, kind, ""]) => {
                let key = (at(name), (*kind).to_owned());
                match self.sets.get(&key) {
                    Some(_) => Response::new(200, self.shown(&key).to_string()),
                    None => no(404, "Not found."),
                }
            }
            ("PUT", ["rrsets", ""]) => self.put(request),
            // Whether it was there or not.
            ("DELETE", ["rrsets", name, kind, ""]) => {
                let gone = self.sets.remove(&(at(name), (*kind).to_owned()));
                self.writes += u64::from(gone.is_some());
                Response::new(204, "")
            }
            _ => no(405, "Method not allowed."),
        }
    }

    fn shown(&self, key: &(String, String)) -> Value {
        let (ttl, records) = &self.sets[key];
        let name = if key.0.is_empty() { format!("{ZONE}.") } else { format!("{}.{ZONE}.", key.0) };
        let when = "2026-01-01T00:00:00Z";
        json!({ "created": when, "touched": when, "domain": ZONE, "subname": key.0, "name": name, "type": key.1,
                "ttl": ttl, "records": records })
    }

    /// All sets of a call or none.
    fn put(&mut self, request: &Request) -> Response {
        let Ok(Value::Array(sets)) = serde_json::from_str(&request.body) else { return no(400, "not a list") };
        let mut changed = Vec::new();
        for set in &sets {
            let (Some(name), Some(kind)) = (set["subname"].as_str(), set["type"].as_str()) else {
                return no(400, "subname and type are needed");
            };
            let ttl = set["ttl"].as_u64().unwrap_or(0);
            if ttl < u64::from(LEAST_TTL) {
                let message = format!("Ensure this value is greater than or equal to {LEAST_TTL}.");
                return Response::new(400, json!([{ "ttl": [message] }]).to_string());
            }
            if name.chars().any(|c| c.is_ascii_uppercase()) {
                return no(400, "Subname can only use (lowercase) a-z, 0-9, ., -, and _");
            }
            let alias = |here: &str| here == "CNAME";
            if self.sets.keys().any(|(here, other)| here == name && alias(other) != alias(kind)) {
                return no(400, "RRset with conflicting type present: no other RRsets are allowed alongside CNAME.");
            }
            let contents = set["records"].as_array().cloned().unwrap_or_default();
            let mut records = Vec::new();
            for content in contents.iter().filter_map(Value::as_str) {
                let Some(canonical) = canonical(content) else {
                    return no(400, "Data for TXT records must be given using quotation marks.");
                };
                if records.contains(&canonical) {
                    return no(400, "Duplicate record content");
                }
                records.push(canonical);
            }
            changed.push(((name.to_owned(), kind.to_owned()), (u32::try_from(ttl).unwrap(), records)));
        }
        self.writes += 1;
        let keys: Vec<_> = changed.iter().map(|(key, _)| key.clone()).collect();
        self.sets.extend(changed);
        let shown: Vec<Value> = keys.iter().map(|key| self.shown(key)).collect();
        Response::new(200, json!(shown).to_string())
    }
}

fn at(name: &str) -> String {
    if name == "@" { String::new() } else { name.to_owned() }
}

/// Quoted strings, cut where the wire cuts them; `None` if something is not quoted.
fn canonical(content: &str) -> Option<String> {
    if !(content.starts_with('"') && content.ends_with('"') && content.len() > 1) {
        return None;
    }
    let cut = |string: &String| match string.is_empty() {
        true => vec![String::new()],
        false => chunked(string, 255),
    };
    let strings: Vec<String> = unquoted(content).iter().flat_map(cut).collect();
    Some(strings.iter().map(|string| format!("{string:?}")).collect::<Vec<_>>().join(" "))
}

impl Bench for Desec {
    fn host(&self) -> &dyn DnsProvider {
        unreachable!("the adapter is the host")
    }

    fn put(&self, name: &str, ttl: u32, records: &[Vec<String>]) {
        let quoted =
            |chunks: &Vec<String>| chunks.iter().map(|chunk| format!("{chunk:?}")).collect::<Vec<_>>().join(" ");
        let set = (ttl, records.iter().map(quoted).collect());
        self.0.lock().unwrap().sets.insert((name.to_owned(), "TXT".to_owned()), set);
    }

    fn alias(&self, name: &str, target: &str) {
        let set = (LEAST_TTL, vec![target.to_owned()]);
        self.0.lock().unwrap().sets.insert((name.to_owned(), "CNAME".to_owned()), set);
    }

    fn records(&self, name: &str) -> Raw {
        let state = self.0.lock().unwrap();
        let Some((ttl, records)) = state.sets.get(&(name.to_owned(), "TXT".to_owned())) else { return Vec::new() };
        records.iter().map(|content| (*ttl, unquoted(content))).collect()
    }

    fn writes(&self) -> u64 {
        self.0.lock().unwrap().writes
    }
}

/// Whoever does it wrong is refused.
pub fn refusals() {
    let fake = Desec::start("right");
    fake.alias("alias", "elsewhere.example.");
    let answer = fake.handler();
    let ask = |token: &str, method: &str, path: &str, body: Value| {
        let headers = vec![("authorization".into(), format!("Token {token}"))];
        let path = format!("/api/v1/domains/{path}");
        let (method, body) = (method.to_owned(), body.to_string());
        answer(&Request { method, path, headers, body, ..Request::default() }).status
    };
    let here = format!("{ZONE}/rrsets/");
    let set = |name: &str, ttl: u32, records: &[&str]| json!([{ "subname": name, "type": "TXT", "ttl": ttl, "records": records }]);
    assert_eq!(ask("wrong", "GET", &format!("{ZONE}/"), json!(null)), 401);
    assert_eq!(ask("right", "GET", "stranger.example/", json!(null)), 404);
    assert_eq!(ask("right", "GET", &format!("{here}new/TXT/"), json!(null)), 404);
    for wrong in [
        set("new", 300, &["\"x\""]),
        set("new", 3600, &["x"]),
        set("new", 3600, &["\"x\"", "\"x\""]),
        set("New", 3600, &["\"x\""]),
        set("alias", 3600, &["\"x\""]),
        json!({ "subname": "new" }),
    ] {
        assert_eq!(ask("right", "PUT", &here, wrong.clone()), 400, "{wrong}");
    }
    assert_eq!(fake.writes(), 0);
    assert_eq!(ask("right", "PUT", &here, set("new", 3600, &["\"x\""])), 200);
}
