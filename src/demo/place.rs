//! Where the demonstration takes place: one directory that holds both hosts.
//!
//! ```text
//! <dir>/state/        the secure host: SQLite, sealed keys, the key of its manifests
//! <dir>/zone/         the fragment that the zone file provider writes, and that the name server serves
//! <dir>/outbox/       what travels to the mail host
//! <dir>/receipts/     what travels back
//! <dir>/mail/         the mail host: identity, keys, OpenDKIM's configuration and tables
//! ```

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use dkimctl_providers::zonefile::{self, ZoneFile};
use dkimctl_providers::{AtName, DnsProvider, Visibility, Zone};
use dkimctl_state::lifecycle::policy::Policy;
use dkimctl_state::lifecycle::settings::{Settings, SlotPattern, Slots};
use dkimctl_state::name::{Fqdn, Label};
use dkimctl_state::record::dkim::Algorithm;
use dkimctl_state::store::Identity;
use dkimctl_state::store::sqlite::{Options, SqliteStore};
use dkimctl_state::time::Time;

use super::DemoError;
use super::signer::{DemoSigner, Proof};
use crate::clock::Clock;
use crate::config::Observe;
use crate::dns::Dns;
use crate::embedded_dns::{self, Data, EmbeddedDns, Found};
use crate::files::{Access, Dir};
use crate::host::run::{receipt_key, run};
use crate::host::settings::HostSettings;
use crate::observe::{self, AuthoritativeSweeper};
use crate::post::{Mailbox, Outboxes};
use crate::sealing::host_identity;
use crate::secrets::signed::SigningKey;
use crate::signers::opendkim::reload::Reload;
use crate::signers::{self, opendkim};
use crate::vault::AgeVault;

pub const DOMAIN: &str = "example.com";
pub const HOST: &str = "mail";
const TTL: u32 = 3600;

/// A clock that is moved by hand.
#[derive(Debug, Clone)]
pub struct HandClock(Rc<Cell<Time>>);

impl Clock for HandClock {
    fn now(&self) -> Time {
        self.0.get()
    }
}

pub struct Place {
    dir: PathBuf,
    pub settings: Settings,
    pub clock: HandClock,
    pub vault: AgeVault,
    pub dns: Dns,
    pub sweeper: AuthoritativeSweeper,
    key: SigningKey,
    host: HostSettings,
    /// It ends when the demonstration does.
    _name_server: EmbeddedDns,
    servers: observe::Config,
}

impl Place {
    /// Makes the directory and the state in it.
    pub fn make(dir: &Path, start: Time) -> Result<(Place, SqliteStore), DemoError> {
        if dir.exists() {
            return Err(DemoError::Exists(dir.to_owned()));
        }
        let failed = |why: String| DemoError::Place { path: dir.to_owned(), why };
        let io = |error: std::io::Error| failed(error.to_string());
        fs::create_dir_all(dir).map_err(io)?;
        let dir = dir.canonicalize().map_err(io)?;
        for part in ["zone", "mail"] {
            fs::create_dir(dir.join(part)).map_err(io)?;
        }
        let (identity, recipient) = host_identity();
        let mail = Dir::open(&dir.join("mail")).map_err(|error| failed(error.to_string()))?;
        mail.create("identity.age", identity.as_bytes(), Access::mode(0o600)).map_err(|e| failed(e.to_string()))?;
        write_opendkim(&dir.join("mail")).map_err(io)?;

        let zone: Fqdn = DOMAIN.parse().expect("a domain");
        let fragment = dir.join("zone").join(format!("{DOMAIN}.zone"));
        fs::write(&fragment, "").map_err(io)?;
        let files = || zone_file(&zone, &fragment);
        let served = files();
        let origin = embedded_dns::Zone::new(zone.clone());
        let name_server = EmbeddedDns::start(vec![origin], move |name| found(&served, name)).map_err(io)?;
        let servers = observe::Config {
            nameservers: [(zone.clone(), vec![name_server.address()])].into(),
            resolvers: Vec::new(),
            ..observe::Config::default()
        };
        let provider: Label = "files".parse().expect("a label");
        let store = SqliteStore::create(&dir.join("state"), uuid::Uuid::new_v4(), &Options::read_write())?;
        let vault = AgeVault::open(&dir.join("state"), vec![recipient]).map_err(|error| failed(error.to_string()))?;
        let key = SigningKey::open_or_create(&dir.join("state/manifest.key")).map_err(|e| failed(e.to_string()))?;
        let place = Place {
            settings: settings(provider.clone()),
            host: host_settings(&dir, &key),
            dns: Dns::new([(provider, Box::new(files()) as Box<dyn DnsProvider>)].into()),
            sweeper: AuthoritativeSweeper::new(servers.clone()),
            clock: HandClock(Rc::new(Cell::new(start))),
            _name_server: name_server,
            dir,
            vault,
            key,
            servers,
        };
        Ok((place, store))
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    pub fn set_clock(&self, now: Time) {
        self.clock.0.set(now);
    }

    /// The way to the mail host, which is this machine: its side runs at once.
    pub fn outboxes(&self, state: &Identity) -> Outboxes<'_> {
        let receipts = receipt_key(&self.host.state).ok();
        let (host, clock, servers) = (self.host.clone(), self.clock.clone(), self.servers.clone());
        let act = move || {
            let signer = DemoSigner::open(&host, clock.now()).map_err(|error| error.to_string())?;
            let sweeper = AuthoritativeSweeper::new(servers.clone());
            run(&host, &signer, None, &sweeper, &clock, false).map(drop).map_err(|error| error.to_string())
        };
        let mailbox = Mailbox {
            outbox: self.host.outbox.clone(),
            receipts: self.host.receipts.clone(),
            receipt_key: receipts.map(|key| key.verify_key()),
            here: Some(Box::new(act)),
        };
        Outboxes {
            hosts: [(self.host.name.clone(), mailbox)].into(),
            lineage: state.lineage.to_string(),
            floor: state.serial,
            key: &self.key,
            vault: &self.vault,
            clock: &self.clock,
            complaints: RefCell::default(),
        }
    }

