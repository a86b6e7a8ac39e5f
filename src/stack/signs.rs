//! What signs in a stack, and what that changes in its files.

use clap::ValueEnum;

use super::relay::Relay;

/// The signer beside Postfix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Signs {
    /// OpenDKIM
    Opendkim,
    /// rspamd, with nothing but its signing module
    Rspamd,
}

impl Signs {
    /// The program: also its directory in the stack and below /etc, and the name of its socket.
    pub fn program(self) -> &'static str {
        match self {
            Signs::Opendkim => "opendkim",
            Signs::Rspamd => "rspamd",
        }
    }

    /// As its authors write it.
    pub fn name(self) -> &'static str {
        match self {
            Signs::Opendkim => "OpenDKIM",
            Signs::Rspamd => "rspamd",
        }
    }

    /// The user that Debian's package would make.
    pub fn user(self) -> &'static str {
        match self {
            Signs::Opendkim => "opendkim",
            Signs::Rspamd => crate::signers::rspamd::USER,
        }
    }

    /// Its configuration in the image.
    pub fn conf(self) -> &'static str {
        match self {
            Signs::Opendkim => "/etc/opendkim.conf",
            Signs::Rspamd => "/etc/rspamd/rspamd.conf",
        }
    }

    /// Where keys are delivered; nobody but the signer may enter.
    pub fn keys(self) -> &'static str {
        match self {
            Signs::Opendkim => "opendkim/keys",
            Signs::Rspamd => "rspamd/keys",
        }
    }

    /// Directories that files alone do not make, with their modes. What the signer must own is given to it by whoever
    /// writes there.
    pub fn directories(self) -> [(&'static str, u32); 9] {
        let tables = match self {
            Signs::Opendkim => "opendkim/tables",
            Signs::Rspamd => "rspamd/tables",
        };
        [
            (self.program(), 0o755),
            (tables, 0o755),
            (self.keys(), 0o700),
            ("secrets", 0o700),
            ("host", 0o755),
            ("outbox", 0o755),
            ("receipts", 0o755),
            ("run/milter", 0o750),
            ("log", 0o755),
        ]
    }

    /// What the templates call `{{...}}`.
    pub(super) fn words(self, relay: Relay) -> Vec<(&'static str, String)> {
        let words = self.wording();
        vec![
            ("program", self.program().to_owned()),
            ("signer_name", self.name().to_owned()),
            ("signer_user", self.user().to_owned()),
            ("signer_conf", self.conf().to_owned()),
            ("signer_account", words.account.to_owned()),
            ("signer_start", words.start.to_owned()),
            ("signer_check", words.check.to_owned()),
            ("signer_prepare", words.prepare.to_owned()),
            ("signer_networks", words.networks.to_owned()),
            ("signer_ends", words.ends.to_owned()),
            ("signer_host_toml", words.host_toml.to_owned()),
            ("signer_headers", self.headers(relay)),
        ]
    }

    fn wording(self) -> Wording {
        match self {
            Signs::Opendkim => Wording {
                start: "exec /usr/sbin/opendkim -f -x /etc/opendkim.conf",
                check: "opendkim -n -x /etc/opendkim.conf",
                account: "",
                prepare: "",
                networks: "InternalHosts",
                ends: "OpenDKIM ends so on SIGHUP",
                host_toml: "type = \"opendkim\"\nconf = \"../mail/opendkim.conf\"",
            },
            Signs::Rspamd => Wording {
                start: "exec /usr/bin/rspamd -f -u _rspamd -g _rspamd -c /etc/rspamd/rspamd.conf",
                check: "rspamadm configtest -c /etc/rspamd/rspamd.conf >/dev/null",
                account: "# Debian's package takes a user for its own only if the number is one of the system's.\n\
                          RUN echo LAST_SYSTEM_UID=10199 >>/etc/adduser.conf\n\n",
                prepare: "# rspamd compiles the list of all public suffixes at every start, for a scanner that is not here: one line will do.\n\
                          RUN echo com >/etc/rspamd/tld\n",
                networks: "local_addrs",
                ends: "rspamd ends so on SIGTERM",
                host_toml: "type = \"rspamd\"\n\
                            # As the container has them, and as mail/rspamd.conf names them.\n\
                            key_table = \"/etc/rspamd/tables/KeyTable\"\n\
                            signing_table = \"/etc/rspamd/tables/SigningTable\"\n\
                            socket = \"local:/run/milter/rspamd.sock\"",
            },
        }
    }

    /// The lines of its configuration that leave out of a signature what the relay rewrites.
    fn headers(self, relay: Relay) -> String {
        let rewritten = relay.rewrites();
        let by = relay.facts().map_or("", |relay| relay.name);
        match self {
            _ if rewritten.is_empty() => String::new(),
            Signs::Opendkim => {
                let omitted: Vec<&str> = NEVER_SIGNED.iter().chain(rewritten).copied().collect();
                format!(
                    "# {by} writes {} anew after the signature; the list replaces OpenDKIM's own, which is repeated.\n\
                     OmitHeaders            {}\n",
                    rewritten.join(", "),
                    omitted.join(",")
                )
            }
            Signs::Rspamd => {
                let stays = |header: &&&str| {
                    let name = header.trim_start_matches("(o)").trim_start_matches("(x)");
                    !rewritten.iter().any(|rewritten| rewritten.eq_ignore_ascii_case(name))
                };
                let signed: Vec<&str> = SIGNED_BY_RSPAMD.iter().filter(stays).copied().collect();
                format!(
                    "# {by} writes {} anew after the signature; this is rspamd's own list without them.\n\
                     dkim {{\n  sign_headers = \"{}\";\n}}\n",
                    rewritten.join(", "),
                    signed.join(":")
                )
            }
        }
    }
}

/// What differs in the templates from one signer to the other.
struct Wording {
    /// The last line of mail/start-signer.
    start: &'static str,
    /// What finds a mistake in its configuration while the image is built.
    check: &'static str,
    /// Steps of the Dockerfile: before anything is installed, and after its configuration came.
    account: &'static str,
    prepare: &'static str,
    /// The setting that names whose mail is signed.
    networks: &'static str,
    /// Why status 0 is no reason to leave it ended.
    ends: &'static str,
    /// `[signer]` of host.toml.
    host_toml: &'static str,
}

/// Headers that OpenDKIM leaves out in any case: its own list (RFC 6376 section 5.4), which `OmitHeaders` replaces.
const NEVER_SIGNED: [&str; 7] =
    ["Return-Path", "Received", "Comments", "Keywords", "Bcc", "Resent-Bcc", "DKIM-Signature"];

/// The headers that rspamd 3.4 signs, which `sign_headers` replaces: `(o)` also against one more of them, `(x)` that
/// too where there is one.
const SIGNED_BY_RSPAMD: [&str; 27] = [
    "(o)from",
    "(x)sender",
    "(o)reply-to",
    "(o)subject",
    "(x)date",
    "(x)message-id",
    "(o)to",
    "(o)cc",
    "(x)mime-version",
    "(x)content-type",
    "(x)content-transfer-encoding",
    "resent-to",
    "resent-cc",
    "resent-from",
    "resent-sender",
    "resent-message-id",
    "(x)in-reply-to",
    "(x)references",
    "list-id",
    "list-help",
    "list-owner",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-subscribe",
    "list-post",
    "(x)openpgp",
    "(x)autocrypt",
];
