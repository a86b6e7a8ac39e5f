//! DKIM, SPF and DMARC against real BIND, and a real OpenDKIM that signs.

use std::net::SocketAddr;
use std::time::Duration;

use dkimctl::dmarc::look as dmarc_look;
use dkimctl::doctor::finding::{Findings, Outcome};
use dkimctl::doctor::inside::Inside;
use dkimctl::doctor::net::{Address, Facts as WayOut, Known, Reverse};
use dkimctl::doctor::patient::{OurKey, Profile};
use dkimctl::doctor::{dkim, dmarc, rspamd, signer, spf};
use dkimctl::keygen::{KeyKind, PrivateKey, generate};
use dkimctl::observe::{AuthoritativeSweeper, Config};
use dkimctl::signers::milter::{Client, Socket};
use dkimctl::spf::resolver::Recursive;
use dkimctl_providers::wire::Options;
use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::record::dkim::Algorithm;
use dkimctl_state::time::Time;

use crate::opendkimd::{self, OpenDkimd};
use crate::rspamdd::{self, Rspamdd};
use crate::servers::{Bind, TestZone, servers_or_skip};

fn domain() -> SigningDomain {
    "example.com".parse().unwrap()
}

fn now() -> Time {
    Time::from_unix(chrono::Utc::now().timestamp())
}

fn quoted(key: &PrivateKey) -> String {
    dkimctl_state::record::txt::TxtText::from(format!("v=DKIM1; k=rsa; p={}", key.public())).quoted()
}

fn ours(selector: &str, key: &PrivateKey) -> OurKey {
    OurKey {
        domain: domain(),
        selector: selector.parse().unwrap(),
        phase: Phase::Active,
        algorithm: Algorithm::Rsa,
        public: key.public().clone(),
        record: format!("v=DKIM1; k=rsa; p={}", key.public()).into(),
        due: now() + dkimctl_state::time::Span::days(1),
    }
}

fn sweeper(servers: &[SocketAddr]) -> AuthoritativeSweeper {
    let nameservers = [("example.com".parse().unwrap(), servers.to_vec())].into();
    let options = Options { timeout: Duration::from_millis(500), ..Options::default() };
    AuthoritativeSweeper::new(Config { nameservers, resolvers: vec![], options, ..Config::default() })
}

fn key() -> PrivateKey {
    generate(KeyKind::Rsa { bits: 2048 }).unwrap()
}

#[test]
fn records_as_people_publish_them() {
    use Outcome::{Fail, Ok, Unknown};
    if !servers_or_skip(&[Bind::PROGRAM]) {
        return;
    }
    let (mine, other) = (key(), key());
    let right = quoted(&mine);
    let (first, second) = right.split_once("\" \"").unwrap();
    let zone = TestZone::new("example.com").with(&format!(
        "right._domainkey TXT {right}\n\
         two._domainkey TXT {right}\ntwo._domainkey TXT {}\n\
         cut._domainkey TXT {first}\"\ncut._domainkey TXT \"{second}\n\
         empty._domainkey TXT \"v=DKIM1; k=rsa; p=\"\n\
         other._domainkey TXT {}\n\
         nowhere._domainkey CNAME s1.hosted\n\
         alias._domainkey CNAME right._domainkey\n\
         broken._domainkey TXT \"v=DKIM1; k=rsa; p=%%%\"\n\
         half._domainkey TXT {right}\n",
        quoted(&other),
        quoted(&other),
    ));
    let first = Bind::start(&[], &[zone]);
    // A second server that never got the last change.
    let second = Bind::start(&[], &[TestZone::new("example.com").with(&format!("right._domainkey TXT {right}\n"))]);
    let result = |selector: &str, servers: &[SocketAddr]| {
        let keys = [ours(selector, &mine)];
        let facts = dkim::look::look(&keys, &[], None, &sweeper(servers), now());
        let mut findings = Findings::default();
        dkim::judge(&facts, &mut findings);
        let of = |id: &str| findings.iter().filter(|finding| finding.id == id).map(|finding| finding.result).max();
        (of("DKIM001"), of("DKIM002"))
    };
    let one = [first.address];
    for (selector, wanted) in [
        ("right", (Some(Ok), Some(Ok))),
        ("alias", (Some(Ok), Some(Ok))),
        ("missing", (None, Some(Fail))),
        ("two", (None, Some(Fail))),
        ("cut", (None, Some(Fail))),
        ("empty", (None, Some(Fail))),
        ("broken", (None, Some(Fail))),
        ("nowhere", (None, Some(Fail))),
        ("other", (Some(Fail), None)),
    ] {
        assert_eq!(result(selector, &one), wanted, "{selector}");
    }
    let both = [first.address, second.address];
    assert_eq!(result("right", &both), (Some(Ok), Some(Ok)));
    assert_eq!(result("half", &both), (None, Some(Fail)));
    let closed = SocketAddr::from(([127, 0, 0, 1], 9));
    assert_eq!(result("right", &[first.address, closed]), (Some(Unknown), Some(Unknown)));
}

