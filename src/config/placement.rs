//! `[placement]`: where probes are submitted, and the seed mailboxes that they go to.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::error::{ConfigError, Mistake, Source};
use super::meant::no_kind;
use super::providers::SecretSource;
use super::written::Text;
use crate::placement::family::{self, Family};
use crate::placement::imap::{Account, Encryption, Login};
use crate::placement::submit::Submission;

/// `[placement]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Written {
    pub from: Option<Text>,
    pub host: Option<Text>,
    pub port: Option<Spanned<u16>>,
    pub tls: Option<Text>,
    pub user: Option<Text>,
    pub secret_file: Option<Text>,
    pub secret_credential: Option<Text>,
    pub ca_file: Option<Text>,
    /// The families that the seeds are to cover.
    pub families: Option<Vec<Text>>,
    pub seed: Vec<Spanned<WrittenSeed>>,
    /// Refused, and not even kept in memory.
    pub password: Option<Spanned<IgnoredAny>>,
    pub secret: Option<Spanned<IgnoredAny>>,
}

/// `[[placement.seed]]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenSeed {
    pub name: Option<Text>,
    pub address: Option<Text>,
    pub family: Option<Text>,
    pub imap: Option<Text>,
    pub tls: Option<Text>,
    pub login: Option<Text>,
    pub user: Option<Text>,
    pub secret_file: Option<Text>,
    pub secret_credential: Option<Text>,
    pub ca_file: Option<Text>,
    pub folders: Option<Vec<Text>>,
    pub password: Option<Spanned<IgnoredAny>>,
    pub secret: Option<Spanned<IgnoredAny>>,
}

/// `[placement]` as it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    pub submission: Option<(Submission, Option<SecretSource>)>,
    pub seeds: Vec<Seed>,
    /// The families that are to be covered: those that are listed, or those of the seeds.
    pub families: Vec<Family>,
}

/// A mailbox that probes go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    pub name: String,
    pub address: String,
    pub family: Family,
    /// How it is read; `None` if its messages are handed over as files.
    pub imap: Option<(Account, SecretSource)>,
}

impl Placement {
    pub fn seed(&self, name: &str) -> Option<&Seed> {
        self.seeds.iter().find(|seed| seed.name == name)
    }

    pub(super) fn read(source: &Source<'_>, here: &Path, table: &Spanned<Written>) -> Result<Placement, ConfigError> {
        let reader = Reader { source, here };
        let written = table.get_ref();
        reader.no_literals(&written.password, &written.secret)?;
        let mut seeds: Vec<Seed> = Vec::new();
        for seed in &written.seed {
            let meant = reader.seed(seed)?;
            if seeds.iter().any(|known| known.name == meant.name) {
                let sentence = format!("the seed `{}` is listed twice", meant.name);
                return Err(source.at(seed.span(), Mistake::Other(sentence)));
            }
            seeds.push(meant);
        }
        let mut families = Vec::new();
        for family in written.families.iter().flatten() {
            families.push(reader.family(family)?);
        }
        if written.families.is_none() {
            families = seeds.iter().map(|seed| seed.family).collect();
        }
        families.sort();
        families.dedup();
        let has_submission = written.host.is_some() || written.from.is_some();
        let submission = has_submission.then(|| reader.submission(written, table.span())).transpose()?;
        Ok(Placement { submission, seeds, families })
    }
}

struct Reader<'a> {
    source: &'a Source<'a>,
    here: &'a Path,
}

