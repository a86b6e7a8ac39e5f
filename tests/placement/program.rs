//! The program on files: messages, mbox, maildir, standard input.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;

use super::headers::mail;

pub fn dkimctl(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("dkimctl").unwrap();
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap()).current_dir(home).args(args);
    command
}

/// Exit code and both outputs.
pub fn said(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

#[test]
fn a_message_on_standard_input_needs_no_configuration() {
    let home = TempDir::new().unwrap();
    let (code, text) =
        said(dkimctl(home.path(), &["placement", "read", "--seed", "outlook"]).write_stdin(mail("outlook")));
    assert_eq!(code, 3, "{text}");
    assert!(text.starts_with("outlook    Junk (dest:J, SCL 5, CAT SPM, SFV SPM, RF JunkEmail)\n"), "{text}");
    assert!(text.contains("  dkim  pass   example.com  s2     aligned\n"), "{text}");
    assert!(text.contains("  ptr   mail.example.com = HELO mail.example.com     [203.0.113.10]\n"), "{text}");
    assert!(
        text.ends_with("Authentication is fine; the filter disliked content or reputation. Not a DNS problem.\n"),
        "{text}"
    );
    let (code, text) = said(dkimctl(home.path(), &["placement", "read", "-"]).write_stdin(mail("gmail")));
    assert_eq!((code, text.lines().last()), (0, Some("Authentication is fine.")), "{text}");
}

#[test]
fn an_mbox_and_a_maildir_hold_many() {
    let home = TempDir::new().unwrap();
    let path = |name: &str| home.path().join(name);
    let mbox: String = ["gmail", "yahoo", "icloud"]
        .iter()
        .map(|name| format!("From a@b Sun Nov 22 10:00:00 2026\r\n{}\r\n", mail(name)))
        .collect();
    fs::write(path("saved.mbox"), mbox).unwrap();
    let json = |args: &[&str], code: i32| {
        let output = dkimctl(home.path(), args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let seen = json(&["placement", "read", "saved.mbox", "--json"], 0);
    assert_eq!(seen["schema"], 1);
    let families: Vec<&str> =
        seen["mailboxes"].as_array().unwrap().iter().map(|m| m["family"].as_str().unwrap()).collect();
    assert_eq!(families, ["gmail", "yahoo", "icloud"]);

    for below in ["m/cur", "m/new", "m/tmp", "m/.Junk/cur"] {
        fs::create_dir_all(path(below)).unwrap();
    }
    fs::write(path("m/cur/1"), mail("posteo")).unwrap();
    fs::write(path("m/tmp/2"), mail("gmx")).unwrap();
    fs::write(path("m/.Junk/cur/3"), mail("proton")).unwrap();
    let seen = json(&["placement", "read", "m", "--json"], 3);
    let folders: Vec<&str> =
        seen["mailboxes"].as_array().unwrap().iter().map(|m| m["folder"].as_str().unwrap()).collect();
    assert_eq!(folders, ["junk", "inbox"]);
}

#[test]
fn what_is_no_message_is_said_and_not_passed_over() {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("empty"), "").unwrap();
    let (code, text) = said(&mut dkimctl(home.path(), &["placement", "read", "empty", "missing"]));
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("it has no header fields") && text.contains("it cannot be opened"), "{text}");
    let (code, text) = said(&mut dkimctl(home.path(), &["placement", "read"]));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("no configuration was found"), "{text}");
}

#[test]
fn forged_results_are_shown_as_such() {
    let home = TempDir::new().unwrap();
    let message = mail("gmail").replace(
        "DKIM-Signature: v=1",
        "Authentication-Results: mx.google.com; dkim=pass header.d=bank.example; \x1b[2Jspf=pass\r\nDKIM-Signature: v=1",
    );
    let (_, text) = said(dkimctl(home.path(), &["placement", "read", "-"]).write_stdin(message));
    assert!(text.contains("forged Authentication-Results present, not believed: mx.google.com; dkim=pass"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn a_mail_log_is_counted() {
    let home = TempDir::new().unwrap();
    let line = |dsn: &str, said: &str| {
        format!(
            "Nov 22 10:00:00 mail postfix/smtp[9]: 4F: to=<a@gmail.com>, relay=gmail-smtp-in.l.google.com[192.0.2.1]:25, dsn={dsn}, status=bounced (host gmail-smtp-in.l.google.com[192.0.2.1] said: {said})\n"
        )
    };
    let log =
        [line("5.7.25", "550-5.7.25 no PTR"), line("5.7.25", "550-5.7.25 no PTR"), line("5.9.9", "550 5.9.9 what")]
            .concat();
    fs::write(home.path().join("mail.log"), &log).unwrap();
    let (code, text) = said(&mut dkimctl(home.path(), &["doctor", "logs", "mail.log"]));
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("    2 x Gmail 550 5.7.25: the address has no reverse name"), "{text}");
    assert!(text.contains("dkimctl explain NET002     (also NET003)"), "{text}");
    assert!(text.contains("    1 x Gmail 550 5.9.9: not a code that we know"), "{text}");
    let (code, _) = said(dkimctl(home.path(), &["doctor", "logs", "-"]).write_stdin("nothing of the kind\n"));
    assert_eq!(code, 4);
    let mut gzip = flate2_of(log.as_bytes());
    fs::write(home.path().join("mail.log.1.gz"), &gzip).unwrap();
    let output = dkimctl(home.path(), &["doctor", "logs", "mail.log.1.gz", "--json"]).output().unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((seen["schema"].as_u64(), seen["rows"][0]["bounced"].as_u64()), (Some(1), Some(2)));
    gzip.truncate(gzip.len() / 2);
    fs::write(home.path().join("torn.gz"), &gzip).unwrap();
    let (code, text) = said(&mut dkimctl(home.path(), &["doctor", "logs", "torn.gz"]));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("it cannot be read to its end"), "{text}");
}

fn flate2_of(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}
