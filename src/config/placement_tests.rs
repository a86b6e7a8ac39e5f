use std::path::Path;

use super::super::{Config, ConfigError};
use super::*;

fn read(text: &str) -> Result<Placement, ConfigError> {
    Config::parse(Path::new("/etc/dkimctl/dkimctl.toml"), text).map(|config| config.placement)
}

fn refusal(text: &str) -> String {
    let error = read(text).expect_err(text);
    let hint = error.mistake.hint().map(|hint| format!("\n{hint}")).unwrap_or_default();
    format!("{error}{hint}").replace("/etc/dkimctl/dkimctl.toml:", "")
}

const SEED: &str = "[[placement.seed]]\nname = \"g\"\naddress = \"seed@gmail.com\"\n";

#[test]
fn two_lines_a_seed_are_enough() {
    let placement = read(SEED).unwrap();
    assert_eq!(placement.seeds[0].family, Family::Gmail);
    assert_eq!(placement.families, [Family::Gmail]);
    assert_eq!((placement.seeds[0].imap.as_ref(), placement.submission.as_ref()), (None, None));
}

#[test]
fn a_mailbox_is_read_over_tls() {
    let text = format!("{SEED}imap = \"imap.gmail.com\"\nsecret_file = \"gmail.secret\"\n");
    let (account, secret) = read(&text).unwrap().seeds[0].imap.clone().unwrap();
    assert_eq!(
        (account.port, account.encryption, account.user.as_str()),
        (993, Encryption::Implicit, "seed@gmail.com")
    );
    assert_eq!(secret, SecretSource::File("/etc/dkimctl/gmail.secret".into()));
    let text =
        format!("{SEED}imap = \"127.0.0.1:143\"\nsecret_credential = \"g\"\nuser = \"seed\"\nlogin = \"xoauth2\"\n");
    let (account, _) = read(&text).unwrap().seeds[0].imap.clone().unwrap();
    assert_eq!((account.port, account.encryption, account.login), (143, Encryption::StartTls, Login::XOAuth2));
}

#[test]
fn mail_is_submitted_with_starttls_unless_said_otherwise() {
    let text =
        "[placement]\nfrom = \"probe@example.com\"\nhost = \"mail.example.com\"\nuser = \"p\"\nsecret_file = \"s\"\n";
    let (submission, secret) = read(text).unwrap().submission.unwrap();
    assert_eq!((submission.port, submission.encryption), (587, Some(Encryption::StartTls)));
    assert!(secret.is_some());
}

#[test]
fn every_mistake_says_where_and_what_instead() {
    let submission = "[placement]\nfrom = \"probe@example.com\"\nhost = \"mail.example.com\"\n";
    for (text, said) in [
        ("[placement]\nhots = \"x\"\n".to_owned(), "2:1: there is no key `hots` here; did you mean `host`?"),
        ("[placement]\nhost = \"x\"\n".to_owned(), "1:1: `from` is missing in [placement]"),
        (format!("{submission}password = \"x\"\n"), "4:12: a literal `password` stands in the file"),
        (format!("{submission}user = \"x\"\n"), "1:1: `secret_file` is missing in [placement]"),
        (format!("{submission}tls = \"none\"\n"), "4:7: mail to mail.example.com would go unencrypted"),
        (
            format!("{submission}tls = \"startls\"\n"),
            "4:7: `startls` is no kind of encryption; did you mean `starttls`?",
        ),
        (
            format!("{submission}families = [\"gmial\"]\n"),
            "4:13: `gmial` is no family of mailbox providers; did you mean `gmail`?",
        ),
        (format!("{SEED}imap = \"imap.gmail.com\"\n"), "1:1: `secret_file` is missing in [[placement.seed]]"),
        (format!("{SEED}password = \"x\"\n"), "4:12: a literal `password` stands in the file"),
        (format!("{SEED}tls = \"none\"\nimap = \"x\"\n"), "4:7: `none` is no kind of encryption"),
        (format!("{SEED}{SEED}"), "4:1: the seed `g` is listed twice"),
        ("[[placement.seed]]\nname = \"g\"\naddress = \"nobody\"\n".to_owned(), "3:11: `nobody` is no mail address"),
    ] {
        let seen = refusal(&text);
        assert!(seen.starts_with(said), "{seen}\nwanted: {said}");
    }
    assert!(refusal(&format!("{SEED}password = \"canary\"\n")).lines().all(|line| !line.contains("canary")));
}
