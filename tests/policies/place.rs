//! A domain with a BIND of its own, and where asked for a PowerDNS beside it, and the program that acts on it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dkimctl::sealing::host_identity;
use dkimctl_providers::rfc2136::{self, Key, Rfc2136};
use dkimctl_providers::wire::{self, Answer};
use dkimctl_providers::{DnsProvider, Guarded, Op, Outcome};
use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Key as SigningKey, Maxima};
use dkimctl_state::lifecycle::staging::course::Course;
use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, PublicKey};
use dkimctl_state::store::sqlite::{Options, SqliteStore};
use dkimctl_state::store::{Change, Event, NoteChange, Store, Wake};
use dkimctl_state::time::{Span, Time};
use hickory_proto::rr::{RData, RecordType};

use crate::servers::{Bind, Pdns, TestKey, TestZone, free_port, servers_or_skip};

pub struct Place {
    pub dir: tempfile::TempDir,
    pub dns: Bind,
    pub pdns: Option<Pdns>,
    key: TestKey,
    recipient: String,
}

impl Place {
    /// `None` without BIND. `records` are those of example.com; reports.test is ours as well.
    pub fn new(records: &str, reports: &str) -> Option<Place> {
        servers_or_skip(&[Bind::PROGRAM]).then(|| Place::made(records, reports, false))
    }

    /// The same zones at PowerDNS as well, which is written to first. `None` without both.
    pub fn at_two_providers(records: &str, reports: &str) -> Option<Place> {
        let [server, tool, sqlite] = Pdns::programs();
        servers_or_skip(&[Bind::PROGRAM, server, tool, sqlite]).then(|| Place::made(records, reports, true))
    }

    fn made(records: &str, reports: &str, two: bool) -> Place {
        let key = TestKey::new("dkimctl");
        let zones = [TestZone::new("example.com").with(records), TestZone::new("reports.test").with(reports)];
        let dns = Bind::start(std::slice::from_ref(&key), &zones);
        let pdns = two.then(|| Pdns::start(&zones));
        let dir = tempfile::tempdir().unwrap();
        let (_, recipient) = host_identity();
        let place = Place { dir, dns, pdns, key, recipient: recipient.to_string() };
        for (file, secret) in [("tsig", place.key.secret.as_str()), ("api-key", Pdns::KEY)] {
            let file = place.dir.path().join(file);
            fs::write(&file, secret).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let init = ["init", "--no-input", "--dir", ".", "--domain", "example.com", "--recipient", &place.recipient];
        place.run(&init);
        place.configure(place.dns.address);
        place
    }

    /// BIND is asked at `server`, which may be a proxy.
    pub fn configure(&self, server: SocketAddr) {
        let Place { recipient, key, dns, pdns, .. } = self;
        let (mut providers, mut second, mut nameservers) =
            ("\"lab\"".to_owned(), String::new(), format!("\"{}\"", dns.address));
        if let Some(pdns) = pdns {
            providers = format!("\"pdns\", {providers}");
            second =
                format!("[provider.pdns]\ntype = \"powerdns\"\nurl = \"{}\"\nsecret_file = \"api-key\"\n", pdns.api);
            nameservers = format!("{nameservers}, \"{}\"", pdns.address);
        }
        let config = format!(
            r#"[[domain]]
name = "example.com"
providers = [{providers}]
signer = "mail"
selectors = ["s1", "s2"]
ttl = 300
spf = {{ addresses = ["192.0.2.1"] }}
dmarc = {{ to_quarantine = {{ reporters = 3 }}, alarm = {{ messages = 50 }} }}
[provider.lab]
type = "rfc2136"
server = "{server}"
zones = ["example.com", "reports.test"]
key_name = "{}"
algorithm = "hmac-sha256"
secret_file = "tsig"
timeout = "5s"
{second}[signer.mail]
outbox = "outbox"
receipts = "receipts"
[secrets]
recipients = ["{recipient}"]
[observe]
nameservers = [{nameservers}]
"#,
            key.name
        );
        fs::write(self.dir.path().join("dkimctl.toml"), config).unwrap();
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dkimctl"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.dir.path()).current_dir(self.dir.path());
        command.args(arguments).stdin(std::process::Stdio::null()).output().unwrap()
    }

    /// What the program says, which must end well.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.ends(arguments, 0)
    }