#[test]
fn a_real_signer_is_asked_and_its_signature_verified() {
    if !servers_or_skip(&[Bind::PROGRAM]) || !opendkimd::available("a_real_signer_is_asked_and_its_signature_verified")
    {
        return;
    }
    let (mine, other) = (key(), key());
    let mut daemon = OpenDkimd::start(&opendkimd::Options::default());
    let path = daemon.write_key("s1.pem", mine.pem());
    daemon.stop();
    std::fs::write(daemon.key_table(), format!("k1 example.com:s1:{}\n", path.display())).unwrap();
    std::fs::write(daemon.signing_table(), "*@example.com k1\n").unwrap();
    daemon.run();
    let zone = |key: &PrivateKey| TestZone::new("example.com").with(&format!("s1._domainkey TXT {}", quoted(key)));
    let (right, wrong) = (Bind::start(&[], &[zone(&mine)]), Bind::start(&[], &[zone(&other)]));
    let bare = Bind::start(&[], &[TestZone::new("example.com")]);
    let conf = daemon.conf();
    // Of this key the doctor knows nothing but what the signer's tables say.
    let result = |server: SocketAddr, client: &str| {
        let seen = signer::look(&Inside::here(), &signer::Named::OpenDkim(conf.clone())).unwrap();
        assert_eq!(seen.signing, [(domain(), vec!["s1".parse::<Selector>().unwrap()])]);
        let mut facts = dkim::look::look(&[], &[], Some(&seen), &sweeper(&[server]), now());
        let client = Client { address: client.parse().unwrap(), ..Client::default() };
        dkim::look::probe(&mut facts, &Inside::here(), &seen, &client, now());
        let mut findings = Findings::default();
        dkim::judge(&facts, &mut findings);
        let finding = findings.iter().find(|finding| finding.id == "DKIM005").unwrap();
        (finding.result, finding.evidence.clone())
    };
    let (signed, evidence) = result(right.address, "127.0.0.1");
    assert_eq!(signed, Outcome::Ok, "{evidence}");
    for (server, client, why) in [
        (wrong.address, "127.0.0.1", "does not verify"),
        (bare.address, "127.0.0.1", "there is no s1._domainkey.example.com"),
        (right.address, "192.0.2.7", "unsigned"),
    ] {
        let (result, evidence) = result(server, client);
        assert!(result == Outcome::Fail && evidence.contains(why), "{why}: {evidence}");
    }
    // Somebody who may not be asked is unknown.
    let (unknown, evidence) = result(SocketAddr::from(([127, 0, 0, 1], 9)), "127.0.0.1");
    assert_eq!(unknown, Outcome::Unknown, "{evidence}");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(result(right.address, "127.0.0.1").0, Outcome::Fail, "451");
    daemon.stop();
    let (stopped, evidence) = result(right.address, "127.0.0.1");
    assert_eq!(stopped, Outcome::Unknown, "{evidence}");
}

