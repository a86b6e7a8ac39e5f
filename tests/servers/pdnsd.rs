//! PowerDNS Authoritative Server with SQLite and its HTTP API.

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;

use super::{Running, TestZone, find, free_port};

/// A running pdns_server.
pub struct Pdns {
    running: Running,
    /// `http://127.0.0.1:PORT`
    pub api: String,
}

impl Pdns {
    pub const PROGRAM: &'static str = "pdns_server";
    pub const TOOL: &'static str = "pdnsutil";
    pub const KEY: &'static str = "canary-api-key-of-a-test";
    /// From Debian's pdns-backend-sqlite3.
    const SCHEMA: &'static str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";

    /// Whether the SQLite backend and its schema are there as well.
    pub fn programs() -> [&'static str; 3] {
        [Self::PROGRAM, Self::TOOL, "sqlite3"]
    }

    pub fn start(zones: &[TestZone]) -> Pdns {
        let api = std::cell::Cell::new(0);
        let running = Running::start(Self::PROGRAM, None, |directory, port, ready| {
            api.set(free_port());
            let (shown, api, key) = (directory.display(), api.get(), Self::KEY);
            let conf = format!(
                "launch=gsqlite3\ngsqlite3-database={shown}/pdns.sqlite\nlocal-address=127.0.0.1\nlocal-port={port}\n\
                 socket-dir={shown}\nwebserver=yes\nwebserver-address=127.0.0.1\nwebserver-port={api}\n\
                 webserver-allow-from=127.0.0.1\napi=yes\napi-key={key}\nloglevel=6\nwebserver-loglevel=normal\ncache-ttl=0\nquery-cache-ttl=0\n\
                 negquery-cache-ttl=0\nzone-cache-refresh-interval=0\nguardian=no\ndaemon=no\n"
            );
            fs::write(directory.join("pdns.conf"), conf).unwrap();
            run(Command::new("sqlite3").arg(directory.join("pdns.sqlite")).arg(format!(".read {}", Self::SCHEMA)));
            for zone in zones.iter().chain([ready]) {
                let file = directory.join(format!("{}.zone", zone.name));
                fs::write(&file, format!("$ORIGIN {}.\n{}", zone.name, zone.file_text())).unwrap();
                run(&mut util(directory, &["load-zone", &zone.name, &file.display().to_string()]));
            }
            vec![format!("--config-dir={shown}")]
        });
        Pdns { running, api: format!("http://127.0.0.1:{}", api.get()) }
    }

    /// Runs pdnsutil, which writes to the database behind the server's back.
    pub fn util(&self, arguments: &[&str]) {
        run(&mut util(self.running.directory(), arguments));
    }
}

fn util(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(find(Pdns::TOOL).unwrap());
    command.arg(format!("--config-dir={}", directory.display())).args(arguments);
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

impl Deref for Pdns {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}
