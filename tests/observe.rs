//! The sweep against real servers: a secondary that lags, and a delegation that nobody serves.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use dkimctl::observe::{AuthoritativeSweeper, Config, Families, Sweeper};
use dkimctl_providers::rfc2136::{self, Key, Rfc2136};
use dkimctl_providers::wire::Options;
use dkimctl_providers::{AtName, DnsProvider, Guarded, Op, Outcome};
use dkimctl_state::lifecycle::seen::Answer;
use dkimctl_state::time::Time;

mod servers;

use servers::{Bind, Knot, TestKey, TestZone, free_port, servers_or_skip};

const NAME: &str = "s1._domainkey.example.com";

fn options() -> Options {
    Options { timeout: Duration::from_millis(500), ..Options::default() }
}

fn at(servers: &[SocketAddr]) -> Config {
    let nameservers = [("example.com".parse().unwrap(), servers.to_vec())].into();
    Config { nameservers, resolvers: vec![], options: options(), ..Config::default() }
}

fn publish(server: SocketAddr, key: &TestKey) {
    let host = Rfc2136::new(rfc2136::Config {
        server: server.to_string(),
        zones: vec!["example.com".parse().unwrap()],
        key: Key::new(key.name.parse().unwrap(), &key.algorithm, &key.secret).unwrap(),
        timeout: Duration::from_secs(3),
    });
    let zone = host.zones().unwrap().remove(0);
    let op = Op::Add { name: NAME.parse().unwrap(), text: "v=DKIM1; p=A".into(), ttl: 300 };
    assert_eq!(host.apply(&zone, &[Guarded { op, seen: AtName::Absent }]), [Outcome::Applied(None)]);
}

#[test]
fn a_secondary_that_was_not_told_is_seen_to_lag() {
    if !servers_or_skip(&[Bind::PROGRAM, Knot::PROGRAM]) {
        return;
    }
    let key = TestKey::new("k");
    let told_port = free_port();
    let mut zone = TestZone::new("example.com");
    (zone.soa_ttl, zone.soa_minimum) = (900, 120);
    zone.notify = vec![SocketAddr::from(([127, 0, 0, 1], told_port))];
    let primary = Bind::start(std::slice::from_ref(&key), std::slice::from_ref(&zone));
    let copy = TestZone::new("example.com").copy_of(primary.address);
    let lagging = Knot::start(&[], std::slice::from_ref(&copy));
    let told = Knot::start_at(Some(told_port), &[], &[copy]);
    let sweep = || {
        let servers = [primary.address, told.address, lagging.address];
        AuthoritativeSweeper::new(at(&servers)).sweep(&[NAME.parse().unwrap()], Time::from_unix(0)).remove(0)
    };
    let answers = || sweep().answers.into_iter().map(|answer| answer.answer).collect::<Vec<_>>();

    // All have the zone before anything is published.
    wait_for(|| answers().iter().all(|answer| *answer == Answer::Absent));
    publish(primary.address, &key);
    let there = Answer::Txt { ttl: 300, texts: vec!["v=DKIM1; p=A".into()] };
    wait_for(|| answers()[1] == there);
    assert_eq!(answers(), [there.clone(), there, Answer::Absent]);
    let last = sweep();
    assert_eq!(last.answers[2].server, lagging.address.to_string());
    assert_eq!((last.negative_ttl, last.cname), (Some(120), None));
}

/// Asks again until it is so; a server needs a moment to copy a zone.
fn wait_for(so: impl Fn() -> bool) {
    for _ in 0..200 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it did not come to be so within ten seconds");
}

/// `_domainkey` is delegated (a real referral) to a server that does not know of it: unknown, never absent.
#[test]
fn a_lame_delegation_is_unknown_and_named() {
    if !servers_or_skip(&[Bind::PROGRAM, "unbound"]) {
        return;
    }
    let zone = TestZone::new("example.com").with("_domainkey NS ns.other\nns.other A 127.0.0.1");
    let server = Bind::start(&[], &[zone]);
    let resolver = Resolver::start("example.com", server.address);
    let config = Config {
        nameservers: Default::default(),
        servers: vec![],
        resolvers: vec![resolver.address],
        port: server.address.port(),
        families: Families { v4: true, v6: false },
        options: options(),
    };
    let sweep = AuthoritativeSweeper::new(config).sweep(&[NAME.parse().unwrap()], Time::from_unix(0)).remove(0);
    assert_eq!(sweep.answers[0].server, "ns.other.example.com 127.0.0.1", "{sweep:?}");
    let Answer::Unknown(why) = &sweep.answers[0].answer else { panic!("{sweep:?}") };
    assert!(why.contains("without authority"), "{why}");
}

/// An unbound that takes one zone from a server on another port than 53.
struct Resolver {
    child: std::process::Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Resolver {
    fn start(zone: &str, authority: SocketAddr) -> Resolver {
        let directory = tempfile::tempdir().unwrap();
        let port = servers::free_port();
        let conf = format!(
            "server:\n  interface: 127.0.0.1@{port}\n  do-daemonize: no\n  use-syslog: no\n  username: \"\"\n\
             \x20 chroot: \"\"\n  pidfile: \"\"\n  do-not-query-localhost: no\n  module-config: \"iterator\"\n\
             \x20 directory: {:?}\nremote-control:\n  control-enable: no\n\
             stub-zone:\n  name: {zone:?}\n  stub-addr: {}@{}\n",
            directory.path(),
            authority.ip(),
            authority.port()
        );
        let file = directory.path().join("unbound.conf");
        std::fs::write(&file, conf).unwrap();
        let program =
            ["/usr/sbin/unbound", "/usr/local/sbin/unbound"].into_iter().find(|p| std::fs::exists(p).unwrap());
        let child =
            Command::new(program.unwrap_or("unbound")).arg("-c").arg(&file).stderr(Stdio::null()).spawn().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_for(|| std::net::TcpStream::connect(address).is_ok());
        Resolver { child, address, _directory: directory }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
