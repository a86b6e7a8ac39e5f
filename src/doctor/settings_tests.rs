use serde_json::{Value, json};

use super::*;
use crate::doctor::rig::{container, found, look, verdicts};

const BUILT: (&str, &str) =
    ("smtp/Dockerfile", "FROM debian:bookworm-slim\nRUN apt-get install -y postfix\nCOPY main.cf /etc/postfix/\n");

fn written(lines: &str, main: &str, more: &[(&str, &str)], id: &str) -> Vec<String> {
    let compose = format!("services:\n  smtp:\n    build: smtp\n    healthcheck: {{test: x}}\n{lines}");
    let mut tree = vec![("compose.yaml", compose.as_str()), BUILT, ("smtp/main.cf", main)];
    tree.extend_from_slice(more);
    verdicts(&found(&tree, examine), id)
}

#[test]
fn main_cf_does_not_read_the_environment() {
    let main = "a = 1\nsmtp_sasl_password_maps = static:${SMTP_USER}:${SMTP_PASS}\n";
    assert_eq!(written("", main, &[], "PF002"), ["fail error smtp/main.cf:2", "fail error smtp/main.cf:2"]);
    assert_eq!(written("", "a = $myhostname\n", &[], "PF002"), ["ok"]);
    assert_eq!(written("", "a = 1\npermit_mynetworks\n", &[], "PF002"), ["fail error smtp/main.cf:2"]);
    let renders = ("smtp/start.sh", "envsubst < main.cf > /etc/postfix/main.cf\n");
    assert_eq!(written("", main, &[renders], "PF002"), ["unknown smtp/main.cf:2", "unknown smtp/main.cf:2"]);
}

#[test]
fn variables_that_nobody_reads() {
    let lines = "    environment:\n      POSTFIX_myhostname: x\n      SMTP_USER: y\n";
    assert_eq!(written(lines, "a = 1\n", &[], "PF002"), ["ok", "fail error compose.yaml:6"]);
    let reads = ("smtp/entrypoint.sh", "postconf -e \"myhostname=$POSTFIX_myhostname\"\n");
    assert_eq!(written(lines, "a = 1\n", &[reads], "PF002"), ["ok"]);
    let compose = format!("services:\n  smtp:\n    image: boky/postfix\n{lines}");
    assert!(verdicts(&found(&[("compose.yaml", &compose)], examine), "PF002").is_empty(), "there they are read");
}

#[test]
fn milters_fail_closed_and_tls_is_used() {
    assert_eq!(written("", "milter_default_action = accept\n", &[], "PF003"), ["warn smtp/main.cf:1", "ok"]);
    assert_eq!(written("", "milter_default_action = tempfail\n", &[], "PF003"), ["ok", "ok"]);
    assert_eq!(written("", "smtp_tls_security_level = none\n", &[], "PF003"), ["warn smtp/main.cf:1", "ok"]);
    assert_eq!(written("", "smtp_tls_security_level = may\n", &[], "PF003"), ["ok"]);
}

#[test]
fn a_service_is_watched() {
    let with = |lines: &str, file: &str| {
        let compose = format!("services:\n  smtp:\n    build: smtp\n{lines}");
        verdicts(&found(&[("compose.yaml", &compose), ("smtp/Dockerfile", file)], examine), "PF003")
    };
    assert_eq!(with("", BUILT.1), ["warn info compose.yaml:3"]);
    assert_eq!(with("    healthcheck: {test: [NONE]}\n", BUILT.1), ["warn info compose.yaml:3"]);
    assert_eq!(with("", &format!("{}HEALTHCHECK CMD postfix status\n", BUILT.1)), ["ok"]);
    assert_eq!(with("    healthcheck: {test: postfix status}\n", BUILT.1), ["ok"]);
}

#[test]
fn the_log_lasts() {
    assert_eq!(written("", "maillog_file = /dev/stdout\n", &[], "PF004"), ["ok"]);
    assert_eq!(written("", "maillog_file = /var/log/mail.log\n", &[], "PF004"), ["warn smtp/main.cf:1"]);
    assert_eq!(written("    volumes: ['log:/var/log']\n", "maillog_file = /var/log/mail.log\n", &[], "PF004"), ["ok"]);
    assert_eq!(written("", "a = 1\n", &[], "PF004"), ["warn smtp/main.cf"]);
    assert_eq!(written("    volumes: ['/dev/log:/dev/log']\n", "a = 1\n", &[], "PF004"), ["ok"]);
    let by_rsyslog = |lines: &str, target: &str| {
        let text = format!("module(load=\"imuxsock\")\nmail.* {target}\n");
        written(lines, "a = 1\n", &[("smtp/rsyslog.conf", &text)], "PF004")
    };
    assert_eq!(by_rsyslog("", "/dev/stdout"), ["ok"]);
    assert_eq!(by_rsyslog("    volumes: ['log:/data']\n", "-/data/mail.log"), ["ok"]);
    assert_eq!(by_rsyslog("    volumes: ['log:/data']\n", "/var/log/mail.log"), ["warn smtp/main.cf"]);
}

#[test]
fn a_chroot_that_is_written_down() {
    let master = ("smtp/master.cf", "smtp inet n - y - - smtpd\n");
    assert_eq!(written("", "a = 1\n", &[master], "PF001"), ["warn smtp/master.cf:1"]);
    let master = ("smtp/master.cf", "smtp inet n - n - - smtpd\nclean unix n - y - 0 cleanup\n");
    assert!(written("", "a = 1\n", &[master], "PF001").is_empty());
}

const USUAL: &str = "compatibility_level = 3.6\nqueue_directory = /q\nmyhostname = m.example.com\nmynetworks = 127.0.0.0/8\n\
    milter_default_action = tempfail\nsmtpd_milters = inet:127.0.0.1:8891\nsmtp_tls_security_level = may\nmaillog_file = /dev/stdout\n";

