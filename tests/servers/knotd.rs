//! Knot DNS.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;

use super::{Running, TestKey, TestZone};

/// A running knotd.
pub struct Knot(Running);

impl Knot {
    pub const PROGRAM: &'static str = "knotd";

    pub fn start(keys: &[TestKey], zones: &[TestZone]) -> Knot {
        Self::start_at(None, keys, zones)
    }

    /// At a port chosen beforehand ([`super::free_port`]), for a primary that is to notify it.
    pub fn start_at(port: Option<u16>, keys: &[TestKey], zones: &[TestZone]) -> Knot {
        Knot(Running::start(Self::PROGRAM, port, |directory, port, ready| {
            let storage = directory.display();
            let mut conf = format!(
                "server:\n  listen: 127.0.0.1@{port}\n  rundir: {storage}\n  pidfile: {storage}/pid\n\
                 log:\n- target: stderr\n  any: info\ndatabase:\n  storage: {storage}\n"
            );
            if !keys.is_empty() {
                conf += "key:\n";
            }
            for TestKey { name, algorithm, secret } in keys {
                writeln!(conf, "- id: {name}\n  algorithm: {algorithm}\n  secret: {secret}").unwrap();
            }
            let zones: Vec<&TestZone> = zones.iter().chain([ready]).collect();
            conf += &remotes(&zones);
            conf += "acl:\n- id: copy\n  address: 127.0.0.1\n  action: [transfer, notify]\n";
            let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
            // Whoever signs is only let in by a rule that names the key.
            if !keys.is_empty() {
                writeln!(conf, "- id: list\n  key: [{}]\n  action: transfer", names.join(", ")).unwrap();
            }
            for zone in zones.iter().filter(|_| !keys.is_empty()) {
                let policy = zone.policy.as_deref().unwrap_or_default();
                writeln!(conf, "- id: update-{}\n  key: [{}]\n  action: update", zone.name, names.join(", ")).unwrap();
                policy.lines().for_each(|line| writeln!(conf, "  {line}").unwrap());
            }
            writeln!(conf, "template:\n- id: default\n  storage: {storage}\n  zonefile-sync: -1\nzone:").unwrap();
            for zone in &zones {
                let update = if keys.is_empty() { String::new() } else { format!(", list, update-{}", zone.name) };
                let name = &zone.name;
                writeln!(conf, "- domain: {name}\n  file: {name}.zone\n  acl: [copy{update}]").unwrap();
                match &zone.copy_of {
                    Some(primary) => writeln!(conf, "  master: {}", remote(primary)).unwrap(),
                    None => fs::write(directory.join(format!("{name}.zone")), zone.file_text()).unwrap(),
                }
                let notify: Vec<_> = zone.notify.iter().map(remote).collect();
                if !notify.is_empty() {
                    writeln!(conf, "  notify: [{}]", notify.join(", ")).unwrap();
                }
            }
            let file = directory.join("knot.conf");
            fs::write(&file, conf).unwrap();
            vec!["-c".into(), file.display().to_string()]
        }))
    }
}

fn remote(address: &SocketAddr) -> String {
    format!("at-{}", address.port())
}

fn remotes(zones: &[&TestZone]) -> String {
    let mut all: Vec<_> = zones.iter().flat_map(|zone| zone.notify.iter().chain(&zone.copy_of)).collect();
    all.sort();
    all.dedup();
    let line = |peer: &&SocketAddr| format!("- id: {}\n  address: {}@{}\n", remote(peer), peer.ip(), peer.port());
    if all.is_empty() { String::new() } else { format!("remote:\n{}", all.iter().map(line).collect::<String>()) }
}

impl Deref for Knot {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}
