use serde_json::json;

use super::*;
use crate::doctor::rig::{container, found, look, verdicts};

const CONF_TEXT: &str = "Mode sv\nKeyTable file:/etc/opendkim/KeyTable\nSigningTable refile:/etc/opendkim/SigningTable\nSocket inet:8891@localhost\n";
const KEYS: &str = "k1 example.com:s1:/etc/opendkim/keys/s1.private\n";

fn written(conf: &str, keys: &str, signing: &str) -> Vec<String> {
    let tree = [("mail/opendkim.conf", conf), ("mail/KeyTable", keys), ("mail/SigningTable", signing)];
    verdicts(&found(&tree, examine), "KEY006")
}

#[test]
fn tables_are_held_against_each_other() {
    assert_eq!(written(CONF_TEXT, KEYS, "*@example.com k1\n"), ["ok"]);
    assert_eq!(written(CONF_TEXT, KEYS, "# c\n*@example.com k2\n"), ["fail error mail/SigningTable:2"]);
    assert_eq!(written(CONF_TEXT, "k1 example.com:s1\n", "*@example.com k1\n"), ["fail error mail/KeyTable:1"]);
    let exact = CONF_TEXT.replace("refile", "file");
    assert_eq!(written(&exact, KEYS, "*@example.com k1\n"), ["fail error mail/SigningTable:1"]);
    assert_eq!(written(&exact, KEYS, "example.com k1\n"), ["ok"]);
    assert!(verdicts(&found(&[("opendkim.conf", CONF_TEXT)], examine), "KEY006").is_empty(), "tables are elsewhere");
}

fn in_force(keys: &str, signing: &str, missing: &str) -> Vec<String> {
    let answers = [
        ("cat -- /etc/opendkim.conf", CONF_TEXT),
        ("cat -- /etc/opendkim/KeyTable", keys),
        ("cat -- /etc/opendkim/SigningTable", signing),
        ("sh -c for path; do [ -f \"$path\" ] || echo \"$path\"; done sh /etc/opendkim/keys/s1.private", missing),
    ];
    verdicts(&look(&container(json!({}), &answers), examine), "KEY006")
}

/// rspamd's, as the container has them.
fn of_rspamd(keys: &str, signing: &str) -> Vec<String> {
    let dump = r#"{"dkim_signing": {"key_table": "/t/KeyTable", "signing_table": "/t/SigningTable"}, "worker": {}}"#;
    let answers = [
        ("cat -- /etc/rspamd/rspamd.conf", "..."),
        ("rspamadm configdump -C -c /etc/rspamd/rspamd.conf", dump),
        ("cat -- /t/KeyTable", keys),
        ("cat -- /t/SigningTable", signing),
        ("sh -c for path; do [ -f \"$path\" ] || echo \"$path\"; done sh /k/s1.pem", ""),
        ("sh -c for path; do [ -f \"$path\" ] || echo \"$path\"; done sh /k/s1.pem /k/s2.pem", "/k/s2.pem\n"),
    ];
    verdicts(&look(&container(json!({}), &answers), examine), "KEY006")
}

#[test]
fn the_tables_of_rspamd() {
    let first = "k1 example.com:s1:/k/s1.pem\n";
    assert_eq!(of_rspamd(first, "*@example.com k1\n"), ["ok"]);
    assert_eq!(of_rspamd(first, "*@example.com k9\n"), ["fail error mail:/t/SigningTable:1"]);
    let both = format!("{first}k2 example.com.au:s2:/k/s2.pem\n");
    let missing = of_rspamd(&both, "*@example.com k1\n");
    assert_eq!(missing, ["ok", "fail error mail:/t/KeyTable"]);
    let shadowed = of_rspamd(&both, "*@example.com.au k2\n*@example.com k1\n");
    assert_eq!(shadowed, ["fail error mail:/t/SigningTable", "fail error mail:/t/KeyTable"]);
}

#[test]
fn the_containers_own_tables_and_files() {
    assert_eq!(in_force(KEYS, "*@example.com k1\n", ""), ["ok"]);
    let missing = in_force(KEYS, "*@example.com k1\n", "/etc/opendkim/keys/s1.private\n");
    assert_eq!(missing, ["ok", "fail error mail:/etc/opendkim/KeyTable"]);
    assert_eq!(in_force(KEYS, "*@example.com k9\n", ""), ["fail error mail:/etc/opendkim/SigningTable:1"]);
    assert!(look(&container(json!({}), &[]), examine).is_empty(), "no OpenDKIM in there");
    let no_table = container(json!({}), &[("cat -- /etc/opendkim.conf", CONF_TEXT)]);
    assert_eq!(verdicts(&look(&no_table, examine), "KEY006"), ["fail error"]);
}

fn headers(conf: &str, relay: &str) -> Vec<String> {
    let main = format!("relayhost = {relay}\n");
    let conf = format!("{CONF_TEXT}{conf}");
    verdicts(&found(&[("mail/opendkim.conf", &conf), ("mail/main.cf", &main)], examine), "DKIM006")
}

#[test]
fn what_a_relay_rewrites_is_not_signed() {
    let ses = "[email-smtp.eu-west-1.amazonaws.com]:587";
    assert_eq!(headers("", ses), ["warn mail/opendkim.conf"]);
    assert_eq!(headers("SignHeaders *,-Date,-Message-ID\n", ses), ["ok"]);
    assert_eq!(headers("SignHeaders From,To,Subject\n", ses), ["ok"]);
    assert_eq!(headers("SignHeaders From,To,Message-ID\n", ses), ["warn mail/opendkim.conf:5"]);
    assert_eq!(headers("OmitHeaders Date,Message-ID\n", ses), ["ok"]);
    assert_eq!(headers("SignHeaders *,+Message-ID,-Date\n", ses), ["warn mail/opendkim.conf:5"]);
    assert!(headers("", "[smtp.example.net]:587").is_empty());
}