fn in_force(inspect: Value, main: &str, more: &[(&str, &str)], id: &str) -> Vec<String> {
    let all = format!("{USUAL}{main}");
    let mut answers =
        vec![("postconf -x", all.as_str()), ("postconf -n", ""), ("postconf -F */*/chroot", "smtp/inet/chroot = n\n")];
    answers.extend_from_slice(more);
    verdicts(&look(&container(inspect, &answers), examine), id)
}

#[test]
fn a_chroot_in_force_needs_its_own_resolver() {
    let chroot = ("postconf -F */*/chroot", "smtp/inet/chroot = y\nsmtp/unix/chroot = y\npickup/unix/chroot = y\n");
    let real = ("cat -- /etc/resolv.conf", "nameserver 127.0.0.11\noptions ndots:0\n");
    let same = ("cat -- /q/etc/resolv.conf", "# copy\nnameserver 127.0.0.11\n");
    let old = ("cat -- /q/etc/resolv.conf", "nameserver 192.0.2.53\n");
    assert_eq!(in_force(json!({}), "", &[], "PF001"), ["ok"]);
    assert_eq!(in_force(json!({}), "", &[chroot, real], "PF001"), ["fail error"]);
    assert_eq!(in_force(json!({}), "", &[chroot, real, old], "PF001"), ["fail error"]);
    assert_eq!(in_force(json!({}), "", &[chroot, real, same], "PF001"), ["ok"]);
    let by_name = "smtpd_milters = inet:localhost:8891\n";
    assert_eq!(in_force(json!({}), by_name, &[chroot, real, same], "PF001"), ["fail error"], "no etc/hosts there");
    let default = ("postconf -F */*/chroot", "smtp/inet/chroot = -\n");
    assert_eq!(in_force(json!({}), "", &[default], "PF001"), ["ok"]);
    assert_eq!(in_force(json!({}), "compatibility_level = 0\n", &[default, real], "PF001"), ["fail error"]);
}

#[test]
fn postconf_complains_and_variables_take_effect_or_not() {
    assert_eq!(in_force(json!({}), "", &[], "PF002"), ["ok"]);
    let undefined =
        ("postconf -n", "a = 1\nstderr: postconf: warning: /etc/postfix/main.cf: undefined parameter: SMTP_USER\n");
    assert_eq!(in_force(json!({}), "", &[undefined], "PF002"), ["fail error"]);
    let unused = ("postconf -n", "a = 1\nstderr: postconf: warning: /etc/postfix/main.cf: unused parameter: x=1\n");
    assert_eq!(in_force(json!({}), "", &[unused], "PF002"), ["warn"]);
    let env = |value: &str| json!({"Config": {"Env": [format!("POSTFIX_myhostname={value}"), "POSTFIX_nonsense=1"]}});
    assert_eq!(in_force(env("m.example.com"), "", &[], "PF002"), ["ok", "ok"]);
    assert_eq!(in_force(env("other.example.com"), "", &[], "PF002"), ["ok", "fail error"]);
    let set = ("postconf -n", "myhostname = m.example.com\n");
    assert_eq!(
        in_force(env("other.example.com"), "", &[set], "PF002"),
        ["ok"],
        "something set it: who knows by what rule"
    );
}

#[test]
fn milters_tls_and_certificate_in_force() {
    let health = json!({"Config": {"Healthcheck": {"Test": ["CMD", "true"]}}});
    assert_eq!(in_force(health.clone(), "", &[], "PF003"), ["ok", "ok", "ok"]);
    assert_eq!(in_force(json!({}), "", &[], "PF003"), ["ok", "ok", "warn info"]);
    assert_eq!(in_force(health.clone(), "milter_default_action = accept\n", &[], "PF003"), ["warn", "ok", "ok"]);
    let own = "milter_default_action = accept\nsmtpd_milters = { inet:127.0.0.1:8891, default_action=tempfail }\n";
    assert_eq!(in_force(health.clone(), own, &[], "PF003"), ["ok", "ok", "ok"]);
    assert_eq!(in_force(health.clone(), "smtpd_milters =\n", &[], "PF003"), ["skip", "ok", "ok"]);
    assert_eq!(in_force(health.clone(), "smtp_tls_security_level =\n", &[], "PF003"), ["ok", "warn", "ok"]);
    let snakeoil = "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = /etc/ssl/certs/ssl-cert-snakeoil.pem\n";
    assert_eq!(in_force(health, snakeoil, &[], "PF003"), ["ok", "ok", "warn info", "ok"]);
}

#[test]
fn the_log_in_force() {
    assert_eq!(in_force(json!({}), "", &[], "PF004"), ["ok"]);
    let in_container = "maillog_file = /var/log/mail.log\n";
    assert_eq!(in_force(json!({}), in_container, &[], "PF004"), ["warn"]);
    let script = format!("sh -c {}", syslog::SCRIPT);
    let by_syslog = |says: &str| in_force(json!({}), "maillog_file =\n", &[(script.as_str(), says)], "PF004");
    assert_eq!(by_syslog("pipe:[7]\nlistens\nsocket:[9]\n/var/log/mail.log\n"), ["warn"]);
    assert_eq!(by_syslog("pipe:[7]\nlistens\nsocket:[9]\npipe:[7]\n"), ["ok"]);
    // An image in which nothing can be run.
    assert_eq!(in_force(json!({}), "maillog_file =\n", &[], "PF004"), ["unknown"]);
    let mounted = json!({"Mounts": [{"Type": "bind", "Source": "/dev/log", "Destination": "/dev/log"}]});
    assert_eq!(in_force(mounted, "maillog_file =\n", &[], "PF004"), ["ok"]);
}