    pub fn ends(&self, arguments: &[&str], code: i32) -> String {
        let output = self.output(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "dkimctl {arguments:?}:\n{said}");
        for secret in [&self.key.secret, Pdns::KEY] {
            assert!(!said.contains(secret), "a secret is told: {said}");
        }
        said
    }

    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.output(&[arguments, &["--json"]].concat());
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["schema"], 1, "{arguments:?}");
        value
    }

    /// With the name server as resolver.
    pub fn resolver(&self) -> String {
        self.dns.address.to_string()
    }

    /// The TXT records at a name as they are served, string by string, sorted.
    pub fn texts(&self, name: &str) -> Vec<Vec<Vec<u8>>> {
        self.texts_at(self.dns.address, name)
    }

    fn texts_at(&self, server: SocketAddr, name: &str) -> Vec<Vec<Vec<u8>>> {
        let mut texts: Vec<Vec<Vec<u8>>> = ask(server, name, RecordType::TXT)
            .iter()
            .filter_map(|data| match data {
                RData::TXT(txt) => Some(txt.txt_data.iter().map(|string| string.to_vec()).collect()),
                _ => None,
            })
            .collect();
        texts.sort();
        texts
    }

    /// The one text at a name that begins like this, and the others untouched: as they were in `foreign`.
    pub fn text(&self, name: &str, begins: &str, foreign: &[Vec<Vec<u8>>]) -> Option<String> {
        self.text_at(self.dns.address, name, begins, foreign)
    }

    /// The same at BIND and at PowerDNS.
    pub fn text_at_both(&self, name: &str, begins: &str, foreign: &[Vec<Vec<u8>>]) -> [String; 2] {
        let pdns = self.pdns.as_ref().expect("two providers").address;
        [self.dns.address, pdns].map(|server| self.text_at(server, name, begins, foreign).expect("a record"))
    }

    fn text_at(&self, server: SocketAddr, name: &str, begins: &str, foreign: &[Vec<Vec<u8>>]) -> Option<String> {
        let (ours, others): (Vec<_>, Vec<_>) =
            self.texts_at(server, name).into_iter().partition(|text| text.concat().starts_with(begins.as_bytes()));
        assert_eq!(others, foreign, "texts of others at {name}");
        assert!(ours.len() < 2, "{ours:?}");
        ours.first().map(|text| String::from_utf8(text.concat()).unwrap())
    }

    /// Rises with every change of the zone.
    pub fn serial(&self, zone: &str) -> u32 {
        let soa = |data: &RData| if let RData::SOA(soa) = data { Some(soa.serial) } else { None };
        ask(self.dns.address, zone, RecordType::SOA).iter().find_map(soa).unwrap()
    }

    /// Somebody else edits the zone.
    pub fn edit(&self, name: &str, old: Option<&str>, new: &str) {
        edit(self.dns.address, &self.key, name, old, new);
    }

    /// A way to the name server on which somebody else is a little faster, once: the edit is made when the next change
    /// comes by.
    pub fn overtaken(&self, name: &'static str, old: &'static str, new: &'static str) -> SocketAddr {
        let (server, key) = (self.dns.address, self.key.clone());
        proxy(server, move || edit(server, &key, name, Some(old), new))
    }

    pub fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.dir.path().join("state"), &Options::read_write()).unwrap()
    }

    /// So many days pass for the DMARC record: what is written down of it happened so much earlier.
    pub fn days_pass(&self, days: u64) {
        let (mut store, key) = (self.store(), "dmarc/example.com");
        let before = store.note(key).unwrap().unwrap();
        let mut course: Course = serde_json::from_str(&before).unwrap();
        let earlier = |at: &mut Time| *at = *at - Span::days(days);
        course.trail.iter_mut().for_each(|stood| earlier(&mut stood.since));
        course.log.iter_mut().for_each(|change| earlier(&mut change.at));
        course.senders.iter_mut().for_each(|sender| earlier(&mut sender.since));
        course.since.iter_mut().for_each(earlier);
        let value = serde_json::to_string(&course).unwrap();
        let note = NoteChange { key, expected: Some(&before), value: &value, wake: Wake::At(Some(Time::from_unix(0))) };
        store.commit_with_note(&[], note).unwrap();
    }

    /// Facts about keys, each at its time.
    pub fn happened(&self, facts: Vec<(Time, Fact)>) {
        let mut store = self.store();
        let domain: SigningDomain = "example.com".parse().unwrap();
        let loaded = store.load(&domain).unwrap();
        let mut ledger = loaded.ledger;
        let mut events = Vec::new();
        for (at, fact) in facts {
            ledger.record(&fact, at).unwrap();
            events.push(Event { at, actor: "test".to_owned(), fact });
        }
        store.commit(&[Change { ledger, revision: loaded.revision, wake: None, events }]).unwrap();
    }
}