    /// Signs a message with what OpenDKIM's tables say now, and verifies it.
    pub fn prove(&self) -> Result<Proof, DemoError> {
        let failed = |why: String| DemoError::Place { path: self.dir.clone(), why };
        let signer = DemoSigner::open(&self.host, self.now()).map_err(|error| failed(error.to_string()))?;
        signer.prove(&self.settings.domain, &self.sweeper)
    }
}

fn settings(provider: Label) -> Settings {
    let slot = |text| SlotPattern::parse(text).expect("a selector");
    let slots = Slots { regular: vec![slot("s1"), slot("s2")], spare: Some(slot("s3")) };
    Settings {
        domain: DOMAIN.parse().expect("a domain"),
        slots: [(Algorithm::Rsa, slots)].into(),
        rsa_bits: 2048,
        ttl: TTL,
        providers: vec![provider],
        hosts: vec![HOST.parse().expect("a label")],
        policy: Policy::default(),
    }
}

fn host_settings(dir: &Path, key: &SigningKey) -> HostSettings {
    let mail = dir.join("mail");
    HostSettings {
        name: HOST.parse().expect("a label"),
        outbox: dir.join("outbox"),
        receipts: dir.join("receipts"),
        manifest_key: key.verify_key(),
        identity: mail.join("identity.age"),
        keys: mail.join("keys"),
        owner: None,
        mode: 0o400,
        state: mail.join("state"),
        signer: signers::Settings::OpenDkim(opendkim::Settings {
            conf: mail.join("opendkim.conf"),
            // The signer of the demonstration reads its tables for every message.
            reload: Reload::Command { argv: vec!["true".to_owned()], timeout: Duration::from_secs(5) },
            socket: None,
            client: crate::signers::milter::Client {
                host: "localhost".to_owned(),
                address: std::net::Ipv4Addr::LOCALHOST.into(),
                timeout: Duration::from_secs(5),
            },
            root: "/".into(),
            container: None,
        }),
        target: Default::default(),
        settle: Duration::ZERO,
        observe: Observe::default(),
        evidence: Default::default(),
    }
}

fn write_opendkim(mail: &Path) -> std::io::Result<()> {
    let at = |name: &str| mail.join(name).display().to_string();
    let conf = format!(
        "# What an OpenDKIM on this host would run with.\n\
         Mode s\n\
         Socket inet:8891@127.0.0.1\n\
         KeyTable file:{}\n\
         SigningTable refile:{}\n\
         # This directory may lie anywhere, and OpenDKIM trusts no key below a directory that others can write.\n\
         RequireSafeKeys no\n",
        at("KeyTable"),
        at("SigningTable"),
    );
    fs::write(mail.join("opendkim.conf"), conf)?;
    fs::write(mail.join("KeyTable"), "# name  domain:selector:path\n")?;
    fs::write(mail.join("SigningTable"), "# sender  key name\n")
}

fn zone_file(zone: &Fqdn, fragment: &Path) -> ZoneFile {
    ZoneFile::new(zonefile::Config {
        zones: vec![(zone.clone(), fragment.to_owned())],
        default_ttl: TTL,
        reload: Vec::new(),
        reload_timeout: Duration::from_secs(5),
    })
}

/// What the name server answers: what stands in the fragment now.
fn found(files: &ZoneFile, name: &Fqdn) -> Found {
    let zone = Zone { id: DOMAIN.to_owned(), name: DOMAIN.parse().expect("a domain"), visibility: Visibility::Public };
    match files.observe(&zone, std::slice::from_ref(name)).map(|mut seen| seen.pop()) {
        Ok(Some(AtName::Txt { ttl, entries })) => {
            Found::Records(entries.into_iter().map(|entry| (ttl, Data::txt(entry.text))).collect())
        }
        Ok(_) if name.as_str().ends_with(&format!("_domainkey.{DOMAIN}")) => Found::NoName,
        Ok(_) => Found::Records(Vec::new()),
        Err(_) => Found::Silent,
    }
}
