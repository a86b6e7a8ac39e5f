//! A customer's name leads into a zone of ours: by an alias, by a delegation, or not at all.

use std::process::Command;

use dkimctl_state::lifecycle::ledger::Phase;

use crate::lab::{Lab, Plan, key, rfc2136, texts_at};
use crate::opendkimd;
use crate::servers::{Bind, TestZone, servers_or_skip, skip};

const CUSTOMER: &str = "customer.example";
const TARGET: &str = "s1.customer.example._dk.ours.example";
const NAME: &str = "s1._domainkey.customer.example";
/// Longer than anything else that could be remembered.
const ALIAS_TTL: u64 = 8;

/// Our zone. The key may write below `_dk` and nowhere else.
fn ours() -> Bind {
    let policy = "grant dkimctl wildcard *._dk.ours.example. TXT;";
    let zone = TestZone { soa_ttl: 1, soa_minimum: 1, ..TestZone::new("ours.example") };
    Bind::start(&[key()], &[zone.policy(policy)])
}

/// The customer's name server, which takes no updates from anybody.
fn customer(records: &str) -> Bind {
    let zone = TestZone { soa_ttl: 1, soa_minimum: 1, ..TestZone::new(CUSTOMER) };
    Bind::start(&[], &[zone.with(records), TestZone::new("elsewhere.example")])
}

fn zones(customer: &Bind, ours: &Bind) -> String {
    let (customer, ours) = (customer.address, ours.address);
    format!(
        "[observe.zones]\n\"{CUSTOMER}\" = [\"{customer}\"]\n\"elsewhere.example\" = [\"{customer}\"]\n\
         \"ours.example\" = [\"{ours}\"]\n"
    )
}

fn lab(customer: &Bind, ours: &Bind, signs: bool) -> Lab {
    let providers = rfc2136("ours", ours.address, &["ours.example"]);
    let observe = zones(customer, ours);
    Lab::new(&Plan {
        domain: CUSTOMER,
        provider: "provider = \"ours\"",
        providers: &providers,
        observe: &observe,
        signs,
    })
}

/// A whole life through aliases that were added once, with the very lines that were printed.
#[test]
fn keys_of_a_customer_are_rotated_in_a_zone_of_ours() {
    if !servers_or_skip(&[Bind::PROGRAM]) || !opendkimd::available("delegation") {
        return;
    }
    let ours = ours();
    let lines = {
        let nobody = customer("");
        let printed = lab(&nobody, &ours, false).ok(&["dns", "delegate", CUSTOMER, "--ttl", &ALIAS_TTL.to_string()]);
        printed.lines().filter(|line| line.contains(" IN CNAME ")).collect::<Vec<_>>().join("\n")
    };
    assert!(lines.contains(&format!("{NAME}. {ALIAS_TTL} IN CNAME {TARGET}.")), "{lines}");
    let customer = customer(&lines);
    let lab = lab(&customer, &ours, true);
    assert!(lab.ok(&["dns", "delegate", CUSTOMER, "--check"]).contains("; ok"));

    lab.ok(&["rotate", CUSTOMER]);
    assert_eq!(texts_at(ours.address, TARGET).len(), 1, "published where verifiers end");
    lab.until_active("s1");
    let s1 = lab.key_in(Phase::Active).unwrap();
    let waited = lab.when("committed", &s1).since(lab.when("seen_everywhere", &s1)).as_secs();
    assert!(waited >= ALIAS_TTL, "whoever remembers an older alias has to forget it: {waited} s");
    assert!(lab.ok(&["verify"]).contains("ok "));

    lab.ok(&["rotate", CUSTOMER]);
    lab.until_active("s2");
    lab.until("s1 gone", |lab| lab.phases().contains(&("s1".to_owned(), Phase::Gone)));
    assert!(texts_at(ours.address, TARGET).is_empty(), "removed where it was published");
    assert_eq!(texts_at(ours.address, &TARGET.replace("s1", "s2")).len(), 1);
}

