//! The hosts of the table, each with a way to its records that does not lead through the provider.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dkimctl_providers::cloudflare::{self, Cloudflare};
use dkimctl_providers::memory::Memory;
use dkimctl_providers::pace::Timer;
use dkimctl_providers::powerdns::{self, PowerDns};
use dkimctl_providers::rfc2136::{self, Key, Rfc2136};
use dkimctl_providers::route53::{self, Credentials, Route53};
use dkimctl_providers::wire::{self, Answer};
use dkimctl_providers::zonefile::ZoneFile;
use dkimctl_providers::{AtName, DnsProvider, Entry, Secret};
use dkimctl_state::record::txt::TxtText;
use hickory_proto::rr::{Name, RData, RecordType};

use super::rows::{ZONE, fqdn, strings};
use super::servers::emulators::Emulator;
use super::servers::{CloudflareFake, Pdns, Route53Fake, TestKey, cloudflare_fake, route53_fake};

pub fn key() -> TestKey {
    TestKey::new("test-key")
}

pub fn config_at(server: &str, key: &TestKey) -> rfc2136::Config {
    rfc2136::Config {
        server: server.to_owned(),
        zones: vec![ZONE.parse().unwrap()],
        key: Key::new(key.name.parse().unwrap(), &key.algorithm, &key.secret).unwrap(),
        timeout: Duration::from_secs(3),
    }
}

pub fn rfc2136_at(server: &str, key: &TestKey) -> Rfc2136 {
    Rfc2136::new(config_at(server, key))
}

pub fn powerdns_config(api: &str) -> powerdns::Config {
    let (url, server, key) = (api.to_owned(), "localhost".to_owned(), Secret::new(Pdns::KEY));
    powerdns::Config { url, server, key, timeout: Duration::from_secs(5) }
}

pub fn powerdns_at(api: &str) -> PowerDns {
    PowerDns::new(powerdns_config(api)).unwrap()
}

/// At the fake, without its waits.
pub fn cloudflare_at(fake: &CloudflareFake, timer: &FakeTimer) -> Cloudflare {
    let config = cloudflare::Config { api: fake.api(), ..cloudflare::Config::new(Secret::new(cloudflare_fake::TOKEN)) };
    Cloudflare::with_timer(config, Box::new(timer.clone())).unwrap()
}

/// At the fake or an emulator, without its waits.
pub fn route53_at(endpoint: &str, access_key: &str) -> Route53 {
    let config = route53::Config {
        endpoint: Some(endpoint.to_owned()),
        credentials: Some(Credentials::new(access_key, route53_fake::SECRET_KEY, None, None, "test")),
        first_backoff: Some(Duration::from_millis(1)),
        ..route53::Config::default()
    };
    Route53::with_timer(config, Box::new(FakeTimer::default())).unwrap()
}

/// A clock that stands still but for the sleeps, and keeps them, in seconds.
#[derive(Debug, Clone, Default)]
pub struct FakeTimer(Arc<Mutex<(Duration, Vec<u64>)>>);

impl FakeTimer {
    pub fn slept(&self) -> Vec<u64> {
        self.0.lock().unwrap().1.clone()
    }
}

impl Timer for FakeTimer {
    fn now(&self) -> Duration {
        self.0.lock().unwrap().0
    }

    fn sleep(&self, time: Duration) {
        let mut inner = self.0.lock().unwrap();
        inner.0 += time;
        inner.1.push(time.as_secs());
    }
}

/// The TXT records of a name: TTL and chunks.
pub type Raw = Vec<(u32, Vec<String>)>;

/// A host, and a way to its records that does not lead through the provider.
pub trait Bench {
    fn host(&self) -> &dyn DnsProvider;
    /// Replaces whatever stands at `name` (relative to the zone, `*` allowed).
    fn put(&self, name: &str, ttl: u32, records: &[Vec<String>]);
    fn alias(&self, name: &str, target: &str);
    fn records(&self, name: &str) -> Raw;
    /// Changes with every write by the provider.
    fn writes(&self) -> u64;

