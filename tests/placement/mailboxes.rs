//! The whole way: the program submits through a real Postfix (STARTTLS, login) that signs with a real OpenDKIM; a small
//! provider files the mail into a real Dovecot; the program finds it there.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, RwLock};

use dkimctl::embedded_dns::{Data, EmbeddedDns, Records, Zone, from_map};
use dkimctl::keygen::PrivateKey;
use dkimctl::signers::milter::Socket;
use dkimctl_state::name::Fqdn;
use tempfile::TempDir;

use super::headers::mail;
use super::program::{dkimctl, said};
use super::provider::{Provider, Rule};
use crate::opendkimd::{self, OpenDkimd};
use crate::servers::dovecot::{Certificate, Dovecot};
use crate::servers::postfix::{Postfix, PostfixPlan};
use crate::servers::{free_port, servers_or_skip};

const PASSWORD: &str = "correct-horse-7h1s-1s-s3cr3t";

/// A directory that the servers' users reach.
fn reachable() -> TempDir {
    let directory = tempfile::Builder::new().prefix("dkimctl-placement-").tempdir_in("/var/lib").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn below(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A Dovecot with one mailbox for each provider, and the configuration that knows them.
struct Mailboxes {
    dovecot: Dovecot,
    certificate: Certificate,
    home: TempDir,
    directory: TempDir,
}

impl Mailboxes {
    fn start() -> Mailboxes {
        let (directory, home) = (reachable(), TempDir::new().unwrap());
        let certificate = Certificate::make(&below(directory.path(), "tls"));
        let users = [("gmail", PASSWORD), ("outlook", PASSWORD), ("probe", PASSWORD)];
        let dovecot = Dovecot::start(&below(directory.path(), "dovecot"), &certificate, &users);
        private(&home.path().join("secret"), PASSWORD);
        Mailboxes { dovecot, certificate, home, directory }
    }

    /// `[placement]` without a submission server.
    fn seeds(&self) -> String {
        let authority = self.certificate.authority.display();
        let seed = |name: &str, address: &str, imap: u16, tls: &str| {
            format!(
                "[[placement.seed]]\nname = \"{name}\"\naddress = \"{address}\"\nimap = \"localhost:{imap}\"\ntls = \"{tls}\"\n\
                 user = \"{name}\"\nsecret_file = \"secret\"\nca_file = \"{authority}\"\n"
            )
        };
        seed("gmail", "seed@gmail.com", self.dovecot.starttls.port(), "starttls")
            + &seed("outlook", "seed@outlook.com", self.dovecot.implicit.port(), "implicit")
    }

    fn configure(&self, text: &str) {
        fs::write(self.home.path().join("dkimctl.toml"), text).unwrap();
    }

    fn json(&self, args: &[&str], code: i32) -> serde_json::Value {
        let output = dkimctl(self.home.path(), args).arg("--json").output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}:\n{stdout}{stderr}\n{}", self.dovecot.log());
        assert!(!format!("{stdout}{stderr}").contains(PASSWORD), "a secret was printed");
        serde_json::from_str(&stdout).unwrap()
    }

    fn said(&self, args: &[&str], code: i32) -> String {
        let (seen, text) = said(&mut dkimctl(self.home.path(), args));
        assert_eq!(seen, code, "{args:?}:\n{text}\n{}", self.dovecot.log());
        assert!(!text.contains(PASSWORD), "a secret was printed: {text}");
        text
    }
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        crate::servers::skip("Dovecot and Postfix need root");
    }
    root
}

const TOKEN: &str = "01KAPZ9W000000000000000000";

