//! What others do to our records behind our back: taken away, changed, joined by a stranger. `verify` says which is
//! which, and puts back only what is missing.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use dkimctl::keygen::{KeyKind, generate};

use crate::lab::{Lab, Plan, key, powerdns, rfc2136, texts_at};
use crate::servers::{Bind, Pdns, TestZone, servers_or_skip};

const ZONE: &str = "example.com";
const NAME: &str = "mail._domainkey.example.com";
const STRANGER: &str = "other._domainkey.example.com";

fn nsupdate(server: SocketAddr, lines: &str) {
    let key = key();
    let (ip, port) = (server.ip(), server.port());
    let script =
        format!("server {ip} {port}\nzone {ZONE}.\nkey {}:{} {}\n{lines}\nsend\n", key.algorithm, key.name, key.secret);
    let mut child = Command::new("nsupdate").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{lines}");
}

#[test]
fn missing_is_repaired_changed_is_left_and_a_stranger_is_named() {
    let [server, tool, sqlite] = Pdns::programs();
    if !servers_or_skip(&[Bind::PROGRAM, "nsupdate", server, tool, sqlite]) {
        return;
    }
    let private = generate(KeyKind::Rsa { bits: 2048 }).unwrap();
    let text = private.public().record(private.algorithm());
    let quoted = text.quoted();
    let zone = || TestZone::new(ZONE).with(&format!("mail._domainkey 1 TXT {quoted}"));
    let (bind, pdns) = (Bind::start(&[key()], &[zone()]), Pdns::start(&[zone()]));
    let providers = rfc2136("bind", bind.address, &[ZONE]) + &powerdns("pdns", &pdns.api);
    let observe = format!("nameservers = [\"{}\", \"{}\"]", bind.address, pdns.address);
    let provider = "providers = [\"bind\", \"pdns\"]";
    let lab = Lab::new(&Plan { domain: ZONE, provider, providers: &providers, observe: &observe, signs: false });
    fs::write(lab.path("mail.private"), private.pem()).unwrap();
    fs::set_permissions(lab.path("mail.private"), fs::Permissions::from_mode(0o600)).unwrap();
    lab.run(&["adopt", ZONE, "--selector", "mail", "--key", "mail.private"]);
    assert!(!lab.ok(&["verify"]).contains(" at "), "both have it, and nothing else");

    // Taken away at one: seen, and put back when somebody says so, not before.
    pdns.util(&["delete-rrset", ZONE, "mail._domainkey", "TXT"]);
    let (said, code) = lab.run(&["verify"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&format!("FAIL {NAME} (active) at pdns: missing")), "{said}");
    assert!(!said.contains("at bind"), "{said}");
    assert!(texts_at(pdns.address, NAME).is_empty(), "looking repairs nothing");
    let said = lab.ok(&["verify", "--repair"]);
    assert!(said.contains(&format!("done {NAME} (active) at pdns: was missing, and is written again")), "{said}");
    assert_eq!(texts_at(pdns.address, NAME), [text.to_string()]);

    // Changed at one: somebody meant something by it.
    let other = "v=DKIM1; k=rsa; p=QUJD";
    nsupdate(bind.address, &format!("update delete {NAME}. TXT\nupdate add {NAME}. 1 TXT \"{other}\""));
    let (said, code) = lab.run(&["verify", "--repair"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("at bind: somebody changed it to") && said.contains("nothing is written over"), "{said}");
    assert_eq!(texts_at(bind.address, NAME), [other]);
    nsupdate(bind.address, &format!("update delete {NAME}. TXT\nupdate add {NAME}. 1 TXT {quoted}"));

    // A selector that nobody here knows: named at each, and no failure.
    nsupdate(bind.address, &format!("update add {STRANGER}. 60 TXT \"v=DKIM1; p=QUJD\""));
    pdns.util(&["add-record", ZONE, "other._domainkey", "TXT", "60", "\"v=DKIM1; p=QUJD\""]);
    let said = lab.ok(&["verify"]);
    for label in ["bind", "pdns"] {
        assert!(said.contains(&format!("note {STRANGER} at {label}: a selector that is not in the state")), "{said}");
    }

    // A provider that is silent is not one that has lost it.
    pdns.freeze();
    let (said, code) = lab.run(&["verify", "--repair"]);
    pdns.thaw();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(&format!("?    {NAME} (active) at pdns: could not be asked")), "{said}");
}
