//! Every file of a stack: its path, its mode, and the template that it is made from.

use super::signs::Signs;
use super::{Choices, SIGNER_UID};

/// A file as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackFile {
    /// Below the stack's directory.
    pub path: &'static str,
    pub mode: u32,
    pub text: String,
}

struct Template {
    path: &'static str,
    mode: u32,
    text: &'static str,
    /// Whose stack it is in.
    of: Of,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    All,
    /// Part of the secure host's side.
    Secure,
    Signer(Signs),
}

const fn file(path: &'static str, text: &'static str) -> Template {
    Template { path, mode: 0o644, text, of: Of::All }
}

const fn program(path: &'static str, text: &'static str) -> Template {
    Template { path, mode: 0o755, text, of: Of::All }
}

const fn secure(path: &'static str, text: &'static str) -> Template {
    Template { path, mode: 0o644, text, of: Of::Secure }
}

const fn signer(signs: Signs, path: &'static str, text: &'static str) -> Template {
    Template { path, mode: 0o644, text, of: Of::Signer(signs) }
}

const KEY_TABLE: &str = include_str!("templates/tables/KeyTable");
const SIGNING_TABLE: &str = include_str!("templates/tables/SigningTable");

const TEMPLATES: [Template; 32] = [
    file("README.md", include_str!("templates/README.md")),
    file("compose.yaml", include_str!("templates/compose.yaml")),
    file("development/compose.mailpit.yaml", include_str!("templates/development/compose.mailpit.yaml")),
    file("dns.txt", include_str!("templates/dns.txt")),
    file(".gitignore", include_str!("templates/gitignore")),
    file("mail/.dockerignore", include_str!("templates/mail/dockerignore")),
    file("mail/Dockerfile", include_str!("templates/mail/Dockerfile")),
    file("mail/main.cf", include_str!("templates/mail/main.cf")),
    file("mail/master.cf", include_str!("templates/mail/master.cf")),
    signer(Signs::Opendkim, "mail/opendkim.conf", include_str!("templates/mail/opendkim.conf")),
    signer(Signs::Rspamd, "mail/rspamd.conf", include_str!("templates/mail/rspamd.conf")),
    file("mail/rsyslog.conf", include_str!("templates/mail/rsyslog.conf")),
    file("mail/smtpd.conf", include_str!("templates/mail/smtpd.conf")),
    file("mail/supervisord.conf", include_str!("templates/mail/supervisord.conf")),
    program("mail/entrypoint", include_str!("templates/mail/entrypoint")),
    program("mail/start-signer", include_str!("templates/mail/start-signer")),
    program("mail/keep-log", include_str!("templates/mail/keep-log")),
    program("mail/check-signing", include_str!("templates/mail/check-signing")),
    program("mail/check-image", include_str!("templates/mail/check-image")),
    program("app/send-test", include_str!("templates/app/send-test")),
    signer(Signs::Opendkim, EDITED[0], KEY_TABLE),
    signer(Signs::Opendkim, EDITED[1], SIGNING_TABLE),
    signer(Signs::Rspamd, EDITED[2], KEY_TABLE),
    signer(Signs::Rspamd, EDITED[3], SIGNING_TABLE),
    file("host/host.toml", include_str!("templates/host/host.toml")),
    file("cron/dkimctl", include_str!("templates/cron/dkimctl")),
    file("systemd/dkimctl-host-apply.service", include_str!("templates/systemd/dkimctl-host-apply.service")),
    file("systemd/dkimctl-host-apply.timer", include_str!("templates/systemd/dkimctl-host-apply.timer")),
    file("ci/secrets-write.yaml", include_str!("templates/ci/secrets-write.yaml")),
    secure("secure/dkimctl.toml", include_str!("templates/secure/dkimctl.toml")),
    secure("systemd/dkimctl-advance.service", include_str!("templates/systemd/dkimctl-advance.service")),
    secure("systemd/dkimctl-advance.timer", include_str!("templates/systemd/dkimctl-advance.timer")),
];

