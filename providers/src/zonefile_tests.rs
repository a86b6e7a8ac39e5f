use super::*;
use crate::{Entry, Op};
use dkimctl_state::record::txt::TxtText;

const FOREIGN: &str = r#"; hand-made
$ORIGIN example.com.
@	1h IN TXT "v=spf1 -all"	; keep
@ 3600 TXT google-site-verification=abc
www IN A 192.0.2.1
s9._domainkey 300 IN TXT ( "v=DKIM1; k=rsa; " ; first
        "p=AB\"C" )
alias 300 CNAME target.example.net.
* 300 TXT "wild"
"#;

fn fqdn(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn host(content: &str) -> (tempfile::TempDir, ZoneFile, Zone) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dkim.zone");
    fs::write(&path, content).unwrap();
    let zones = vec![(fqdn("example.com"), path)];
    let config = Config { zones, default_ttl: 3600, reload: vec![], reload_timeout: Duration::from_secs(5) };
    let host = ZoneFile::new(config);
    let zone = host.zones().unwrap().remove(0);
    (directory, host, zone)
}

fn see(host: &ZoneFile, zone: &Zone, name: &str) -> AtName {
    host.observe(zone, &[fqdn(name)]).unwrap().remove(0)
}

fn content(host: &ZoneFile) -> String {
    fs::read_to_string(&host.config.zones[0].1).unwrap()
}

fn perform(host: &ZoneFile, zone: &Zone, op: Op) -> Outcome {
    let seen = see(host, zone, op.name().as_str());
    host.apply(zone, &[Guarded { op, seen }]).remove(0)
}

#[test]
fn reads_what_people_write() {
    let (_keep, host, zone) = host(FOREIGN);
    let texts = |name| see(&host, &zone, name).texts().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts("example.com"), ["v=spf1 -all", "google-site-verification=abc"]);
    assert_eq!(texts("s9._domainkey.example.com"), [r#"v=DKIM1; k=rsa; p=AB"C"#]);
    assert!(matches!(see(&host, &zone, "alias.example.com"), AtName::Cname { ttl: 300, .. }));
    assert_eq!(see(&host, &zone, "www.example.com"), AtName::Absent);
}

#[test]
fn foreign_lines_stay_octet_for_octet() {
    let (_keep, host, zone) = host(FOREIGN);
    let name = fqdn("s1._domainkey.example.com");
    let text = TxtText::from("v=DKIM1; p=AAAA");
    assert!(matches!(
        perform(&host, &zone, Op::Add { name: name.clone(), text: text.clone(), ttl: 60 }),
        Outcome::Applied(_)
    ));
    let ours =
        "s1._domainkey.example.com. 60 IN TXT \"v=DKIM1; p=AAAA\" ; dkimctl: DKIM key (RFC 6376 section 3.6.1)\n";
    assert_eq!(content(&host), format!("{FOREIGN}{ours}"));
    assert_eq!(perform(&host, &zone, Op::Add { name: name.clone(), text: text.clone(), ttl: 60 }), Outcome::Already);
    assert!(matches!(perform(&host, &zone, Op::Remove { name, text }), Outcome::Applied(_)));
    assert_eq!(content(&host), FOREIGN);

    let (name, old, new) = (fqdn("example.com"), "v=spf1 -all".into(), "v=spf1 mx -all".into());
    assert!(matches!(perform(&host, &zone, Op::Replace { name, old, new, ttl: 3600 }), Outcome::Applied(_)));
    let line = "example.com. 3600 IN TXT \"v=spf1 mx -all\" ; dkimctl: SPF (RFC 7208 section 4.5)";
    assert_eq!(content(&host), FOREIGN.replace("@\t1h IN TXT \"v=spf1 -all\"\t; keep", line));
}

#[test]
fn a_change_that_would_move_or_alter_a_foreign_line_is_refused() {
    let (_keep, host, zone) = host("a 300 TXT \"ours\"\n    TXT \"theirs\"\n");
    let remove = Op::Remove { name: fqdn("a.example.com"), text: "ours".into() };
    assert!(matches!(perform(&host, &zone, remove), Outcome::Rejected(_)));
    let other_ttl = Op::Add { name: fqdn("a.example.com"), text: "more".into(), ttl: 60 };
    let Outcome::Rejected(error) = perform(&host, &zone, other_ttl) else { panic!() };
    assert!(error.to_string().contains("300 s"), "{error}");
    assert_eq!(content(&host), "a 300 TXT \"ours\"\n    TXT \"theirs\"\n");
}

#[test]
fn a_failed_reload_leaves_the_file_for_the_next_run() {
    let (_keep, mut host, zone) = host(FOREIGN);
    let add = || Op::Add { name: fqdn("s1._domainkey.example.com"), text: "x".into(), ttl: 60 };
    host.config.reload = ["sh", "-c", "echo no such zone >&2; exit 3"].map(String::from).to_vec();
    let Outcome::Unknown(why) = perform(&host, &zone, add()) else { panic!() };
    assert!(why.contains("no such zone") && why.contains("run again"), "{why}");
    assert_eq!(content(&host), FOREIGN);
    host.config.reload = vec!["true".into()];
    assert!(matches!(perform(&host, &zone, add()), Outcome::Applied(Some(_))));
}

#[test]
fn a_new_file_teaches_how_to_use_it() {
    let (_keep, host, zone) = host("");
    fs::remove_file(&host.config.zones[0].1).unwrap();
    perform(&host, &zone, Op::Add { name: fqdn("s1._domainkey.example.com"), text: "x".into(), ttl: 60 });
    assert!(content(&host).contains("$INCLUDE /"), "{}", content(&host));
    let entry = Entry::new("x".into());
    assert_eq!(see(&host, &zone, "s1._domainkey.example.com"), AtName::Txt { ttl: 60, entries: vec![entry] });
}

proptest::proptest! {
    #[test]
    fn anything_is_kept_and_nothing_panics(octets in proptest::collection::vec(proptest::sample::select(
        b"a.@*\"\\;()$ \t\n019TXTIN".to_vec()), 0..200)) {
        let fragment = Fragment::read(&fqdn("example.com"), &octets, 60);
        proptest::prop_assert_eq!(fragment.write(), octets);
    }
}
