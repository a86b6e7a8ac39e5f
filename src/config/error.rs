//! Mistakes in the configuration: file, line, column, what was seen, and the next step.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use dkimctl_state::lifecycle::policy::PolicyError;
use dkimctl_state::name::NameError;
use dkimctl_state::time::TimeError;

use crate::sealing::RecipientError;

/// A mistake and its place. `Display` is `FILE:LINE:COLUMN: what was seen`; the next step is in [`Mistake::hint`].
#[derive(Debug)]
pub struct ConfigError {
    pub file: PathBuf,
    pub place: Option<Place>,
    pub mistake: Box<Mistake>,
}

/// Both count from 1; a column is a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// What can be wrong.
#[derive(Debug, thiserror::Error)]
pub enum Mistake {
    #[error("no configuration was found (looked for {})", list(.searched))]
    NotFound { searched: Vec<PathBuf> },
    /// A file that was named, or is where it is looked for by default.
    #[error("there is no such file")]
    Absent { make: &'static str },
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("{0}")]
    Syntax(String),
    #[error("there is no key `{seen}` here{}", did_you_mean(.nearest))]
    UnknownKey { seen: String, nearest: Option<String>, known: Vec<String> },
    #[error("`{key}` is missing in {table}")]
    Missing { table: String, key: &'static str },
    #[error("`{key}` has no meaning in {table}")]
    Misplaced { table: String, key: &'static str },
    #[error("`{one}` and `{other}` are both set, and one of them is meant")]
    Both { one: &'static str, other: &'static str },
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("{0}")]
    Span(#[from] TimeError),
    #[error("the domain `{domain}` is listed twice (first in {first})")]
    DomainTwice { domain: String, first: String },
    #[error("the domain `{domain}` has no {what}")]
    DomainWithout { domain: String, what: &'static str },
    #[error("no [{what}.{seen}] is configured{}", did_you_mean(.nearest))]
    NoSuch { what: &'static str, seen: String, nearest: Option<String> },
    #[error("`{seen}` is no {what}{}", did_you_mean(.nearest))]
    NoKind { what: &'static str, seen: String, nearest: Option<String>, known: Vec<String> },
    #[error("a literal `{0}` stands in the file, where backups, version control and colleagues find it")]
    LiteralSecret(&'static str),
    #[error("a literal `{0}` stands in the file, where backups, version control and colleagues find it")]
    LiteralPassword(&'static str),
    #[error(
        "the secret has {0} sources, and exactly one of `secret_file`, `secret_credential`, `secret_env` is needed"
    )]
    SecretSources(usize),
    #[error("the selector `{0}` is listed twice")]
    SelectorTwice(String),
    #[error("the selector `{0}` is listed for rsa and for ed25519, and a selector belongs to one key")]
    SelectorShared(String),
    #[error(
        "the selector `{selector}` is too long for `{domain}`: the record's name would have more than 253 octets (RFC 1035 section 2.3.4)"
    )]
    SelectorTooLong { selector: String, domain: String },
    #[error("`{0}` is an empty list")]
    EmptyList(&'static str),
    #[error("an RSA key of {0} bits is not made; 2048 is what every verifier takes (RFC 8301 section 3.2)")]
    RsaBits(u16),
    #[error("a TTL of {ttl} s is less than the {least} s that [provider.{provider}] can do")]
    TtlTooLow { ttl: u32, least: u32, provider: String },
    #[error(
        "a TTL of {ttl} s is not the {fixed} s that all records of [provider.{provider}] have, for its host tells none"
    )]
    TtlFixed { ttl: u32, fixed: u32, provider: String },
    #[error(
        "the record of an RSA key of {bits} bits has {octets} octets, and [provider.{provider}] holds texts of {most} at most"
    )]
    TextTooLong { bits: u16, octets: usize, most: usize, provider: String },
    #[error("{0}")]
    Policy(#[from] PolicyError),
    #[error("{0}")]
    Recipient(#[from] RecipientError),
    #[error("{0}")]
    Other(String),
}

impl ConfigError {
    /// A mistake of a whole file.
    pub fn whole(file: &Path, mistake: impl Into<Mistake>) -> Self {
        ConfigError { file: file.to_owned(), place: None, mistake: Box::new(mistake.into()) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.mistake, self.place) {
            (Mistake::NotFound { .. }, _) => write!(f, "{}", self.mistake),
            (_, Some(Place { line, column })) => {
                write!(f, "{}:{line}:{column}: {}", self.file.display(), self.mistake)
            }
            (_, None) => write!(f, "{}: {}", self.file.display(), self.mistake),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Mistake {
    /// Why a file could not be opened; `make` is the command that writes one.
    pub fn opening(error: &std::io::Error, make: &'static str) -> Mistake {
        match error.kind() {
            std::io::ErrorKind::NotFound => Mistake::Absent { make },
            _ => Mistake::Unreadable(error.to_string()),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Mistake::NotFound { .. } => "dkimctl init".to_owned(),
            Mistake::Absent { make } => format!("name another, or make one: {make}"),
            Mistake::Unreadable(_) => {
                "give a file that you may read with --config, or run as the user it belongs to".into()
            }
            Mistake::Syntax(_) => "the file is TOML (https://toml.io): names in \"quotes\", lists in [brackets]".into(),
            Mistake::UnknownKey { nearest: None, known, .. } => format!("the keys here are {}", known.join(", ")),
            Mistake::UnknownKey { nearest: Some(nearest), .. } => format!("write `{nearest}`"),
            Mistake::Missing { key, .. } => format!("add `{key} = ...` there"),
            Mistake::Misplaced { key, .. } => format!("remove `{key}`"),
            Mistake::Both { other, .. } => format!("remove `{other}`"),
            Mistake::DomainTwice { .. } => "remove one of the two; a domain is configured in one place".into(),
            Mistake::DomainWithout { what, .. } => {
                format!("add `{what} = \"NAME\"` to the domain or to [defaults], and a [{what}.NAME]")
            }
            Mistake::NoSuch { nearest: Some(nearest), .. } => format!("write \"{nearest}\""),
            Mistake::NoSuch { what, seen, .. } => format!("add a [{what}.{seen}]"),
            Mistake::NoKind { nearest: Some(nearest), .. } => format!("write \"{nearest}\""),
            Mistake::NoKind { known, .. } => format!("write one of {}", known.join(", ")),
            Mistake::LiteralSecret(_) | Mistake::SecretSources(_) => {
                "write secret_file = \"PATH\" (mode 0600), secret_credential = \"NAME\" (systemd LoadCredential=) or \
                 secret_env = \"VARIABLE\"; a secret that stood here is known to others now: make a new one"
                    .to_owned()
            }
            Mistake::LiteralPassword(_) => {
                "write secret_file = \"PATH\" (mode 0600) or secret_credential = \"NAME\" (systemd LoadCredential=); the \
                 password that stood here is known to others now: change it"
                    .to_owned()
            }
            Mistake::SelectorTwice(_) => "remove one; two different selectors take turns".into(),
            Mistake::SelectorShared(_) => "give `ed25519_selectors` of their own, such as [\"e1\", \"e2\"]".into(),
            Mistake::SelectorTooLong { .. } => "choose a shorter selector for this domain".into(),
            Mistake::EmptyList(key) => format!("name at least one, or remove `{key}` to take the default"),
            Mistake::RsaBits(_) => "write 2048, 3072 or 4096".into(),
            Mistake::TtlTooLow { least, .. } => format!("write ttl = {least} or more"),
            Mistake::TtlFixed { fixed, provider, .. } => {
                format!("write ttl = {fixed}, or change `default_ttl` in [provider.{provider}]")
            }
            Mistake::TextTooLong { .. } => "write rsa_bits = 2048, or name another provider".into(),
            Mistake::Name(_) | Mistake::Span(_) | Mistake::Policy(_) | Mistake::Recipient(_) | Mistake::Other(_) => {
                return None;
            }
        })
    }
}

/// One file's text, to find lines and columns in.
pub(crate) struct Source<'a> {
    pub file: &'a Path,
    pub text: &'a str,
}

impl Source<'_> {
    pub fn at(&self, span: Range<usize>, mistake: impl Into<Mistake>) -> ConfigError {
        ConfigError { place: Some(self.place(span.start)), ..ConfigError::whole(self.file, mistake) }
    }

    pub fn place(&self, offset: usize) -> Place {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    /// A mistake that the TOML reader found.
    pub fn refused(&self, error: &toml::de::Error) -> ConfigError {
        let mistake = unknown_key(error.message()).unwrap_or_else(|| {
            // The reader's second and later lines repeat the place.
            Mistake::Syntax(error.message().lines().next().unwrap_or_default().to_owned())
        });
        match error.span() {
            Some(span) => self.at(span, mistake),
            None => ConfigError::whole(self.file, mistake),
        }
    }
}

/// serde's sentence about an unknown field, taken apart: ``unknown field `x`, expected one of `a`, `b` ``.
fn unknown_key(message: &str) -> Option<Mistake> {
    let rest = message.strip_prefix("unknown field `")?;
    let (seen, expected) = rest.split_once('`')?;
    let known: Vec<String> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let nearest = nearest(seen, known.iter().map(String::as_str));
    Some(Mistake::UnknownKey { seen: seen.to_owned(), nearest, known })
}

/// The known word that was probably meant.
pub fn nearest<'k>(seen: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let seen = seen.to_ascii_lowercase();
    let scored = known.into_iter().map(|word| (strsim::jaro_winkler(&seen, word), word));
    let best = scored.filter(|(score, _)| *score >= 0.75).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, word)| word.to_owned())
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
