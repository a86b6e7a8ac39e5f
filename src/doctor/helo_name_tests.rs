use serde_json::json;

use super::*;
use crate::doctor::rig::{container, found, look, verdicts};

#[test]
fn names_that_receivers_refuse() {
    for (name, wanted) in [
        ("mail.example.com", None),
        ("mail.example.com.", None),
        ("[192.0.2.1]", None),
        ("[IPv6:2001:db8::1]", None),
        ("xn--bcher-kva.example", None),
        ("f7a2c4b1d3e5", Some(Fault::ContainerId)),
        ("f7a2c4b1d3e5.localdomain", Some(Fault::ContainerId)),
        ("", Some(Fault::Empty)),
        ("mail", Some(Fault::NoDomain)),
        ("localhost", Some(Fault::Local)),
        ("vm.localdomain", Some(Fault::Local)),
        ("mail.local", Some(Fault::Local)),
        ("mail_relay.example.com", Some(Fault::Character)),
        ("192.0.2.1", Some(Fault::Address)),
        ("[nonsense]", Some(Fault::Character)),
        ("mail.yourdomain.com", Some(Fault::Example)),
    ] {
        assert_eq!(fault(name, ""), wanted, "{name}");
    }
    assert_eq!(fault("abcdef012345.example.com", "f7a2c4b1d3e5"), None, "hexadecimal, and not this container's id");
}

const BUILT: (&str, &str) =
    ("smtp/Dockerfile", "FROM debian\nRUN apt-get install -y postfix\nCOPY main.cf /etc/postfix/\n");

fn service(lines: &str) -> String {
    format!("services:\n  smtp:\n    build: smtp\n{lines}")
}

#[test]
fn main_cf_has_the_word() {
    let compose = service("    hostname: mail.example.com\n");
    let with =
        |main: &str| verdicts(&found(&[("compose.yaml", &compose), BUILT, ("smtp/main.cf", main)], examine), "HELO001");
    assert_eq!(with("myhostname = vm\n"), ["fail error smtp/main.cf:1"]);
    assert_eq!(with("mydomain = example.com\nmyhostname = mail.$mydomain\n"), ["ok"]);
    assert_eq!(with("myhostname = mail.$mydomain\n"), ["unknown smtp/main.cf:1"]);
    assert_eq!(with("myhostname = mail.example.com\nsmtp_helo_name = localhost\n"), ["fail error smtp/main.cf:2"]);
    assert_eq!(with("mynetworks = 127.0.0.0/8\n"), ["unknown compose.yaml:3"], "the build may have baked a name in");
}

#[test]
fn a_name_that_is_set_at_start_is_not_known_from_files() {
    let compose = service("");
    let start = ("smtp/start.sh", "postconf -e \"myhostname=$MAIL_NAME\"\n");
    let findings = found(&[("compose.yaml", &compose), BUILT, ("smtp/main.cf", "myhostname = vm\n"), start], examine);
    assert_eq!(verdicts(&findings, "HELO001"), ["unknown smtp/start.sh"]);
}

#[test]
fn images_of_others_are_taken_at_their_word() {
    let with = |lines: &str| {
        let compose = format!("services:\n  smtp:\n    image: boky/postfix\n{lines}");
        verdicts(&found(&[("compose.yaml", &compose)], examine), "HELO001")
    };
    assert_eq!(with("    environment: {POSTFIX_myhostname: mail.example.com}\n"), ["ok"]);
    assert_eq!(with("    environment: {POSTFIX_myhostname: mail}\n"), ["warn compose.yaml:4"]);
    assert_eq!(with("    hostname: mail.example.com\n"), ["ok"]);
    assert_eq!(with("    hostname: mail\n    domainname: example.com\n"), ["ok"]);
    assert_eq!(with("    hostname: mail\n"), ["warn compose.yaml:4"]);
    assert_eq!(with("    hostname: ${NAME}\n"), ["unknown compose.yaml:3"]);
    assert_eq!(with(""), ["unknown compose.yaml:3"]);
}

#[test]
fn both_names_are_one_too_many() {
    let with = |lines: &str| {
        let compose = format!("services:\n  smtp:\n    image: boky/postfix\n{lines}");
        verdicts(&found(&[("compose.yaml", &compose)], examine), "HELO004")
    };
    assert_eq!(with("    hostname: mail.example.com\n    domainname: example.com\n"), ["warn compose.yaml:5"]);
    assert!(with("    hostname: mail\n    domainname: example.com\n").is_empty());
}

fn in_force(main: &str, set: &str, inspect: serde_json::Value) -> Vec<String> {
    verdicts(&look(&container(inspect, &[("postconf -x", main), ("postconf -n", set)]), examine), "HELO001")
}

#[test]
fn what_is_in_force_is_what_counts() {
    let id = json!({"Config": {"Hostname": "f7a2c4b1d3e5"}});
    assert_eq!(in_force("myhostname = mail.example.com\nsmtp_helo_name = mail.example.com\n", "", json!({})), ["ok"]);
    assert_eq!(in_force("myhostname = f7a2c4b1d3e5.localdomain\n", "", id.clone()), ["fail error"]);
    assert_eq!(in_force("myhostname = vm\nsmtp_helo_name =\n", "myhostname = vm\n", json!({})), ["fail error"]);
}

#[test]
fn a_container_without_postfix_has_no_name_to_judge() {
    assert!(look(&container(json!({}), &[]), examine).is_empty());
}
