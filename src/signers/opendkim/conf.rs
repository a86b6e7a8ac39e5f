//! opendkim.conf(5): what of it decides whether a rotation works, and what of it contradicts one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::tables::Lookup;
use crate::signers::milter::{Socket, SocketError};
use crate::signers::replace::{self, FileError};

/// A configuration as OpenDKIM reads it: the last value of a setting counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    path: PathBuf,
    values: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    text: String,
    file: PathBuf,
    line: usize,
}

/// A table that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    pub path: PathBuf,
    pub lookup: Lookup,
}

/// Something in the configuration that a rotation has to know about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// `/etc/opendkim.conf line 12`, or the file alone for what is missing.
    pub at: String,
    /// What was seen, why it matters, what to write instead.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Works, and could work better.
    Advice,
    /// Mail will be unsigned or badly signed in a case that happens.
    Warning,
    /// Nothing is switched before this is corrected.
    Blocks,
}

/// Why a configuration cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path} includes files more than five levels deep; OpenDKIM stops there too: flatten the `Include` lines")]
    Nesting { path: PathBuf },
    #[error("{path} has no `{setting}`, so it is not known {why}: add the line `{example}`")]
    Missing { path: PathBuf, setting: &'static str, why: &'static str, example: &'static str },
    #[error(
        "{at}: `{setting} {seen}` is not a flat file, and only `file:` and `refile:` tables are edited here: \
             write `{setting} {example}`"
    )]
    NotAFile { at: String, setting: &'static str, seen: String, example: &'static str },
    #[error("{at}: {source}")]
    Socket { at: String, source: SocketError },
}

impl Conf {
    pub fn read(path: &Path) -> Result<Conf, ConfError> {
        Conf::read_by(path, &replace::read)
    }

    /// Reads a configuration that lies elsewhere: in a container, for example.
    pub fn read_by(path: &Path, read: &dyn Fn(&Path) -> Result<Vec<u8>, FileError>) -> Result<Conf, ConfError> {
        let mut conf = Conf { path: path.to_owned(), values: BTreeMap::new() };
        conf.include(path, read, 0)?;
        Ok(conf)
    }

