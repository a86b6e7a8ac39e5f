use super::*;
use crate::config::Config;
use crate::host::settings::HostSettings;
use crate::secrets::signed::SigningKey;
use crate::signers::opendkim::conf::{Conf, Severity};
use crate::stack::Introduced;
use crate::stack::relay::Relay;

fn choices(relay: Relay, signs: Signs) -> Choices {
    let (_, recipient) = crate::sealing::host_identity();
    Choices {
        domain: "example.com".parse().unwrap(),
        hostname: "mail.example.com".parse().unwrap(),
        relay,
        signs,
        subnet: "172.30.25.0/28".parse().unwrap(),
        signer: "mail".parse().unwrap(),
        dir: "/srv/mail".to_owned(),
        keys: Introduced {
            manifest: SigningKey::generate().verify_key(),
            receipts: SigningKey::generate().verify_key(),
            recipient: recipient.to_string(),
            secure_here: true,
        },
    }
}

fn text(relay: Relay, path: &str) -> String {
    text_of(relay, Signs::Opendkim, path)
}

fn text_of(relay: Relay, signs: Signs, path: &str) -> String {
    files(&choices(relay, signs)).into_iter().find(|file| file.path == path).unwrap().text
}

const ALL: [Relay; 4] = [Relay::None, Relay::Ses, Relay::Mailgun, Relay::Postmark];
const BOTH: [Signs; 2] = [Signs::Opendkim, Signs::Rspamd];

#[test]
fn no_word_is_left_open() {
    let all = ALL.into_iter().flat_map(|relay| BOTH.map(|signs| files(&choices(relay, signs))));
    for file in all.flatten() {
        // GitHub's own expressions have a `$` before them.
        let ours = file.text.replace("${{", "");
        assert!(!ours.contains("{{"), "{}:\n{}", file.path, file.text);
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    for (relay, signs) in ALL.into_iter().flat_map(|relay| BOTH.map(|signs| (relay, signs))) {
        let text = |path: &str| text_of(relay, signs, path);
        let config = Config::parse("/srv/mail/secure/dkimctl.toml".as_ref(), &text("secure/dkimctl.toml")).unwrap();
        assert!(config.settings(&"example.com".parse().unwrap()).is_some());
        let host = HostSettings::parse("/srv/mail/host/host.toml".as_ref(), &text("host/host.toml")).unwrap();
        assert!(host.signer.container().is_some());
        assert_eq!(host.keys, std::path::Path::new("/srv/mail").join(signs.keys()));
    }
}

#[test]
fn a_stack_has_one_signer_and_names_no_other() {
    for (signs, other) in [(Signs::Opendkim, "rspamd"), (Signs::Rspamd, "opendkim")] {
        for file in files(&choices(Relay::Ses, signs)) {
            let named = file.path.contains(other) || file.text.to_lowercase().contains(other);
            assert!(!named, "{} speaks of {other}:\n{}", file.path, file.text);
        }
    }
}

#[test]
fn opendkim_has_nothing_that_contradicts_a_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("opendkim.conf");
    for relay in ALL {
        std::fs::write(&path, text(relay, "mail/opendkim.conf")).unwrap();
        let conf = Conf::read(&path).unwrap();
        let findings: Vec<_> = conf.findings().into_iter().filter(|f| f.severity >= Severity::Advice).collect();
        assert_eq!(findings, []);
        assert_eq!(conf.get("InternalHosts"), Some("127.0.0.1,172.30.25.0/28"));
    }
}

#[test]
fn headers_that_the_relay_rewrites_are_not_signed() {
    let omitted =
        |relay| text(relay, "mail/opendkim.conf").lines().find(|l| l.starts_with("OmitHeaders")).map(str::to_owned);
    let ses = omitted(Relay::Ses).unwrap();
    for header in ["Date", "Message-ID", "Return-Path", "Bounces-To", "Received", "DKIM-Signature"] {
        assert!(ses.split([' ', ',']).any(|word| word == header), "{ses}");
    }
    // A `*` would mean "besides the default", and then the rest was seen not to count.
    assert!(!ses.contains('*'));
    assert_eq!(omitted(Relay::None), None);

    let conf = |relay| text_of(relay, Signs::Rspamd, "mail/rspamd.conf").to_lowercase();
    let signed = conf(Relay::Ses).lines().find(|line| line.contains("sign_headers")).unwrap().to_owned();
    for header in ["date", "message-id", "return-path", "bounces-to"] {
        assert!(!signed.split(['"', ':', ')']).any(|word| word == header), "{signed}");
    }
    assert!(signed.contains("(o)from:") && signed.contains(":(o)subject:"), "{signed}");
    assert!(!conf(Relay::None).contains("sign_headers"));
}

#[test]
fn credentials_of_a_relay_are_never_text_of_main_cf() {
    for relay in ALL {
        let main_cf = text(relay, "mail/main.cf");
        assert!(!main_cf.contains("static:") && !main_cf.contains("${SMTP"), "{main_cf}");
        let relayed = relay != Relay::None;
        assert_eq!(main_cf.contains("texthash:/run/relay/sasl_passwd"), relayed);
        assert_eq!(text(relay, "compose.yaml").contains("./secrets/relay"), relayed);
        assert_eq!(text(relay, "mail/entrypoint").contains("/run/relay/sasl_passwd"), relayed);
    }
    assert!(text(Relay::Ses, "dns.txt").contains("\"v=spf1 include:amazonses.com ~all\""));
    assert!(text(Relay::None, "dns.txt").contains("\"v=spf1 a:mail.example.com ~all\""));
}

#[test]
fn only_the_development_file_publishes_or_catches() {
    for file in files(&choices(Relay::None, Signs::Opendkim)) {
        let development = file.path.starts_with("development/");
        if file.path.ends_with(".yaml") {
            let says = |word: &str| file.text.lines().any(|line| line.trim_start().starts_with(word));
            assert_eq!(says("ports:"), development, "{}", file.path);
            assert_eq!(says("image: axllent/mailpit"), development, "{}", file.path);
            assert!(!says("domainname:") && !says("mode:") && !says("version:"), "{}", file.path);
        }
    }
}
