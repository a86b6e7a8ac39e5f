//! `kill -9` after a host has changed something and before the program has heard of it, at every kind of host: the next
//! run finds it done, writes it down, and does nothing twice.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use dkimctl_state::lifecycle::ledger::Phase;

use crate::lab::{Lab, Plan, key, powerdns, rfc2136, texts_at};
use crate::servers::proxy::{Proxy, dns_update, http_change};
use crate::servers::{Bind, CloudflareFake, Pdns, Route53Fake, TestZone, servers_or_skip};

const ZONE: &str = "example.com";
const NAME: &str = "s1._domainkey.example.com";

/// Publishes and gives up a key, each cut off between the change and its record.
fn cut_off(proxy: &Proxy, providers: &str, observe: &str, values: &dyn Fn() -> usize) {
    let plan = Plan { domain: ZONE, provider: "provider = \"host\"", providers, observe, signs: false };
    let lab = Lab::new(&plan);

    killed_in_a_change(proxy, &lab, &["rotate", ZONE]);
    assert_eq!(values(), 1, "the host has done it");
    let sealed = lab.key_in(Phase::Sealed).expect("nobody has written down that it is published");
    proxy.disarm();
    let changes = proxy.changes();
    lab.run(&["advance", ZONE]);
    let published = lab.ledger().keys().map(|(_, key)| key.clone()).collect::<Vec<_>>();
    assert_eq!(published.len(), 1, "no second key");
    assert_eq!(published[0].fingerprint, sealed.fingerprint);
    assert_eq!(published[0].record_at.len(), 1, "written down: {:?}", lab.phases());
    assert_eq!((values(), proxy.changes()), (1, changes), "found, and not done again");

    killed_in_a_change(proxy, &lab, &["rollback", ZONE]);
    assert_eq!(values(), 0, "the host has removed it");
    proxy.disarm();
    let changes = proxy.changes();
    lab.run(&["advance", ZONE]);
    let (_, key) = lab.ledger().keys().map(|(phase, key)| (phase, key.clone())).next().unwrap();
    assert!(key.record_at.is_empty(), "the removal is written down: {:?}", lab.phases());
    assert_eq!((values(), proxy.changes()), (0, changes), "and was not asked for again");
}

/// Runs the program until a host's answer to a change is kept from it, and kills it there.
fn killed_in_a_change(proxy: &Proxy, lab: &Lab, arguments: &[&str]) {
    proxy.arm();
    let mut child = lab.spawn(arguments);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !proxy.holds_an_answer() {
        assert!(Instant::now() < deadline, "dkimctl {arguments:?} never changed anything");
        assert_eq!(child.try_wait().unwrap(), None, "dkimctl {arguments:?} ended before it changed anything");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
}

fn at_servers(server: SocketAddr) -> String {
    format!("nameservers = [\"{server}\"]")
}

/// Nobody serves what the fakes hold.
const NOBODY: &str = "nameservers = [\"127.0.0.1:9\"]";

#[test]
fn at_bind() {
    if servers_or_skip(&[Bind::PROGRAM]) {
        let server = Bind::start(&[key()], &[TestZone::new(ZONE)]);
        let proxy = Proxy::before(server.address, dns_update);
        let values = || texts_at(server.address, NAME).len();
        let providers = rfc2136("host", proxy.address, &[ZONE]).replace("2s", "30s");
        cut_off(&proxy, &providers, &at_servers(server.address), &values);
    }
}

#[test]
fn at_powerdns() {
    if servers_or_skip(&Pdns::programs()) {
        let server = Pdns::start(&[TestZone::new(ZONE)]);
        let proxy = Proxy::before(server.api.trim_start_matches("http://").parse().unwrap(), http_change);
        let values = || texts_at(server.address, NAME).len();
        let providers = powerdns("host", &format!("http://{}", proxy.address)).replace("2s", "30s");
        cut_off(&proxy, &providers, &at_servers(server.address), &values);
    }
}

#[test]
fn at_cloudflare() {
    let fake = CloudflareFake::start([ZONE]);
    let proxy = Proxy::before(fake.address(), http_change);
    let values = || fake.at(NAME, "TXT").len();
    let providers = format!(
        "[provider.host]\ntype = \"cloudflare\"\nendpoint = \"http://{}/client/v4\"\nsecret_file = \"cloudflare.token\"\n",
        proxy.address
    );
    cut_off(&proxy, &providers, NOBODY, &values);
}

#[test]
fn at_route53() {
    let fake = Route53Fake::start([ZONE]);
    let proxy = Proxy::before(fake.address(), http_change);
    let values = || fake.at(&format!("{NAME}."), "TXT").iter().map(|set| set.values.len()).sum();
    let providers = format!("[provider.host]\ntype = \"route53\"\nendpoint = \"http://{}\"\n", proxy.address);
    cut_off(&proxy, &providers, NOBODY, &values);
}