/// rspamd says nothing when it does not sign: that is unsigned mail, and no refusal.
#[test]
fn a_real_rspamd_is_asked_and_its_signature_verified() {
    if !servers_or_skip(&[Bind::PROGRAM]) || !rspamdd::available("a_real_rspamd_is_asked_and_its_signature_verified") {
        return;
    }
    let (mine, other) = (key(), key());
    let mut daemon = Rspamdd::start();
    let path = daemon.write_key("s1.pem", mine.pem());
    let lost = daemon.keys().join("lost.pem");
    daemon.stop();
    let rows = format!("k1 example.com:s1:{}\nk2 lost.example:s1:{}\n", path.display(), lost.display());
    std::fs::write(daemon.key_table(), rows).unwrap();
    std::fs::write(daemon.signing_table(), "*@example.com k1\n*@lost.example k2\n").unwrap();
    daemon.run();
    let zone = |key: &PrivateKey| TestZone::new("example.com").with(&format!("s1._domainkey TXT {}", quoted(key)));
    let (right, wrong) = (Bind::start(&[], &[zone(&mine)]), Bind::start(&[], &[zone(&other)]));
    let named = signer::Named::KnownRspamd(rspamd::Conf {
        tables: Some((daemon.key_table(), daemon.signing_table())),
        socket: Ok(Socket::Inet { host: "127.0.0.1".into(), port: daemon.port }),
        user: "_rspamd".into(),
        headers: None,
    });
    let result = |about: &str, server: SocketAddr, client: &str| {
        let seen = signer::look(&Inside::here(), &named).unwrap();
        let mut facts = dkim::look::look(&[], &[], Some(&seen), &sweeper(&[server]), now());
        let client = Client { address: client.parse().unwrap(), ..Client::default() };
        dkim::look::probe(&mut facts, &Inside::here(), &seen, &client, now());
        let mut findings = Findings::default();
        dkim::judge(&facts, &mut findings);
        let finding =
            findings.iter().find(|finding| (finding.id, finding.about.as_str()) == ("DKIM005", about)).unwrap();
        (finding.result, finding.evidence.clone())
    };
    let (signed, evidence) = result("example.com", right.address, "127.0.0.1");
    assert_eq!(signed, Outcome::Ok, "{evidence}");
    for (about, server, client, why) in [
        ("example.com", wrong.address, "127.0.0.1", "does not verify"),
        ("example.com", right.address, "192.0.2.7", "unsigned"),
        ("lost.example", right.address, "127.0.0.1", "unsigned"),
    ] {
        let (result, evidence) = result(about, server, client);
        assert!(result == Outcome::Fail && evidence.contains(why), "{about} {why}: {evidence}");
    }
    daemon.stop();
    let (stopped, evidence) = result("example.com", right.address, "127.0.0.1");
    assert_eq!(stopped, Outcome::Unknown, "{evidence}");
}