/// The mail host's own tables: it edits them every day, so what stands in them is not ours to compare.
pub const EDITED: [&str; 4] = [
    "opendkim/tables/KeyTable",
    "opendkim/tables/SigningTable",
    "rspamd/tables/KeyTable",
    "rspamd/tables/SigningTable",
];

/// Every file, filled in.
pub fn files(choices: &Choices) -> Vec<StackFile> {
    let words = words(choices);
    let wanted = TEMPLATES.iter().filter(|template| match template.of {
        Of::All => true,
        Of::Secure => choices.keys.secure_here,
        Of::Signer(signs) => signs == choices.signs,
    });
    wanted
        .map(|template| StackFile { path: template.path, mode: template.mode, text: fill(template.text, &words) })
        .collect()
}

/// The line of dns.txt for SPF: who sends, and the last word left soft until it is proven (`dkimctl spf`).
pub fn spf(choices: &Choices) -> String {
    match choices.relay.facts() {
        Some(relay) => format!("v=spf1 {} ~all", relay.spf),
        None => format!("v=spf1 a:{} ~all", choices.hostname),
    }
}

fn words(choices: &Choices) -> Vec<(&'static str, String)> {
    let relay = choices.relay.facts();
    let by_relay = |text: fn(super::relay::Facts) -> String| relay.map(text).unwrap_or_default();
    let main_cf = match relay {
        None => "# Straight to the MX of each recipient, encrypted where it can be.\nsmtp_tls_security_level = may"
            .to_owned(),
        Some(relay) => format!(
            "# Everything goes to {name}, under TLS with a certificate of that name. The credentials come from a secret; Postfix\n\
             # reads no environment, and `${{NAME}}` here would be a parameter of its own.\n\
             relayhost = {hop}\n\
             smtp_sasl_auth_enable = yes\n\
             smtp_sasl_password_maps = texthash:/run/relay/sasl_passwd\n\
             smtp_sasl_security_options = noanonymous\n\
             smtp_tls_security_level = secure",
            name = relay.name,
            hop = relay.hop
        ),
    };
    let mut words = vec![
        ("domain", choices.domain.to_string()),
        ("hostname", choices.hostname.to_string()),
        ("image", format!("{}/mail", choices.domain)),
        ("subnet", choices.subnet.to_string()),
        ("uid", SIGNER_UID.to_string()),
        ("signer", choices.signer.to_string()),
        ("dir", choices.dir.clone()),
        ("manifest_key", choices.keys.manifest.to_string()),
        ("receipt_key", choices.keys.receipts.to_string()),
        ("recipient", choices.keys.recipient.clone()),
        ("spf", spf(choices)),
        ("relay_main_cf", main_cf),
        (
            "relay_entrypoint",
            by_relay(|_| {
                "\n# The relay: one line, `name:password`. Postfix opens the file as root.\n\
                 install -d -m 0700 /run/relay\n\
                 credentials=$(secret relay)\n\
                 printf '%s %s\\n' \"$(postconf -h relayhost)\" \"$credentials\" >/run/relay/sasl_passwd\n"
                    .to_owned()
            }),
        ),
        ("relay_compose_use", by_relay(|_| "      - relay\n".to_owned())),
        ("relay_compose_secret", by_relay(|_| "  relay:\n    file: ./secrets/relay\n".to_owned())),
        ("relay_readme", by_relay(|relay| format!(" through {}", relay.name))),
        (
            "relay_readme_row",
            by_relay(|relay| {
                format!("| secrets/relay | the credentials at {}: `name:password`, mode 0600 |\n", relay.name)
            }),
        ),
    ];
    words.extend(choices.signs.words(choices.relay));
    words
}

/// `{{word}}` is replaced. Templates that name no such word keep their braces: other tools have theirs.
fn fill(template: &str, words: &[(&'static str, String)]) -> String {
    let mut text = template.to_owned();
    for (word, meaning) in words {
        text = text.replace(&format!("{{{{{word}}}}}"), meaning);
    }
    text
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
