//! Unbound: the caching resolver that a verifier asks. Caches keep what they hold for as long as the TTLs say.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;

use super::Running;

/// A running unbound.
pub struct Unbound(Running);

impl Unbound {
    pub const PROGRAM: &'static str = "unbound";

    /// Resolves the zone by asking these authoritative servers, whichever answers faster.
    pub fn start(zone: &str, servers: &[SocketAddr]) -> Unbound {
        Unbound(Running::start(Self::PROGRAM, None, |directory, port, ready| {
            let mut conf = format!(
                "server:\n  directory: {directory:?}\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n\
                 \x20 do-daemonize: no\n  use-syslog: no\n  logfile: \"\"\n\
                 \x20 interface: 127.0.0.1@{port}\n  do-ip6: no\n  access-control: 127.0.0.0/8 allow\n\
                 \x20 do-not-query-localhost: no\n  module-config: \"iterator\"\n  num-threads: 1\n\
                 \x20 local-zone: \"{ready}.\" static\n",
                ready = ready.name,
            );
            for line in ready.records.lines() {
                let (name, rest) = line.split_once(' ').unwrap();
                writeln!(conf, "  local-data: '{name}.{}. {rest}'", ready.name).unwrap();
            }
            writeln!(conf, "stub-zone:\n  name: \"{zone}.\"").unwrap();
            for server in servers {
                writeln!(conf, "  stub-addr: {}@{}", server.ip(), server.port()).unwrap();
            }
            conf += "remote-control:\n  control-enable: no\n";
            let file = directory.join("unbound.conf");
            fs::write(&file, conf).unwrap();
            vec!["-d".into(), "-c".into(), file.display().to_string()]
        }))
    }
}

impl Deref for Unbound {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}