#[test]
fn spf_covers_what_sends_or_does_not() {
    use Outcome::{Fail, Ok, Unknown};
    if !servers_or_skip(&[Bind::PROGRAM]) {
        return;
    }
    // One string holds 255 octets.
    let many: String = (0..11).map(|n| format!("\" include:i{n}.example.com\"")).collect::<Vec<_>>().join(" ");
    let included: String = (0..11).map(|n| format!("i{n} TXT \"v=spf1 ip4:198.51.100.{n} -all\"\n")).collect();
    let zone = TestZone::new("example.com").with(&format!(
        "good TXT \"v=spf1 ip4:203.0.113.10 ip6:2001:db8:25::/48 -all\"\n\
         soft TXT \"v=spf1 ip4:203.0.113.99 ~all\"\n\
         two TXT \"v=spf1 ip4:203.0.113.10 -all\"\ntwo TXT \"v=spf1 -all\"\n\
         many TXT \"v=spf1\" {many} \" -all\"\n{included}\
         none TXT \"something else\"\n\
         lame TXT \"v=spf1 include:spf.elsewhere.example.net -all\"\n\
         relayed TXT \"v=spf1 include:amazonses.com -all\"\n",
    ));
    let ses = TestZone::new("amazonses.com").with("@ TXT \"v=spf1 ip4:199.255.192.0/22 -all\"");
    let bind = Bind::start(&[], &[zone, ses]);
    let resolver = Recursive::new(bind.address).with_timeout(Duration::from_millis(500));
    let out = |ips: &[&str], relay: Option<&str>| WayOut {
        addresses: ips
            .iter()
            .map(|ip| Address {
                ip: ip.parse().unwrap(),
                known: Known::Configured,
                reverse: Reverse::Unknown(String::new()),
            })
            .collect(),
        relay: relay.map(str::to_owned),
        ..WayOut::default()
    };
    let judged = |name: &str, out: &WayOut| {
        let domain: SigningDomain = format!("{name}.example.com").parse().unwrap();
        let mut findings = Findings::default();
        spf::judge(&spf::look(&resolver, &domain, out, now()), &mut findings);
        findings.iter().map(|f| (f.result, f.about.clone(), f.fix.clone())).collect::<Vec<_>>()
    };
    let worst = |name: &str, out: &WayOut| judged(name, out).into_iter().map(|(result, ..)| result).max().unwrap();
    let own = out(&["203.0.113.10", "2001:db8:25::10"], None);
    for (name, wanted) in
        [("good", Ok), ("soft", Fail), ("two", Fail), ("many", Fail), ("none", Fail), ("lame", Unknown)]
    {
        assert_eq!(worst(name, &own), wanted, "{name}: {:?}", judged(name, &own));
    }
    let diff = judged("soft", &out(&["203.0.113.10"], None)).remove(0).2;
    assert!(
        diff.contains("- \"v=spf1 ip4:203.0.113.99 ~all\"\n+ \"v=spf1 ip4:203.0.113.10 ip4:203.0.113.99 ~all\""),
        "{diff}"
    );
    // Through a relay it is the relay's addresses that count.
    let ses = out(&[], Some("[email-smtp.eu-west-1.amazonaws.com]:587"));
    assert_eq!(worst("relayed", &ses), Ok);
    assert_eq!(worst("good", &ses), Fail);
}

#[test]
fn dmarc_is_there_and_goes_somewhere() {
    use Outcome::{Fail, Ok, Unknown, Warn};
    if !servers_or_skip(&[Bind::PROGRAM]) {
        return;
    }
    let zone = TestZone::new("example.com").with(
        "@ MX 10 mail\nmail A 203.0.113.10\n_dmarc TXT \"v=DMARC1; p=none; rua=mailto:d@example.com\"\n\
         _dmarc.top TXT \"v=DMARC1; p=reject; rua=mailto:d@example.com\"\n\
         _dmarc.none TXT \"v=DMARC1; p=none; rua=mailto:d@example.com\"\n\
         _dmarc.external TXT \"v=DMARC1; p=reject; rua=mailto:d@reports.example.org\"\n\
         _dmarc.two TXT \"v=DMARC1; p=reject\"\n_dmarc.two TXT \"v=DMARC1; p=none\"\n\
         _dmarc.lame CNAME lame.example.net.\n",
    );
    let org = TestZone::new("example.org").with("reports MX 10 mail.example.org.\nmail A 203.0.113.77\n");
    let com = TestZone::new("com").with("example NS ns.example.com.\n");
    let bind = Bind::start(&[], &[zone, org, com]);
    let resolver = Recursive::new(bind.address).with_timeout(Duration::from_millis(500));
    let judged = |name: &str, profile: Profile| {
        let domain: SigningDomain = name.parse().unwrap();
        let mut findings = Findings::default();
        dmarc::judge(&domain, &dmarc_look::look(&resolver, domain.as_fqdn()), profile, &mut findings);
        findings.iter().map(|finding| (finding.result, finding.evidence.clone())).max().unwrap()
    };
    for (name, profile, wanted) in [
        ("top.example.com", Profile::Transactional, Ok),
        ("none.example.com", Profile::Transactional, Warn),
        ("external.example.com", Profile::Transactional, Warn),
        ("two.example.com", Profile::Transactional, Warn),
        ("two.example.com", Profile::Bulk, Fail),
        ("example.org", Profile::Transactional, Warn),
        ("example.org", Profile::Bulk, Fail),
        // It follows the record above.
        ("absent.example.com", Profile::Bulk, Ok),
        ("lame.example.com", Profile::Bulk, Unknown),
    ] {
        let (result, evidence) = judged(name, profile);
        assert_eq!(result, wanted, "{name}: {evidence}");
    }
}