    /// The table's TTLs as this host takes them.
    fn ttl(&self, ttl: u32) -> u32 {
        ttl
    }
}

pub struct MemoryBench(pub Memory);

impl Bench for MemoryBench {
    fn host(&self) -> &dyn DnsProvider {
        &self.0
    }

    fn put(&self, name: &str, ttl: u32, records: &[Vec<String>]) {
        let entries = records.iter().map(|chunks| Entry::from_chunks(chunks.iter().map(|c| c.as_bytes()))).collect();
        self.0.edit(&fqdn(name), AtName::Txt { ttl, entries });
    }

    fn alias(&self, name: &str, target: &str) {
        self.0.edit(&fqdn(name), AtName::Cname { target: target.parse().unwrap(), ttl: 300 });
    }

    fn records(&self, name: &str) -> Raw {
        match self.0.at(&fqdn(name)) {
            AtName::Txt { ttl, entries } => entries.iter().map(|entry| (ttl, strings(&entry.raw))).collect(),
            _ => Vec::new(),
        }
    }

    fn writes(&self) -> u64 {
        self.0.calls().writes
    }
}

pub struct FileBench {
    pub host: ZoneFile,
    pub path: PathBuf,
}

impl Bench for FileBench {
    fn host(&self) -> &dyn DnsProvider {
        &self.host
    }

    fn put(&self, name: &str, ttl: u32, records: &[Vec<String>]) {
        let text = std::fs::read_to_string(&self.path).unwrap();
        let owner = format!("{name}.{ZONE}. ");
        let mut kept: String = text.split_inclusive('\n').filter(|line| !line.starts_with(&owner)).collect();
        for chunks in records {
            let quoted: Vec<_> = chunks.iter().map(|chunk| format!("{chunk:?}")).collect();
            kept += &format!("{owner}{ttl} IN TXT ( {} )\n", quoted.join("\n  "));
        }
        std::fs::write(&self.path, kept).unwrap();
    }

    fn alias(&self, name: &str, target: &str) {
        let mut text = std::fs::read_to_string(&self.path).unwrap();
        text += &format!("{name}.{ZONE}. 300 CNAME {target}\n");
        std::fs::write(&self.path, text).unwrap();
    }

    /// Through the provider after all: there is no second reader of zone files here. Its own tests hold it to account.
    fn records(&self, name: &str) -> Raw {
        let zone = self.host.zones().unwrap().remove(0);
        match self.host.observe(&zone, &[fqdn(name)]).unwrap().remove(0) {
            AtName::Txt { ttl, entries } => entries.iter().map(|entry| (ttl, strings(&entry.raw))).collect(),
            _ => Vec::new(),
        }
    }

    fn writes(&self) -> u64 {
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&self.path).unwrap())
    }
}

pub struct UpdateBench {
    pub host: Rfc2136,
    pub server: SocketAddr,
}

impl UpdateBench {
    pub fn nsupdate(&self, commands: &str) {
        let TestKey { name, algorithm, secret } = key();
        let mut child = Command::new("nsupdate")
            .args(["-y", &format!("{algorithm}:{name}:{secret}")])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (ip, port) = (self.server.ip(), self.server.port());
        let script = format!("server {ip} {port}\nzone {ZONE}\n{commands}send\n");
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{script}");
    }
}

impl Bench for UpdateBench {
    fn host(&self) -> &dyn DnsProvider {
        &self.host
    }

    fn put(&self, name: &str, ttl: u32, records: &[Vec<String>]) {
        let mut commands = format!("update delete {name}.{ZONE}. TXT\n");
        for chunks in records {
            let quoted: Vec<_> = chunks.iter().map(|chunk| format!("{chunk:?}")).collect();
            commands += &format!("update add {name}.{ZONE}. {ttl} TXT {}\n", quoted.join(" "));
        }
        self.nsupdate(&commands);
    }

    fn alias(&self, name: &str, target: &str) {
        self.nsupdate(&format!("update add {name}.{ZONE}. 300 CNAME {target}\n"));
    }

    fn records(&self, name: &str) -> Raw {
        served(self.server, name)
    }

    fn writes(&self) -> u64 {
        self.host.messages_sent()
    }
}

