use serde_json::{Value, json};

use super::*;
use crate::doctor::rig::{container, found, look, verdicts};

const BUILT: (&str, &str) =
    ("smtp/Dockerfile", "FROM debian\nRUN apt-get install -y postfix\nCOPY main.cf /etc/postfix/\n");

fn written(lines: &str, main: &str, id: &str) -> Vec<String> {
    let compose = format!("services:\n  smtp:\n    build: smtp\n{lines}");
    verdicts(&found(&[("compose.yaml", &compose), BUILT, ("smtp/main.cf", main)], examine), id)
}

#[test]
fn a_published_port_and_a_trusted_bridge_are_an_open_relay() {
    let trusting = "mynetworks = 127.0.0.0/8 172.16.0.0/12\n";
    assert_eq!(written("    ports: ['25:25']\n", trusting, "RELAY001"), ["fail critical compose.yaml:4"]);
    assert_eq!(written("    ports: ['127.0.0.1:25:25']\n", trusting, "RELAY001"), ["ok"]);
    assert_eq!(written("", trusting, "RELAY001"), ["ok"]);
    assert_eq!(written("    ports: ['80:80']\n", trusting, "RELAY001"), ["ok"]);
    assert_eq!(written("    ports: ['${IP}:25:25']\n", trusting, "RELAY001"), ["ok"], "where it listens is not known");
    assert_eq!(written("    ports: ['25:25']\n", "mynetworks = 127.0.0.0/8\n", "RELAY001"), ["ok"]);
    assert_eq!(
        written("    ports: ['25:25']\n", "mynetworks = cidr:/etc/nets\n", "RELAY001"),
        ["unknown smtp/main.cf:1"]
    );
    assert!(written("    ports: ['25:25']\n    network_mode: host\n", trusting, "RELAY001").is_empty());
    let own = format!("{trusting}smtpd_relay_restrictions = permit_sasl_authenticated, reject\n");
    assert!(written("    ports: ['25:25']\n", &own, "RELAY001").is_empty(), "mynetworks gives no right there");
}

#[test]
fn a_subnet_that_is_written_down_is_judged_by_its_own_bridge() {
    let networks = "networks: {default: {ipam: {config: [{subnet: 10.77.0.0/24}]}}}\n";
    let lines = |network| format!("    ports: ['25:25']\n{networks}#{network}");
    assert_eq!(written(&lines(1), "mynetworks = 10.0.0.0/8\n", "RELAY001"), ["fail critical compose.yaml:4"]);
    assert_eq!(written(&lines(2), "mynetworks = 172.16.0.0/12\n", "RELAY001"), ["ok"]);
}

#[test]
fn the_whole_world_may_not_relay() {
    assert_eq!(written("", "# x\nmynetworks = 0.0.0.0/0\n", "RELAY002"), ["fail error smtp/main.cf:2"]);
    assert_eq!(written("", "mynetworks = 127.0.0.0/8\n", "RELAY002"), ["ok"]);
    let compose =
        "services:\n  smtp:\n    image: boky/postfix\n    environment:\n      POSTFIX_mynetworks: 0.0.0.0/0\n";
    assert_eq!(verdicts(&found(&[("compose.yaml", compose)], examine), "RELAY002"), ["fail error compose.yaml:5"]);
}

fn in_force(networks: &str, ports: Value, id: &str) -> Vec<String> {
    let all = format!(
        "mynetworks = {networks}\nsmtpd_relay_restrictions = permit_mynetworks, reject\ninet_protocols = all\nmyhostname = m.example.com\n"
    );
    let patient =
        container(json!({"NetworkSettings": {"Ports": ports}}), &[("postconf -x", &all), ("postconf -n", "")]);
    verdicts(&look(&patient, examine), id)
}

#[test]
fn the_engine_says_what_is_published_and_which_bridge_it_is() {
    let both = json!({"25/tcp": [{"HostIp": "0.0.0.0", "HostPort": "25"}, {"HostIp": "::", "HostPort": "25"}]});
    let v4 = json!({"25/tcp": [{"HostIp": "0.0.0.0", "HostPort": "25"}]});
    let local = json!({"25/tcp": [{"HostIp": "127.0.0.1", "HostPort": "25"}]});
    assert_eq!(in_force("127.0.0.0/8 172.16.0.0/12", both.clone(), "RELAY001"), ["fail critical"]);
    assert_eq!(in_force("127.0.0.0/8 172.16.0.0/12", v4, "RELAY001"), ["fail error"]);
    assert_eq!(in_force("127.0.0.0/8 172.16.0.0/12", local, "RELAY001"), ["ok"]);
    assert_eq!(in_force("127.0.0.0/8 172.20.0.5/32", both.clone(), "RELAY001"), ["ok"]);
    assert_eq!(in_force("0.0.0.0/0", json!({}), "RELAY002"), ["fail error"]);
    assert_eq!(in_force("127.0.0.0/8", both.clone(), "RELAY002"), ["ok"]);
    assert_eq!(in_force("127.0.0.0/8", json!({}), "IP6003"), ["warn info"]);
    assert_eq!(in_force("127.0.0.0/8", json!({}), "IP6002"), ["ok"]);
    assert_eq!(in_force("127.0.0.0/8", both, "IP6002"), ["skip"], "offline");
}

#[test]
fn an_engine_that_says_nothing_leaves_it_unknown() {
    let mut patient = container(json!({}), &[]);
    patient.container = crate::doctor::patient::Reach::Failed("no such container".into());
    let findings = look(&patient, examine);
    assert_eq!(verdicts(&findings, "RELAY001"), ["unknown"]);
    assert_eq!(verdicts(&findings, "RELAY002"), ["unknown"]);
}
