//! The doctor on the stack as it is printed, in a network with its own A, AAAA and PTR: nothing to find, and one thing as
//! soon as one thing is broken. Elsewhere it knows less, and finds no more.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::engine::docker_ok;
use crate::lab::{DOMAIN, HOSTNAME, Lab, NAMES, edit, text, until};
use crate::turn;
use crate::world::{PEER, PTR4, PTR6, V4, V6, V6_NETWORK, World};

/// What is looked at on a stack that sends by itself. The others: DKIM006 is about relays, NET008 wants to be asked for.
const LOOKED_AT: &[&str] = &[
    "NET001", "NET002", "NET003", "NET004", "NET005", "NET006", "NET007", "IP6001", "IP6002", "IP6003", "HELO001",
    "HELO002", "HELO003", "HELO004", "KEY001", "KEY002", "KEY003", "KEY004", "KEY005", "KEY006", "DKIM001", "DKIM002",
    "DKIM003", "DKIM004", "DKIM005", "SPF001", "RELAY001", "RELAY002", "QUEUE001", "QUEUE002", "PF001", "PF002",
    "PF003", "PF004", "SYS001", "DEV001",
];
/// What others have to answer for: name servers, and a mail server outside.
const ASKED_OF_OTHERS: &[&str] =
    &["NET001", "NET002", "HELO002", "HELO003", "KEY001", "DKIM001", "DKIM002", "DKIM005", "SPF001", "DMARC001"];

#[test]
fn nothing_is_found_on_the_fresh_stack_and_what_is_broken_is() {
    let Some(_turn) = turn() else { return };
    let Some(world) = World::start() else { return };
    let lab = signing(Lab::with_zones(&World::zones(false)));

    let fresh = doctor_with_image(&lab);
    fresh.assert_nothing_above_info();
    for id in LOOKED_AT {
        assert!(fresh.has(id, "ok"), "{id} is not ok: {}", fresh.of(id));
    }
    // p=none is where a domain begins, and a word about it is no more than that.
    assert!(!fresh.has("DMARC001", "unknown") && !fresh.has("DMARC001", "skip"), "{}", fresh.of("DMARC001"));
    // Everything is known, in the highest tier in which it can be.
    for (id, tier) in [
        ("NET001", "observed"),
        ("NET007", "observed"),
        ("HELO001", "observed"),
        ("DKIM005", "observed"),
        ("SYS001", "observed"),
        ("RELAY001", "effective"),
        ("QUEUE001", "effective"),
        ("HELO004", "files"),
    ] {
        assert!(fresh.checks.iter().any(|check| check["id"] == id && check["tier"] == tier), "{}", fresh.of(id));
    }
    assert_eq!(fresh.code, 0);

    let mut wrong = what_is_broken_in_dns(&lab);
    wrong.extend(what_is_set_wrong(&lab));
    let ahead = doctor_at(&lab, &["faketime", "-f", "+10m"], &[]);
    wrong.extend(ahead.other_than("a clock that is ahead", &["SYS001 fail"]));
    wrong.extend(doctor(&lab).other_than("all of it is mended", &[]));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Elsewhere: nobody outside, and a name server that says nothing.
    drop(world);
    lab.dns.freeze();
    let alone = doctor_with_image(&lab);
    lab.dns.thaw();
    alone.assert_nothing_above_info();
    for id in ASKED_OF_OTHERS {
        assert!(alone.has(id, "unknown") && !alone.has(id, "ok"), "{id} is not unknown: {}", alone.of(id));
    }
    // What can be seen from here is as well as before.
    for id in LOOKED_AT
        .iter()
        .filter(|id| ["IP6002", "KEY003", "KEY006", "RELAY", "QUEUE", "PF"].iter().any(|it| id.starts_with(it)))
    {
        assert!(alone.has(id, "ok"), "{id} is not ok: {}", alone.of(id));
    }
    assert_eq!(alone.code, 4);
}

