//! BIND.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;

use super::{Running, TestKey, TestZone};

/// A running named.
pub struct Bind(Running);

impl Bind {
    pub const PROGRAM: &'static str = "named";

    pub fn start(keys: &[TestKey], zones: &[TestZone]) -> Bind {
        Self::start_at(None, keys, zones)
    }

    /// At a port chosen beforehand ([`super::free_port`]), for a primary that is to notify it.
    pub fn start_at(port: Option<u16>, keys: &[TestKey], zones: &[TestZone]) -> Bind {
        Self::start_on(port.map(|port| SocketAddr::from(([127, 0, 0, 1], port))), keys, zones)
    }

    /// At an address of its own.
    pub fn start_on(place: Option<SocketAddr>, keys: &[TestKey], zones: &[TestZone]) -> Bind {
        Bind(Running::start_on(Self::PROGRAM, place, |directory, address, ready| {
            let (ip, port) = (address.ip(), address.port());
            let mut conf = format!(
                "options {{ directory {directory:?}; listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }};\n\
                 pid-file none; session-keyfile none; recursion no; dnssec-validation no; empty-zones-enable no;\n\
                 allow-transfer {{ any; }}; notify explicit; minimal-responses yes; transfer-source 127.0.0.1; }};\n\
                 controls {{ }};\n"
            );
            for TestKey { name, algorithm, secret } in keys {
                writeln!(conf, "key {name:?} {{ algorithm {algorithm}; secret {secret:?}; }};").unwrap();
            }
            for zone in zones.iter().chain([ready]) {
                conf += &zone_statement(zone, keys);
                if zone.copy_of.is_none() {
                    fs::write(directory.join(format!("{}.zone", zone.name)), zone.file_text()).unwrap();
                }
            }
            let file = directory.join("named.conf");
            fs::write(&file, conf).unwrap();
            ["-g", "-4", "-n", "1", "-c", &file.display().to_string()].map(String::from).to_vec()
        }))
    }
}

fn zone_statement(zone: &TestZone, keys: &[TestKey]) -> String {
    let name = &zone.name;
    let peer = |address: &SocketAddr| format!("{} port {};", address.ip(), address.port());
    let mut statement = format!("zone {name:?} {{ file \"{name}.zone\"; ");
    match &zone.copy_of {
        Some(primary) => write!(statement, "type secondary; primaries {{ {} }};", peer(primary)).unwrap(),
        None => {
            let any_key: String = keys.iter().map(|key| format!("key {:?}; ", key.name)).collect();
            let update = match &zone.policy {
                Some(policy) => format!("update-policy {{ {policy} }};"),
                None if keys.is_empty() => String::new(),
                None => format!("allow-update {{ {any_key}}};"),
            };
            // A zone may begin at `_domainkey`, where no host's name can lie.
            write!(statement, "type primary; check-names ignore; {update}").unwrap();
        }
    }
    let notify: String = zone.notify.iter().map(peer).collect();
    writeln!(statement, " also-notify {{ {notify} }}; }};").unwrap();
    statement
}

impl Deref for Bind {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}