fn ask(server: SocketAddr, name: &str, rtype: RecordType) -> Vec<RData> {
    let name: Fqdn = name.parse().unwrap();
    match wire::ask(server, &wire::to_name(&name), rtype, wire::Options::default()) {
        Answer::Records(records) => records.answers.into_iter().map(|record| record.data).collect(),
        _ => Vec::new(),
    }
}

/// From nothing to a key that may sign, in seconds from `at` on; the last fact is the intent to sign.
pub fn to_committed(n: u32, selector: &str, at: Time) -> Vec<(Time, Fact)> {
    let key = signing_key(n, selector, at);
    let fingerprint = key.fingerprint;
    let maxima = Maxima { ttl: 300, negative: Some(300), cname: 0 };
    let facts = vec![
        Fact::Sealed { key },
        Fact::Carried { selector: selector.parse().unwrap(), maxima },
        Fact::Written { key: fingerprint, provider: "lab".parse().unwrap() },
        Fact::SweptClean { key: fingerprint },
        Fact::SeenEverywhere { key: fingerprint, since: at },
        Fact::Delivered { key: fingerprint, host: "mail".parse().unwrap() },
        Fact::Committed { key: fingerprint },
    ];
    facts.into_iter().zip(0..).map(|(fact, second)| (at + Span::seconds(second), fact)).collect()
}

/// The host signs with it: it is active.
pub fn to_active(n: u32, selector: &str, at: Time) -> Vec<(Time, Fact)> {
    let key = signing_key(n, selector, at).fingerprint;
    let host = "mail".parse().unwrap();
    [Fact::Signing { key, host }, Fact::Activated { key }]
        .into_iter()
        .zip(10..)
        .map(|(fact, second)| (at + Span::seconds(second), fact))
        .collect()
}

fn signing_key(n: u32, selector: &str, at: Time) -> SigningKey {
    let public = PublicKey::from_bytes(n.to_be_bytes().repeat(74)[..294].to_vec());
    SigningKey {
        fingerprint: public.fingerprint(),
        selector: selector.parse().unwrap(),
        algorithm: Algorithm::Rsa,
        public,
        sealed: at,
        adopted_text: None,
        blob_sha256: "0".repeat(64),
        record_at: BTreeMap::new(),
        delivered: BTreeMap::new(),
        wiped: BTreeMap::new(),
        shredded: None,
    }
}

fn edit(server: SocketAddr, key: &TestKey, name: &str, old: Option<&str>, new: &str) {
    let name: Fqdn = name.parse().unwrap();
    let host = Rfc2136::new(rfc2136::Config {
        server: server.to_string(),
        zones: vec!["example.com".parse().unwrap(), "reports.test".parse().unwrap()],
        key: Key::new(key.name.parse().unwrap(), &key.algorithm, &key.secret).unwrap(),
        timeout: Duration::from_secs(5),
    });
    let zone = host.zones().unwrap().into_iter().find(|zone| name.is_in(&zone.name)).unwrap();
    let seen = host.observe(&zone, std::slice::from_ref(&name)).unwrap().remove(0);
    let op = match old {
        Some(old) => Op::Replace { name, old: old.into(), new: new.into(), ttl: 300 },
        None => Op::Add { name, text: new.into(), ttl: 300 },
    };
    let outcome = host.apply(&zone, &[Guarded { op, seen }]).remove(0);
    assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
}

/// Passes questions and changes on; `overtake` runs before the first change. Its threads end with the test program.
fn proxy(server: SocketAddr, overtake: impl FnOnce() + Send + 'static) -> SocketAddr {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let udp = UdpSocket::bind(address).unwrap();
    let tcp = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 65_535];
        while let Ok((length, client)) = udp.recv_from(&mut buffer) {
            let onward = UdpSocket::bind("127.0.0.1:0").unwrap();
            onward.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            onward.send_to(&buffer[..length], server).unwrap();
            if let Ok(length) = onward.recv(&mut buffer) {
                let _ = udp.send_to(&buffer[..length], client);
            }
        }
    });
    let armed = Arc::new(AtomicBool::new(true));
    let mut overtake = Some(overtake);
    std::thread::spawn(move || {
        for mut client in tcp.incoming().flatten() {
            let Ok(mut onward) = TcpStream::connect(server) else { return };
            while let Some(message) = read_message(&mut client) {
                const UPDATE: u8 = 5;
                if message[4] >> 3 & 15 == UPDATE && armed.swap(false, Ordering::SeqCst) {
                    overtake.take().expect("once")();
                }
                onward.write_all(&message).unwrap();
                let Some(answer) = read_message(&mut onward) else { break };
                client.write_all(&answer).unwrap();
            }
        }
    });
    address
}

/// One message with its length before it.
fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).ok()?;
    Some([length.as_slice(), &message].concat())
}