    fn include(
        &mut self,
        path: &Path,
        read: &dyn Fn(&Path) -> Result<Vec<u8>, FileError>,
        depth: usize,
    ) -> Result<(), ConfError> {
        if depth > 5 {
            return Err(ConfError::Nesting { path: self.path.clone() });
        }
        let bytes = read(path)?;
        for (index, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            // A `#` truncates the line wherever it stands.
            let line = line.split('#').next().unwrap_or_default().trim();
            let Some((name, value)) = line.split_once(|c: char| c.is_ascii_whitespace()) else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("Include") {
                self.include(Path::new(value), read, depth + 1)?;
                continue;
            }
            let value = Value { text: value.to_owned(), file: path.to_owned(), line: index + 1 };
            self.values.insert(name.to_ascii_lowercase(), value);
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of a setting, whatever the case of its name.
    pub fn get(&self, setting: &str) -> Option<&str> {
        self.value(setting).map(|value| value.text.as_str())
    }

    /// The line of the file that a setting stands in.
    pub fn line(&self, setting: &str) -> Option<usize> {
        self.value(setting).map(|value| value.line)
    }

    /// A Boolean setting, as OpenDKIM reads one.
    pub fn flag(&self, setting: &str, default: bool) -> bool {
        match self.get(setting).and_then(|text| text.chars().next()) {
            Some(c) if "tTyY1".contains(c) => true,
            Some(c) if "fFnN0".contains(c) => false,
            _ => default,
        }
    }

    pub fn socket(&self) -> Result<Socket, ConfError> {
        let missing = ConfError::Missing {
            path: self.path.clone(),
            setting: "Socket",
            why: "where to ask for a signature",
            example: "Socket inet:8891@localhost",
        };
        let value = self.value("Socket").ok_or(missing)?;
        value.text.parse().map_err(|source| ConfError::Socket { at: value.at(), source })
    }

    /// The user that OpenDKIM becomes; `None`: it stays who started it.
    pub fn user(&self) -> Option<&str> {
        self.get("UserID").map(|user| user.split(':').next().unwrap_or(user))
    }

    /// The group of `UserID user:group`.
    pub fn group(&self) -> Option<&str> {
        self.get("UserID")?.split_once(':').map(|(_, group)| group)
    }

    pub fn key_table(&self) -> Result<TableFile, ConfError> {
        self.table("KeyTable", "which keys there are", "KeyTable file:/etc/opendkim/tables/KeyTable")
    }

    pub fn signing_table(&self) -> Result<TableFile, ConfError> {
        self.table("SigningTable", "which key signs", "SigningTable refile:/etc/opendkim/tables/SigningTable")
    }

    fn table(&self, setting: &'static str, why: &'static str, example: &'static str) -> Result<TableFile, ConfError> {
        let value = self.value(setting).ok_or(ConfError::Missing { path: self.path.clone(), setting, why, example })?;
        let (lookup, path) = match value.text.split_once(':') {
            Some(("file", path)) => (Lookup::Exact, path),
            Some(("refile", path)) => (Lookup::Pattern, path),
            None => (Lookup::Exact, value.text.as_str()),
            Some(_) => (Lookup::Exact, ""),
        };
        if !path.starts_with('/') {
            return Err(ConfError::NotAFile { at: value.at(), setting, seen: value.text.clone(), example });
        }
        Ok(TableFile { path: path.into(), lookup })
    }

    /// What contradicts a rotation, the worst first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut seen = |severity, setting: &str, test: &dyn Fn(&str) -> bool, text: &str| {
            if let Some(value) = self.value(setting).filter(|value| test(&value.text)) {
                found.push(Finding { severity, at: value.at(), text: format!("`{setting} {}`: {text}", value.text) });
            }
        };
        let any = |_: &str| true;
        for setting in ["Domain", "Selector", "KeyFile"] {
            seen(
                Severity::Warning,
                setting,
                &any,
                "belongs to the single-key mode and is not used beside a KeyTable; remove the line, so that nobody \
                 changes the selector there",
            );
        }
        seen(
            Severity::Blocks,
            "Mode",
            &|mode| !mode.contains('s'),
            "OpenDKIM signs nothing; write `Mode s` or `Mode sv`",
        );
        seen(
            Severity::Blocks,
            "ChangeRootDirectory",
            &any,
            "the paths in the tables are looked up below another root, which is not known how to write; remove it",
        );
        seen(
            Severity::Blocks,
            "SignatureAlgorithm",
            &|algorithm| algorithm.eq_ignore_ascii_case("rsa-sha1"),
            "verifiers must not accept it (RFC 8301 section 3.1); write `SignatureAlgorithm rsa-sha256`",
        );
        seen(
            Severity::Warning,
            "SignatureAlgorithm",
            &|algorithm| algorithm.eq_ignore_ascii_case("ed25519-sha256"),
            "is one setting for all keys: an RSA key signs invalidly under it",
        );
        seen(
            Severity::Warning,
            "RequireSafeKeys",
            &|_| !self.flag("RequireSafeKeys", true),
            "anybody on this host may read or replace the keys unnoticed; write `RequireSafeKeys yes`",
        );
        seen(
            Severity::Warning,
            "ResolverConfiguration",
            &any,
            "makes OpenDKIM 2.11 tempfail mail under load; a signer does not need it, remove it",
        );
        seen(
            Severity::Warning,
            "KeyTable",
            &|value| value.starts_with("refile:"),
            "a KeyTable has names, not patterns, and opendkim-testkey refuses it; write `KeyTable file:`",
        );
        let mut advise = |severity, wrong: bool, text: &str| {
            if wrong {
                found.push(Finding { severity, at: self.path.display().to_string(), text: text.to_owned() });
            }
        };
        advise(
            Severity::Warning,
            self.get("InternalHosts").is_none(),
            "no `InternalHosts`: only mail from 127.0.0.1 is signed, everything else leaves unsigned; name the \
             networks that send",
        );
        advise(
            Severity::Advice,
            !self.flag("LogWhy", false),
            "no `LogWhy yes`: OpenDKIM does not say why it left a message unsigned",
        );
        advise(
            Severity::Advice,
            !self.flag("SyslogSuccess", false),
            "no `SyslogSuccess yes`: the mail log does not show which selector signed, so the last use of an old key \
             cannot be seen",
        );
        advise(
            Severity::Advice,
            !self.flag("AutoRestart", false),
            "no `AutoRestart yes`: after a crash nobody signs until somebody looks",
        );
        found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        found
    }

    fn value(&self, setting: &str) -> Option<&Value> {
        self.values.get(&setting.to_ascii_lowercase())
    }
}

impl Value {
    fn at(&self) -> String {
        format!("{} line {}", self.file.display(), self.line)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)
    }
}

#[cfg(test)]
#[path = "conf_tests.rs"]
mod tests;
