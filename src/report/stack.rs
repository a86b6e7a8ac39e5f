//! What `stack init` says.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dkimctl_state::name::{Fqdn, SigningDomain};
use serde::Serialize;

use super::{Paint, Report};
use crate::stack::SIGNER_UID;

pub const DIFFERS_HINT: &str =
    "the same command with --diff shows how; apply what you want of it by hand, or move the file away";

/// What stands in the way of writing a stack.
pub fn differs(dir: &Path, names: &[&str]) -> String {
    let them = if names.len() == 1 { "a file" } else { "files" };
    format!("{} has {them} of another content, and nothing is written over: {}", dir.display(), names.join(", "))
}

pub fn short_name(name: &Fqdn) -> String {
    format!("`{name}` is no full name, and receivers refuse such a HELO; write --hostname mail.example.com")
}

pub fn odd_path(dir: &Path) -> String {
    format!(
        "{} cannot be the place of a stack: timers and a socket have it in their names; take letters, digits, `.`, `_`, \
         `-`, and at most 80 octets",
        dir.display()
    )
}

pub fn no_identity(file: &Path) -> String {
    format!(
        "{} holds no age identity, so it is not known to whom keys are sealed: restore it or move it away",
        file.display()
    )
}

/// What was written, what has to be entered in DNS, and what comes next.
#[derive(Debug, Serialize)]
pub struct Written {
    pub dir: PathBuf,
    pub domain: SigningDomain,
    pub written: Vec<PathBuf>,
    /// Files that were there already, just so.
    pub same: usize,
    /// The relay whose credentials are still to be written.
    pub needs_relay: Option<&'static str>,
    /// Whether the directory of keys belongs to the signer already.
    pub keys_are_the_signers: bool,
    /// That directory, below the stack's.
    #[serde(skip)]
    pub keys: &'static str,
    /// Lines of a zone file.
    pub dns: String,
}

impl Report for Written {
    fn text(&self, _paint: Paint) -> String {
        let dir = self.dir.display();
        if self.written.is_empty() {
            return format!("{dir} is as it would be written; nothing was done\n");
        }
        let mut out = String::new();
        for path in &self.written {
            let _ = writeln!(out, "wrote {}", self.dir.join(path).display());
        }
        if self.same > 0 {
            let _ = writeln!(out, "kept  {} that were there", self.same);
        }
        let _ = writeln!(out, "\nDNS, by hand:\n");
        for line in self.dns.lines() {
            let _ = writeln!(out, "  {line}");
        }
        if let Some(relay) = self.needs_relay {
            let _ = writeln!(
                out,
                "\nThe credentials at {relay}, which no file here may show:\n  (umask 077; printf 'NAME:PASSWORD\\n' > {dir}/secrets/relay)"
            );
        }
        if !self.keys_are_the_signers {
            let _ = writeln!(
                out,
                "\nThe directory of keys belongs to the signer's user in the container, and only root can give it away:\n  \
                 sudo chown {SIGNER_UID}:{SIGNER_UID} {dir}/{}",
                self.keys
            );
        }
        let _ = writeln!(
            out,
            "\nNext:   cd {dir} && docker-compose up -d --build\n        cd secure && dkimctl rotate {}\n        dkimctl host \
             apply --host ../host/host.toml      # the timers in systemd/ and cron/ do this from then on",
            self.domain
        );
        out
    }
}
