//! What `host init` writes and prints.

use std::path::Path;

use dkimctl_state::name::Label;

use crate::secrets::signed::VerifyKey;

/// Which signer host.toml is to speak of.
pub enum SignerText<'a> {
    OpenDkim { conf: &'a Path },
    Rspamd { tables: &'a Path },
}

impl SignerText<'_> {
    /// Where keys go if nothing else is said.
    pub fn keys(&self) -> &'static str {
        match self {
            SignerText::OpenDkim { .. } => "/etc/opendkim/keys",
            SignerText::Rspamd { .. } => "/var/lib/rspamd/dkim/keys",
        }
    }

    fn section(&self) -> String {
        match self {
            SignerText::OpenDkim { conf } => format!(
                "\
[signer]
type = \"opendkim\"
conf = {conf:?}
# OpenDKIM is told by SIGUSR1 to the one process with this configuration. If that does not do, name a command; it is run
# without a shell:
# reload = [\"systemctl\", \"kill\", \"-s\", \"USR1\", \"opendkim\"]
# Where its milter is reached, if not where its own `Socket` says:
# socket = \"inet:8891@127.0.0.1\"
"
            ),
            SignerText::Rspamd { tables } => {
                let (keys, signing) = (tables.join("KeyTable"), tables.join("SigningTable"));
                format!(
                    "\
[signer]
type = \"rspamd\"
# The tables of dkim_signing, which have to be there, if only empty. In rspamd's local.d/dkim_signing.conf:
#   key_table = {keys:?};
#   signing_table = {signing:?};
# rspamd watches them, so nothing has to be told to read them. With `check_pubkey` it asks DNS itself before it signs.
key_table = {keys:?}
signing_table = {signing:?}
# The milter of its proxy worker (`milter = yes`), and the user that it runs as:
# socket = \"inet:11332@127.0.0.1\"
# user = \"_rspamd\"
"
                )
            }
        }
    }
}

/// A commented host.toml.
pub fn host_toml(
    name: &Label,
    key: &VerifyKey,
    outbox: &Path,
    receipts: &Path,
    keys: &Path,
    signer: &SignerText<'_>,
) -> String {
    let signer = signer.section();
    format!(
        "\
# What this mail host knows of itself. Paths are relative to this file.
host = \"{name}\"

# The directory that the secure host writes and that is carried here, and the one that is carried back.
outbox = {outbox:?}
receipts = {receipts:?}

# The secure host's key. Orders that another key signed are refused.
manifest_key = \"{key}\"

# Opens the keys that are sealed to this host. Keep it here, and readable by nobody else.
identity = \"host.age\"

# Where the signer's keys go: a new path for each key, owned by the signer's user unless `owner = \"uid:gid\"` says
# otherwise (in numbers, as the signer's container knows them).
keys = {keys:?}
mode = \"0400\"

# What this host remembers: its last orders, unproven switches, the key of its receipts.
state = \"state\"

{signer}

# A signer in a container (docs/stack.md, docs/secrets.md): it is reached by `docker exec`.
# [container]
# name = \"mail\"
# [container.mounts]
# \"/etc/opendkim/tables\" = \"/srv/mail/opendkim/tables\"

# Evidence that an old key is still used: whoever is seen keeps its record.
[evidence]
# queue = [\"postqueue\", \"-j\"]
# log = \"/var/log/mail.log\"
"
    )
}

/// What the secure host has to be told.
pub fn introduce(name: &Label, recipient: &str, receipts: &VerifyKey) -> String {
    format!(
        "\
On the secure host, in dkimctl.toml:

  [secrets]
  recipients = [..., \"{recipient}\"]

  [signer.{name}]
  receipt_key = \"{receipts}\"

Keys that were sealed before: dkimctl secrets rewrap
Then, here, from cron:        dkimctl host apply
"
    )
}