#[test]
fn probes_are_found_in_inbox_and_junk() {
    if !servers_or_skip(&[Dovecot::PROGRAM, "openssl"]) || !is_root() {
        return;
    }
    let bench = Mailboxes::start();
    bench.configure(&format!(
        "[placement]\nfamilies = [\"gmail\", \"microsoft\", \"yahoo\", \"proton\"]\n{}",
        bench.seeds()
    ));
    let read = ["placement", "read", "--token", TOKEN];
    let empty = bench.json(&read, 4);
    assert_eq!(empty["missing"].as_array().unwrap().len(), 2);

    bench.dovecot.deliver("gmail", "INBOX", mail("gmail").as_bytes());
    bench.dovecot.deliver("gmail", "INBOX", mail("gmail").replace(TOKEN, "01KAPZ9W000000000000000001").as_bytes());
    bench.dovecot.deliver("outlook", "Junk", mail("outlook").as_bytes());
    let seen = bench.json(&read, 3);
    let mailboxes = seen["mailboxes"].as_array().unwrap();
    let summary: Vec<_> = mailboxes
        .iter()
        .map(|m| ["mailbox", "folder", "outcome"].map(|key| m[key].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(summary, [["gmail", "inbox", "ok"], ["outlook", "junk", "failed"]]);
    assert_eq!(mailboxes[1]["faults"], serde_json::json!(["junk"]));
    let states: Vec<&str> = seen["coverage"].as_array().unwrap().iter().map(|c| c["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["seen", "seen", "no seed", "no seed"]);
    // Nothing was marked as read.
    let new = fs::read_dir(bench.dovecot.directory().join("mail/outlook/.Junk/cur")).unwrap();
    assert!(new.flatten().all(|entry| !entry.file_name().to_string_lossy().ends_with('S')), "it was marked as seen");
    assert_eq!(
        bench.json(&["placement", "read", "--token", TOKEN, "--seed", "gmail"], 0)["mailboxes"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn what_cannot_be_looked_into_is_said_and_costs_no_password() {
    if !servers_or_skip(&[Dovecot::PROGRAM, "openssl"]) || !is_root() {
        return;
    }
    let bench = Mailboxes::start();
    bench.dovecot.deliver("outlook", "INBOX", mail("outlook").as_bytes());
    let read = ["placement", "read", "--token", TOKEN];
    // A password that is wrong.
    private(&bench.home.path().join("wrong"), "wrong-9f2e");
    bench.configure(&bench.seeds().replacen("\"secret\"", "\"wrong\"", 1));
    let text = bench.said(&read, 4);
    assert!(text.contains("localhost does not take the user gmail") && !text.contains("wrong-9f2e"), "{text}");
    // A secret that others can read.
    fs::set_permissions(bench.home.path().join("wrong"), fs::Permissions::from_mode(0o644)).unwrap();
    let text = bench.said(&read, 4);
    assert!(text.contains("is open to others"), "{text}");
    // Nobody listens.
    bench.configure(&bench.seeds().replace(&bench.dovecot.starttls.port().to_string(), &free_port().to_string()));
    let text = bench.said(&read, 4);
    assert!(text.contains("could not look: no connection to localhost"), "{text}");
    // An authority that nobody has told us of.
    bench.configure(&bench.seeds().replace("ca_file", "# ca_file"));
    let text = bench.said(&read, 4);
    assert!(text.matches("could not look").count() == 2 && text.to_lowercase().contains("certificate"), "{text}");
}

#[test]
fn a_server_that_refuses_starttls_gets_no_password() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n").unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let tag = line.split(' ').next().unwrap().to_owned();
        stream.write_all(format!("{tag} BAD no such command\r\n").as_bytes()).unwrap();
        let _ = lines.read_to_string(&mut line);
        line
    });
    let home = TempDir::new().unwrap();
    private(&home.path().join("secret"), PASSWORD);
    let seed = format!(
        "[[placement.seed]]\nname = \"a\"\naddress = \"a@b.example\"\nimap = \"localhost:{port}\"\ntls = \"starttls\"\nsecret_file = \"secret\"\n"
    );
    fs::write(home.path().join("dkimctl.toml"), seed).unwrap();
    let (code, text) = said(&mut dkimctl(home.path(), &["placement", "read", "--token", TOKEN]));
    assert_eq!(code, 4, "{text}");
    let heard = heard.join().unwrap();
    assert!(heard.contains("STARTTLS") && !heard.contains("LOGIN") && !heard.contains(PASSWORD), "{heard}");
}

/// The state with one active key, which OpenDKIM signs with, and a Postfix that takes mail from those who log in.
struct MailHost {
    postfix: Postfix,
    _signer: OpenDkimd,
    _dns: EmbeddedDns,
}

impl MailHost {
    fn start(bench: &Mailboxes, provider: &Provider) -> MailHost {
        let key = openssl_key();
        let name: Fqdn = "mail._domainkey.example.com".parse().unwrap();
        let records: Records = Arc::new(RwLock::default());
        let text = key.public().record(key.algorithm());
        records.write().unwrap().insert(name, vec![(300, Data::txt(text))]);
        let dns = EmbeddedDns::start(vec![Zone::new("example.com".parse().unwrap())], from_map(records)).unwrap();
        let signer = OpenDkimd::start(&opendkimd::Options {
            signing_table: "*@example.com mail\n".to_owned(),
            ..opendkimd::Options::default()
        });
        let pem = signer.write_key("mail.private", key.pem());
        fs::write(signer.key_table(), format!("mail example.com:mail:{}\n", pem.display())).unwrap();
        let mut signer = signer;
        signer.stop();
        signer.run();
        let Socket::Inet { host, port } = &signer.socket else { unreachable!("it was asked for a port") };
        let plan = PostfixPlan { milter: format!("inet:{host}:{port}"), relay: provider.address, routes: Vec::new() };
        let Certificate { certificate, key: tls_key, .. } = &bench.certificate;
        let lines = format!(
            "smtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n\
             smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {}\n\
             smtpd_relay_restrictions = permit_sasl_authenticated, reject\n\
             smtpd_recipient_restrictions = check_recipient_access inline:{{ {{full@gmail.com = 452 4.2.2 full}} }}, permit_sasl_authenticated, reject\n",
            certificate.display(),
            tls_key.display(),
            bench.dovecot.login_socket().display()
        );
        let postfix = Postfix::start_with(&below(bench.directory.path(), "postfix"), &plan, &lines);
        bench.said(&["init", "--domain", "example.com", "--no-input"], 0);
        private(&bench.home.path().join("mail.private"), key.pem());
        let (_, recipient) = dkimctl::sealing::host_identity();
        bench.configure(&format!(
            "[[domain]]\nname = \"example.com\"\n[provider.dns]\ntype = \"memory\"\nzones = [\"example.com\"]\n\
             [signer.mail]\noutbox = \"outbox\"\nreceipts = \"receipts\"\n[secrets]\nrecipients = [\"{recipient}\"]\n\
             [observe]\nnameservers = [\"{}\"]\n\
             [placement]\nfrom = \"probe@example.com\"\nhost = \"localhost\"\nport = {}\nuser = \"probe\"\n\
             secret_file = \"secret\"\nca_file = \"{}\"\n{}",
            dns.address(),
            postfix.address.port(),
            bench.certificate.authority.display(),
            bench.seeds()
        ));
        bench.said(&["adopt", "example.com", "--selector", "mail", "--key", "mail.private"], 0);
        MailHost { postfix, _signer: signer, _dns: dns }
    }
}

/// Made by openssl, as a key that is taken over would be.
fn openssl_key() -> PrivateKey {
    let arguments = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let output = Command::new("openssl").args(arguments).stderr(Stdio::null()).output().unwrap();
    PrivateKey::from_pem(std::str::from_utf8(&output.stdout).unwrap()).unwrap()
}

#[test]
fn a_probe_goes_the_whole_way_and_is_found() {
    let programs = [Dovecot::PROGRAM, Postfix::PROGRAM, "openssl"];
    if !servers_or_skip(&programs) || !opendkimd::available("placement") {
        return;
    }
    let bench = Mailboxes::start();
    let rule = |address, plays, folder| Rule { address, plays, user: plays, folder };
    let rules = vec![rule("seed@gmail.com", "gmail", "INBOX"), rule("seed@outlook.com", "outlook", "Junk")];
    let provider = Provider::start(bench.dovecot.directory().to_owned(), rules, "mail");
    let host = MailHost::start(&bench, &provider);

    let before = bench.said(&["placement", "read"], 1);
    assert!(before.contains("no probe was sent yet") && before.contains("hint: dkimctl placement send"), "{before}");
    let sent = bench.json(&["placement", "send"], 0);
    let results: Vec<&str> =
        sent["seeds"].as_array().unwrap().iter().map(|seed| seed["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["taken", "taken"], "{}", host.postfix.log());
    let token = sent["token"].as_str().unwrap();

    let seen = bench.json(&["placement", "read", "--wait", "60s"], 3);
    assert_eq!(seen["round"]["token"], token);
    let mailboxes = seen["mailboxes"].as_array().unwrap();
    assert_eq!(mailboxes.len(), 2, "{seen:#}\n{}", host.postfix.log());
    for (mailbox, folder) in mailboxes.iter().zip(["inbox", "junk"]) {
        assert_eq!((mailbox["folder"].as_str(), mailbox["token"].as_str()), (Some(folder), Some(token)));
        assert_eq!(mailbox["signatures"], 1, "it is not signed: {mailbox:#}");
        let signature = &mailbox["dkim"][0];
        let said = ["result", "domain", "selector", "key"].map(|key| signature[key].as_str().unwrap_or_default());
        assert_eq!(said, ["pass", "example.com", "mail", "active"], "{mailbox:#}");
        assert_eq!(mailbox["changed"], serde_json::json!([]));
    }
    assert!(mailboxes[1]["sentence"].as_str().unwrap().starts_with("Authentication is fine; the filter"));

    // The next round, in which the filter has learnt better: what changed is said.
    provider.file_into("seed@outlook.com", "INBOX");
    bench.said(&["placement", "send", "--seed", "outlook"], 0);
    let seen = bench.json(&["placement", "read", "--seed", "outlook", "--wait", "60s"], 0);
    let changed = serde_json::json!([{"what": "folder", "before": "junk", "now": "inbox"}]);
    assert_eq!(seen["mailboxes"][0]["changed"], changed, "{seen:#}");
}

#[test]
fn a_submission_that_fails_is_said() {
    let programs = [Dovecot::PROGRAM, Postfix::PROGRAM, "openssl"];
    if !servers_or_skip(&programs) || !opendkimd::available("placement") {
        return;
    }
    let bench = Mailboxes::start();
    let rules = vec![Rule { address: "seed@gmail.com", plays: "gmail", user: "gmail", folder: "INBOX" }];
    let provider = Provider::start(bench.dovecot.directory().to_owned(), rules, "mail");
    let _host = MailHost::start(&bench, &provider);
    let config = fs::read_to_string(bench.home.path().join("dkimctl.toml")).unwrap();
    // One mailbox is full.
    bench.configure(&config.replace("seed@gmail.com", "full@gmail.com"));
    let sent = bench.json(&["placement", "send"], 3);
    let results: Vec<&str> =
        sent["seeds"].as_array().unwrap().iter().map(|seed| seed["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["deferred", "taken"], "{sent:#}");
    // The password is wrong.
    private(&bench.home.path().join("wrong"), "wrong-9f2e");
    bench.configure(&config.replacen("secret_file = \"secret\"\nca_file", "secret_file = \"wrong\"\nca_file", 1));
    let text = bench.said(&["placement", "send"], 3);
    assert!(text.contains("535") && !text.contains("wrong-9f2e"), "{text}");
    // An authority that nobody has told us of.
    bench.configure(&config.replacen("ca_file", "# ca_file", 1));
    let text = bench.said(&["placement", "send"], 1);
    assert!(text.to_lowercase().contains("certificate"), "{text}");
}