/// One thing at a time, and what was found instead of exactly that.
fn what_is_broken_in_dns(lab: &Lab) -> Vec<String> {
    let ptr = |target: &str| format!("update delete {PTR4} PTR\nupdate add {PTR4} 60 PTR {target}.{DOMAIN}.");
    let spf = |what: &str| format!("update delete {DOMAIN} TXT\nupdate add {DOMAIN} 60 TXT \"v=spf1 {what} -all\"");
    let key = format!("s1._domainkey.{DOMAIN}");
    let record = Command::new("dig").args(["+short", &format!("@{NAMES}"), &key, "TXT"]).output().unwrap().stdout;
    let record = String::from_utf8(record).unwrap();
    lab.change_dns(&format!("update add other.{DOMAIN} 60 A {V4}\nsend\nupdate add gone.{DOMAIN} 60 A 198.18.78.99"));
    let mut wrong = Vec::new();
    for (what, broken, mended, found) in [
        ("no reverse name", format!("update delete {PTR4} PTR"), ptr("mail"), &["NET002 fail"][..]),
        ("a reverse name that leads elsewhere", ptr("gone"), ptr("mail"), &["NET003 fail"]),
        ("another reverse name than HELO", ptr("other"), ptr("mail"), &["HELO003 warn"]),
        ("SPF without the address", spf("ip4:192.0.2.1"), spf(&format!("ip4:{V4}")), &["SPF001 fail"]),
        (
            "no DMARC",
            format!("update delete _dmarc.{DOMAIN} TXT"),
            format!("update add _dmarc.{DOMAIN} 60 TXT \"v=DMARC1; p=none; rua=mailto:dmarc@{DOMAIN}\""),
            &["DMARC001 warn"],
        ),
        (
            "no DKIM record",
            format!("update delete {key} TXT"),
            format!("update add {key} 3 TXT {record}"),
            &["DKIM002 fail", "DKIM005 fail"],
        ),
    ] {
        lab.change_dns(&broken);
        wrong.extend(doctor(lab).other_than(what, found));
        lab.change_dns(&mended);
    }
    wrong
}

fn what_is_set_wrong(lab: &Lab) -> Vec<String> {
    let mut wrong = Vec::new();
    for (what, setting, found) in [
        (
            "a HELO name that nobody knows",
            format!("smtp_helo_name=nobody.{DOMAIN}"),
            &["HELO002 fail", "HELO003 warn"][..],
        ),
        ("a mail server for the whole world", "mynetworks=0.0.0.0/0".to_owned(), &["RELAY002 fail"]),
        ("mail that leaves in the clear", "smtp_tls_security_level=none".to_owned(), &["PF003 warn"]),
    ] {
        let name = setting.split('=').next().unwrap();
        let before = docker_ok(&["exec", HOSTNAME, "postconf", "-n", name]);
        docker_ok(&["exec", HOSTNAME, "postconf", "-e", &setting]);
        wrong.extend(doctor(lab).other_than(what, found));
        match before.replace(" = ", "=") {
            unset if unset.is_empty() => docker_ok(&["exec", HOSTNAME, "postconf", "-X", name]),
            was => docker_ok(&["exec", HOSTNAME, "postconf", "-e", &was]),
        };
    }
    wrong
}

/// As the README of the stack says: once the reverse name is confirmed, `inet_protocols = all` and a network with IPv6.
#[test]
fn with_ipv6_nothing_is_found_until_its_reverse_name_is_gone() {
    let Some(_turn) = turn() else { return };
    let Some(_world) = World::start() else { return };
    let lab = Lab::with_zones(&World::zones(true));
    edit(&lab.file("mail/main.cf"), |text| text.replace("inet_protocols = ipv4", "inet_protocols = all"));
    edit(&lab.file("compose.yaml"), |text| {
        let subnet = format!("        - subnet: {V6_NETWORK}\n\nvolumes:");
        text.replace("enable_ipv6: false", "enable_ipv6: true").replacen("\nvolumes:", &subnet, 1)
    });
    edit(&lab.file("compose.lab.yaml"), |text| {
        text.replacen("  mail:\n", &format!("  mail:\n    networks: {{mail: {{ipv6_address: \"{V6}\"}}}}\n"), 1)
    });
    let lab = signing(lab);

    let fresh = doctor(&lab);
    assert_eq!(fresh.other_than("nothing", &[]), None);
    for (id, about) in
        [("NET001", "IPv6"), ("NET002", V6), ("NET003", V6), ("NET007", V6), ("IP6001", V6), ("HELO003", V6)]
    {
        let is_ok = |check: &&Value| check["id"] == id && check["about"] == about && check["result"] == "ok";
        assert!(fresh.checks.iter().any(|check| is_ok(&check)), "{id} of {about} is not ok: {}", fresh.of(id));
    }
    assert_eq!(fresh.code, 0);

    lab.change_dns(&format!("update delete {PTR6} PTR"));
    let gone = doctor(&lab).other_than("no reverse name for IPv6", &["IP6001 fail", "NET002 fail"]);
    assert_eq!(gone, None);
    lab.change_dns(&format!("update add {PTR6} 60 PTR {HOSTNAME}."));
    assert_eq!(doctor(&lab).other_than("it is back", &[]), None);
}