impl Reader<'_> {
    fn submission(
        &self,
        written: &Written,
        whole: Range<usize>,
    ) -> Result<(Submission, Option<SecretSource>), ConfigError> {
        let missing = |key| self.missing(whole.clone(), "[placement]", key);
        let host = written.host.as_ref().ok_or_else(|| missing("host"))?;
        let encryption =
            self.encryption(&written.tls, &["starttls", "implicit", "none"], Some(Encryption::StartTls))?;
        if let (None, Some(tls)) = (encryption, &written.tls)
            && !matches!(host.get_ref().as_str(), "localhost" | "127.0.0.1" | "::1")
        {
            let sentence = format!("mail to {} would go unencrypted; `none` is for this very machine", host.get_ref());
            return Err(self.source.at(tls.span(), Mistake::Other(sentence)));
        }
        let secret = self.secret(&written.secret_file, &written.secret_credential, whole.clone())?;
        if written.user.is_some() && secret.is_none() {
            return Err(missing("secret_file"));
        }
        let standard_port = if encryption == Some(Encryption::Implicit) { 465 } else { 587 };
        let from = written.from.as_ref().ok_or_else(|| missing("from"))?;
        let submission = Submission {
            host: host.get_ref().clone(),
            port: written.port.as_ref().map_or(standard_port, |port| *port.get_ref()),
            encryption,
            user: written.user.as_ref().map(|user| user.get_ref().clone()),
            ca_file: self.path(&written.ca_file),
            from: self.address(from)?,
        };
        Ok((submission, secret))
    }

    fn seed(&self, table: &Spanned<WrittenSeed>) -> Result<Seed, ConfigError> {
        let written = table.get_ref();
        self.no_literals(&written.password, &written.secret)?;
        let missing = |key| self.missing(table.span(), "[[placement.seed]]", key);
        let name = written.name.as_ref().ok_or_else(|| missing("name"))?.get_ref().clone();
        let address = self.address(written.address.as_ref().ok_or_else(|| missing("address"))?)?;
        let family = match &written.family {
            Some(family) => self.family(family)?,
            None => Family::of_address(&address).unwrap_or(Family::Other),
        };
        let imap = match &written.imap {
            Some(place) => Some(self.account(written, place, &address, table.span())?),
            None => None,
        };
        Ok(Seed { name, address, family, imap })
    }

    fn account(
        &self,
        written: &WrittenSeed,
        place: &Text,
        address: &str,
        whole: Range<usize>,
    ) -> Result<(Account, SecretSource), ConfigError> {
        let encryption = self.encryption(&written.tls, &["implicit", "starttls"], None)?;
        let (host, port) = match place.get_ref().rsplit_once(':') {
            Some((host, port)) => {
                let port = port.parse::<u16>().map_err(|_| {
                    let sentence = format!("`{}` is no place; write imap.example.com:993", place.get_ref());
                    self.source.at(place.span(), Mistake::Other(sentence))
                })?;
                (host, port)
            }
            None if encryption == Some(Encryption::StartTls) => (place.get_ref().as_str(), 143),
            None => (place.get_ref().as_str(), 993),
        };
        let implied = if port == 143 { Encryption::StartTls } else { Encryption::Implicit };
        let login = match &written.login {
            None => Login::Password,
            Some(text) => match text.get_ref().as_str() {
                "password" => Login::Password,
                "xoauth2" => Login::XOAuth2,
                _ => return Err(no_kind(self.source, text, "way to log in", &["password", "xoauth2"])),
            },
        };
        let secret = self.secret(&written.secret_file, &written.secret_credential, whole.clone())?;
        let secret = secret.ok_or_else(|| self.missing(whole, "[[placement.seed]]", "secret_file"))?;
        let account = Account {
            host: host.to_owned(),
            port,
            encryption: encryption.unwrap_or(implied),
            login,
            user: written.user.as_ref().map_or_else(|| address.to_owned(), |user| user.get_ref().clone()),
            ca_file: self.path(&written.ca_file),
            folders: written.folders.iter().flatten().map(|folder| folder.get_ref().clone()).collect(),
        };
        Ok((account, secret))
    }

    fn encryption(
        &self,
        tls: &Option<Text>,
        known: &[&str],
        default: Option<Encryption>,
    ) -> Result<Option<Encryption>, ConfigError> {
        let Some(text) = tls else { return Ok(default) };
        match text.get_ref().as_str() {
            word if !known.contains(&word) => Err(no_kind(self.source, text, "kind of encryption", known)),
            "implicit" => Ok(Some(Encryption::Implicit)),
            "starttls" => Ok(Some(Encryption::StartTls)),
            _ => Ok(None),
        }
    }

    fn family(&self, text: &Text) -> Result<Family, ConfigError> {
        let known: Vec<&str> = family::ALL.iter().map(|family| family.code()).collect();
        Family::find(text.get_ref()).ok_or_else(|| no_kind(self.source, text, "family of mailbox providers", &known))
    }

    fn address(&self, text: &Text) -> Result<String, ConfigError> {
        let parsed = text.get_ref().parse::<lettre::Address>();
        parsed.map(|address| address.to_string()).map_err(|why| {
            let sentence = format!("`{}` is no mail address: {why}", text.get_ref());
            self.source.at(text.span(), Mistake::Other(sentence))
        })
    }

    fn secret(
        &self,
        file: &Option<Text>,
        credential: &Option<Text>,
        whole: Range<usize>,
    ) -> Result<Option<SecretSource>, ConfigError> {
        match (file, credential) {
            (None, None) => Ok(None),
            (Some(file), None) => Ok(Some(SecretSource::File(self.here.join(file.get_ref())))),
            (None, Some(name)) => Ok(Some(SecretSource::Credential(name.get_ref().clone()))),
            (Some(_), Some(_)) => {
                Err(self.source.at(whole, Mistake::Both { one: "secret_file", other: "secret_credential" }))
            }
        }
    }

    /// A password in the file is refused wherever it stands.
    fn no_literals(
        &self,
        password: &Option<Spanned<IgnoredAny>>,
        secret: &Option<Spanned<IgnoredAny>>,
    ) -> Result<(), ConfigError> {
        for (key, literal) in [("password", password), ("secret", secret)] {
            if let Some(literal) = literal {
                return Err(self.source.at(literal.span(), Mistake::LiteralPassword(key)));
            }
        }
        Ok(())
    }

    fn path(&self, text: &Option<Text>) -> Option<PathBuf> {
        text.as_ref().map(|text| self.here.join(text.get_ref()))
    }

    fn missing(&self, at: Range<usize>, table: &str, key: &'static str) -> ConfigError {
        self.source.at(at, Mistake::Missing { table: table.to_owned(), key })
    }
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