/// The zone's serial: servers raise it with every change.
pub fn serial(server: SocketAddr) -> u64 {
    let zone = Name::from_ascii(format!("{ZONE}.")).unwrap();
    match wire::ask(server, &zone, RecordType::SOA, wire::Options::default()) {
        Answer::Records(records) => match &records.answers[0].data {
            RData::SOA(soa) => soa.serial.into(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// What a name server says to a plain question.
fn served(server: SocketAddr, name: &str) -> Raw {
    let name = Name::from_ascii(format!("{name}.{ZONE}.")).unwrap();
    match wire::ask(server, &name, RecordType::TXT, wire::Options::default()) {
        Answer::Records(records) => {
            let raw = |data: &RData| match data {
                RData::TXT(txt) => txt.txt_data.iter().map(|c| String::from_utf8_lossy(c).into_owned()).collect(),
                other => vec![other.to_string()],
            };
            records.answers.iter().map(|record| (record.ttl, raw(&record.data))).collect()
        }
        Answer::NxDomain(_) | Answer::NoData(_) => Vec::new(),
        other => panic!("{name}: {other:?}"),
    }
}

pub struct PdnsBench {
    pub host: PowerDns,
    pub server: Pdns,
}

impl Bench for PdnsBench {
    fn host(&self) -> &dyn DnsProvider {
        &self.host
    }

    fn put(&self, name: &str, ttl: u32, records: &[Vec<String>]) {
        let quoted: Vec<String> = records
            .iter()
            .map(|chunks| chunks.iter().map(|chunk| format!("{chunk:?}")).collect::<Vec<_>>().join(" "))
            .collect();
        let ttl = ttl.to_string();
        let mut arguments = vec!["replace-rrset", ZONE, name, "TXT", &ttl];
        arguments.extend(quoted.iter().map(String::as_str));
        self.server.util(&arguments);
    }

    fn alias(&self, name: &str, target: &str) {
        self.server.util(&["add-record", ZONE, name, "CNAME", "300", target]);
    }

    fn records(&self, name: &str) -> Raw {
        served(self.server.address, name)
    }

    fn writes(&self) -> u64 {
        serial(self.server.address)
    }
}

pub struct CloudflareBench {
    pub host: Cloudflare,
    pub fake: CloudflareFake,
}

impl Bench for CloudflareBench {
    fn host(&self) -> &dyn DnsProvider {
        &self.host
    }

    fn put(&self, name: &str, ttl: u32, records: &[Vec<String>]) {
        let name = format!("{name}.{ZONE}");
        self.fake.clear(&name);
        for chunks in records {
            let quoted: Vec<_> = chunks.iter().map(|chunk| format!("{chunk:?}")).collect();
            self.fake.plant(&name, "TXT", &quoted.join(" "), ttl.into());
        }
    }

    fn alias(&self, name: &str, target: &str) {
        self.fake.plant(&format!("{name}.{ZONE}"), "CNAME", target.trim_end_matches('.'), 300);
    }

    fn records(&self, name: &str) -> Raw {
        let all = self.fake.at(&format!("{name}.{ZONE}"), "TXT");
        all.into_iter().map(|record| (u32::try_from(record.ttl).unwrap(), unquoted(&record.content))).collect()
    }

    fn writes(&self) -> u64 {
        self.fake.writes() as u64
    }
}

pub struct Route53Bench {
    pub host: Route53,
    pub fake: Route53Fake,
}

impl Bench for Route53Bench {
    fn host(&self) -> &dyn DnsProvider {
        &self.host
    }

    fn put(&self, name: &str, ttl: u32, records: &[Vec<String>]) {
        let quoted = |chunks: &Vec<String>| chunks.iter().map(|c| format!("{c:?}")).collect::<Vec<_>>().join(" ");
        let (name, values) = (format!("{name}.{ZONE}."), records.iter().map(quoted).collect());
        let (kind, ttl) = ("TXT".into(), Some(ttl.into()));
        self.fake.plant(route53_fake::FakeSet { name, kind, ttl, values, ..Default::default() });
    }

    fn alias(&self, name: &str, target: &str) {
        let (name, values) = (format!("{name}.{ZONE}."), vec![target.to_owned()]);
        let (kind, ttl) = ("CNAME".into(), Some(300));
        self.fake.plant(route53_fake::FakeSet { name, kind, ttl, values, ..Default::default() });
    }

    fn records(&self, name: &str) -> Raw {
        let sets = self.fake.at(&format!("{name}.{ZONE}."), "TXT");
        let raw = |value: &String| strings(&route53_fake::strings(value).unwrap());
        let set = |set: &route53_fake::FakeSet| {
            let ttl = u32::try_from(set.ttl.unwrap()).unwrap();
            set.values.iter().map(|value| (ttl, raw(value))).collect::<Vec<_>>()
        };
        sets.iter().flat_map(set).collect()
    }

    fn writes(&self) -> u64 {
        self.fake.writes() as u64
    }
}

pub struct EmulatorBench {
    pub host: Route53,
    pub emulator: Emulator,
    /// The zone's id there.
    pub zone: String,
}

impl EmulatorBench {
    fn change(&self, kind: &str, name: &str, ttl: u32, values: &[String]) {
        let value = |v: &String| format!("<ResourceRecord><Value>{}</Value></ResourceRecord>", route53_fake::escape(v));
        let values: String = values.iter().map(value).collect();
        let body = format!(
            "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes>\
             <Change><Action>UPSERT</Action><ResourceRecordSet><Name>{name}.{ZONE}.</Name><Type>{kind}</Type><TTL>{ttl}\
             </TTL><ResourceRecords>{values}</ResourceRecords></ResourceRecordSet></Change></Changes></ChangeBatch>\
             </ChangeResourceRecordSetsRequest>"
        );
        self.emulator.raw("POST", &format!("hostedzone/{}/rrset/", self.zone), &body);
    }

    fn sets(&self) -> Vec<String> {
        let path = format!("hostedzone/{}/rrset?maxitems=300", self.zone);
        let answer = self.emulator.raw("GET", &path, "");
        route53_fake::elements(&answer, "ResourceRecordSet").into_iter().map(str::to_owned).collect()
    }
}

impl Bench for EmulatorBench {
    fn host(&self) -> &dyn DnsProvider {
        &self.host
    }

    fn put(&self, name: &str, ttl: u32, records: &[Vec<String>]) {
        let quoted = |chunks: &Vec<String>| chunks.iter().map(|c| format!("{c:?}")).collect::<Vec<_>>().join(" ");
        self.change("TXT", name, ttl, &records.iter().map(quoted).collect::<Vec<_>>());
    }

    fn alias(&self, name: &str, target: &str) {
        self.change("CNAME", name, 300, &[target.to_owned()]);
    }

    fn records(&self, name: &str) -> Raw {
        let sets = self.sets();
        let named = format!("<Name>{name}.{ZONE}.</Name>");
        let of_name = sets.iter().filter(|set| set.contains(&named) && set.contains("<Type>TXT</Type>"));
        let values = |set: &String| {
            let ttl = route53_fake::elements(set, "TTL")[0].parse().unwrap();
            let raw = |v: &str| strings(&route53_fake::strings(&route53_fake::unescape(v)).unwrap());
            route53_fake::elements(set, "Value").into_iter().map(|v| (ttl, raw(v))).collect::<Vec<_>>()
        };
        of_name.flat_map(values).collect()
    }

    /// What stands in the whole zone, as a number.
    fn writes(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.sets().hash(&mut hasher);
        hasher.finish()
    }
}

/// The character-strings of a presentation form.
pub fn unquoted(content: &str) -> Vec<String> {
    let mut strings = Vec::new();
    let mut rest = content;
    while let Some(start) = rest.find('"') {
        let inside = &rest[start + 1..];
        let mut escaped = false;
        let end = inside.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.unwrap();
        let string = TxtText::from_quoted(&format!("\"{}\"", &inside[..end])).unwrap();
        strings.push(string.to_str_lossy().into_owned());
        rest = &inside[end + 1..];
    }
    strings
}