/// The stack, up and signing with its first key.
fn signing(mut lab: Lab) -> Lab {
    lab.up();
    lab.secure(&["rotate", DOMAIN]);
    lab.run_until("s1", "active");
    assert_eq!(lab.unchecked.get(), 0, "the signer starts with its first row, and is waited for");
    until("the healthcheck is content", 60, || {
        docker_ok(&["inspect", "--format", "{{.State.Health.Status}}", HOSTNAME]) == "healthy"
    });
    lab
}

/// Looks at the stack's directory, its running container, its DNS and every layer of its image.
fn doctor_with_image(lab: &Lab) -> Seen {
    doctor_at(lab, &[], &["--image", &format!("{DOMAIN}/mail")])
}

/// All but the image, which takes its time, and stays as it is.
fn doctor(lab: &Lab) -> Seen {
    doctor_at(lab, &[], &[])
}

/// `before` comes before the program.
fn doctor_at(lab: &Lab, before: &[&str], more: &[&str]) -> Seen {
    let resolver = format!("{NAMES}:53");
    let mut argv = before.to_vec();
    argv.extend([env!("CARGO_BIN_EXE_dkimctl"), "--config", "secure/dkimctl.toml", "doctor", "--json", "--files", "."]);
    argv.extend(["--container", HOSTNAME, "--peer", PEER, "--resolver", &resolver]);
    argv.extend(more);
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).env_clear().env("HOME", text(lab.dir.path())).current_dir(lab.stack());
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    let output = command.output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    Seen { checks: document["checks"].as_array().unwrap().clone(), code: output.status.code().unwrap() }
}

/// What a run of the doctor came to.
struct Seen {
    checks: Vec<Value>,
    code: i32,
}

impl Seen {
    fn has(&self, id: &str, result: &str) -> bool {
        self.checks.iter().any(|check| check["id"] == id && check["result"] == result)
    }

    /// All that was said of one check.
    fn of(&self, id: &str) -> String {
        let of = self.checks.iter().filter(|check| check["id"] == id);
        of.map(|check| format!("\n{check}")).collect()
    }

    /// What is above info.
    fn findings(&self) -> impl Iterator<Item = &Value> {
        let bad =
            |check: &&Value| check["result"] == "fail" || check["result"] == "warn" && check["severity"] != "info";
        self.checks.iter().filter(bad)
    }

    fn assert_nothing_above_info(&self) {
        let findings: Vec<&Value> = self.findings().collect();
        assert!(findings.is_empty(), "{findings:#?}");
    }

    /// Nothing, if exactly these were found, as `ID result`, whatever they are about, and nothing is unknown.
    fn other_than(&self, what: &str, wanted: &[&str]) -> Option<String> {
        let unknown = self.checks.iter().filter(|check| check["result"] == "unknown");
        let found: Vec<&Value> = self.findings().chain(unknown).collect();
        let plain = |value: &Value| value.as_str().unwrap().to_owned();
        let lines: BTreeSet<String> =
            found.iter().map(|check| format!("{} {}", plain(&check["id"]), plain(&check["result"]))).collect();
        (!lines.iter().map(String::as_str).eq(wanted.iter().copied()))
            .then(|| format!("{what}: {lines:?}, not {wanted:?}: {found:#?}"))
    }
}