#[test]
fn an_alias_to_somebody_else_is_refused_and_its_target_is_named() {
    if !servers_or_skip(&[Bind::PROGRAM]) {
        return;
    }
    let ours = ours();
    let customer = customer(&format!("{NAME}. CNAME s1.elsewhere.example."));
    let lab = lab(&customer, &ours, false);
    lab.reconfigure("selectors = [\"s1\", \"s2\", \"s3\"]", "selectors = [\"s1\"]\nspare = \"s9\"");
    let (said, code) = lab.run(&["rotate", CUSTOMER]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("an alias of s1.elsewhere.example, which lies in no zone of ours"), "{said}");
    assert!(lab.phases().is_empty(), "no key was made: {said}");

    let (said, code) = lab.run(&["dns", "delegate", CUSTOMER, "--check", "--below", "_dk.ours.example"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("LEADS to s1.elsewhere.example.") && said.contains("MISSING"), "{said}");
}

/// Within the customer's zone, and by way of ours.
#[test]
fn a_chain_that_bites_its_tail_is_an_error() {
    if servers_or_skip(&[Bind::PROGRAM]) {
        bites_its_tail(&ours(), &format!("{NAME}. CNAME a.{CUSTOMER}.\na CNAME b\nb CNAME {NAME}.\n"));
        let zone = TestZone::new("ours.example").with(&format!("{TARGET}. CNAME {NAME}."));
        bites_its_tail(&Bind::start(&[key()], &[zone]), &format!("{NAME}. CNAME {TARGET}."));
    }
}

fn bites_its_tail(ours: &Bind, records: &str) {
    let customer = customer(records);
    let lab = lab(&customer, ours, false);
    lab.reconfigure("selectors = [\"s1\", \"s2\", \"s3\"]", "selectors = [\"s1\"]\nspare = \"s9\"");
    let (said, code) = lab.run(&["rotate", CUSTOMER]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("its chain of aliases leads back to s1._domainkey.customer.example"), "{said}");
    assert!(lab.phases().is_empty());
}

/// The customer's zone is at a provider of ours too, and `_domainkey` below it is delegated to another server. In a
/// network of its own, where name servers are found as they are found anywhere: by NS records, at port 53.
#[test]
fn a_delegated_domainkey_is_published_at_the_server_that_it_is_delegated_to() {
    const INSIDE: &str = "DKIMCTL_IN_A_NETWORK_OF_ITS_OWN";
    const TEST: &str = "delegation::a_delegated_domainkey_is_published_at_the_server_that_it_is_delegated_to";
    if !servers_or_skip(&[Bind::PROGRAM, "unshare", "ip"]) {
        return;
    }
    if std::env::var_os(INSIDE).is_none() {
        let namespace = Command::new("unshare").args(["--net", "true"]).output();
        if !namespace.is_ok_and(|output| output.status.success()) {
            return skip("a network namespace cannot be made here");
        }
        let me = std::env::current_exe().unwrap();
        let script = "ip link set lo up && ip addr add 127.0.0.2/32 dev lo && exec \"$0\" \"$@\"";
        let mut inside = Command::new("unshare");
        inside.args(["--net", "sh", "-c", script]).arg(me).args(["--exact", TEST, "--nocapture"]).env(INSIDE, "1");
        let output = inside.output().unwrap();
        assert!(output.status.success(), "{}", crate::lab::said(&output));
        return;
    }
    let below = "_domainkey.customer.example";
    let parent_zone = TestZone { soa_ttl: 1, soa_minimum: 1, ..TestZone::new(CUSTOMER) };
    let parent = Bind::start_on(
        Some("127.0.0.1:53".parse().unwrap()),
        &[key()],
        &[
            parent_zone.with("_domainkey NS ns.ours.example."),
            TestZone { nameservers: "@ NS ns\nns A 127.0.0.2\n".to_owned(), ..TestZone::new("ours.example") },
        ],
    );
    let child_zone = TestZone { soa_ttl: 1, soa_minimum: 1, ..TestZone::new(below) };
    let nameservers = "@ NS ns.ours.example.\n".to_owned();
    let child =
        Bind::start_on(Some("127.0.0.2:53".parse().unwrap()), &[key()], &[TestZone { nameservers, ..child_zone }]);
    let providers = rfc2136("parent", parent.address, &[CUSTOMER]) + &rfc2136("child", child.address, &[below]);
    let observe = "recursives = [\"127.0.0.1\"]\nfamilies = [\"ipv4\"]\n";
    let provider = "provider = \"parent\"";
    let lab = Lab::new(&Plan { domain: CUSTOMER, provider, providers: &providers, observe, signs: false });
    lab.ok(&["rotate", CUSTOMER]);
    assert_eq!(texts_at(child.address, NAME).len(), 1, "published at the server that it is delegated to");
    assert!(texts_at(parent.address, NAME).is_empty(), "and not where nobody would look");
    lab.until("every server has it", |lab| lab.key_in(Phase::Propagated).is_some());
    lab.ok(&["rollback", CUSTOMER]);
    lab.until("given up", |_| texts_at(child.address, NAME).is_empty());

    // Without a provider for the zone below, nothing is written above it.
    lab.reconfigure(&format!("zones = [\"{below}\"]"), "zones = [\"unrelated.example\"]");
    lab.reconfigure("selectors = [\"s1\", \"s2\", \"s3\"]", "selectors = [\"s4\"]\nspare = \"s9\"");
    let (said, code) = lab.run(&["rotate", CUSTOMER]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is a zone of its own, delegated to ns.ours.example"), "{said}");
}
