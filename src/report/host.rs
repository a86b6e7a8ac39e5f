//! What `host init` writes and prints.

use std::path::Path;

use dkimctl_state::name::Label;

use crate::secrets::signed::VerifyKey;

/// A commented host.toml.
pub fn host_toml(name: &Label, key: &VerifyKey, outbox: &Path, receipts: &Path, keys: &Path, conf: &Path) -> String {
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

[signer]
type = \"opendkim\"
conf = {conf:?}
# OpenDKIM is told by SIGUSR1 to the one process with this configuration. In a container whose files this host does not
# share, name a command instead; it is run without a shell:
# reload = [\"docker\", \"exec\", \"mail\", \"sh\", \"-c\", \"kill -USR1 $(pidof opendkim)\"]
# Where its milter is reached, if not where its own `Socket` says:
# socket = \"inet:8891@127.0.0.1\"

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
