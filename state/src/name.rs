//! Names: parsed once, lower case, A-labels, without the trailing dot.
//!
//! A selector or a domain later becomes a part of a path and of a DNS message, so whatever does not belong into a
//! name is refused here, and nowhere else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::serde_as_text;

/// A fully qualified domain name (RFC 1035 section 2.3.4): at most 253 octets, labels of 1 to 63.
/// Underscores are allowed at a label's start (`_domainkey`, RFC 8552).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fqdn(Box<str>);

/// A domain that signs: the `d=` of a signature (RFC 6376 section 3.5). Letters, digits and hyphens only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SigningDomain(Fqdn);

/// A selector: the `s=` of a signature, one or more labels (RFC 6376 section 3.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(Box<str>);

/// A name of our own choosing for a provider or a host in the configuration: letters, digits, `-`, `_`, `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name is empty")]
    Empty,
    #[error("`{0}` is longer than 253 octets (RFC 1035 section 2.3.4)")]
    TooLong(String),
    #[error("`{name}`: the label `{label}` is not of 1 to 63 octets (RFC 1035 section 2.3.4)")]
    LabelLength { name: String, label: String },
    #[error("`{name}`: {seen:?} cannot stand in a {what}; letters, digits and inner hyphens can")]
    Character { name: String, seen: char, what: &'static str },
    #[error("`{0}` is not a valid internationalized name (RFC 5891)")]
    Idna(String),
    #[error("`{0}` has a single label; a signing domain has at least two")]
    SingleLabel(String),
}

impl Fqdn {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether this name is `zone` itself or lies below it, on a label boundary.
    pub fn is_in(&self, zone: &Fqdn) -> bool {
        self == zone || self.0.strip_suffix(&*zone.0).is_some_and(|rest| rest.ends_with('.'))
    }

    /// `label.self`
    pub fn child(&self, label: &str) -> Result<Fqdn, NameError> {
        format!("{label}.{}", self.0).parse()
    }

    /// The name without its first label; `None` for a single label.
    pub fn parent(&self) -> Option<Fqdn> {
        self.0.split_once('.').map(|(_, rest)| Fqdn(rest.into()))
    }
}

impl SigningDomain {
    pub fn as_fqdn(&self) -> &Fqdn {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Selector {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the key record lives: `<selector>._domainkey.<domain>` (RFC 6376 section 3.6.2.1).
    pub fn record_name(&self, domain: &SigningDomain) -> Fqdn {
        // Both parts were validated; only the length of the whole can still be wrong, and `fits` was asked before.
        Fqdn(format!("{}._domainkey.{}", self.0, domain.as_str()).into())
    }

    /// Whether the record name of this selector stays within 253 octets.
    pub fn fits(&self, domain: &SigningDomain) -> bool {
        self.0.len() + "._domainkey.".len() + domain.as_str().len() <= 253
    }
}

impl Label {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Fqdn {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.trim().trim_end_matches('.');
        let ascii = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(text).map_err(|_| NameError::Idna(text.to_owned()))?
        };
        check_labels(&ascii, "domain name", true)?;
        Ok(Fqdn(ascii.into()))
    }
}

impl FromStr for SigningDomain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name: Fqdn = text.parse()?;
        check_labels(name.as_str(), "signing domain", false)?;
        if name.labels().count() < 2 {
            return Err(NameError::SingleLabel(name.as_str().to_owned()));
        }
        Ok(SigningDomain(name))
    }
}

impl FromStr for Selector {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.to_ascii_lowercase();
        check_labels(&text, "selector", false)?;
        Ok(Selector(text.into()))
    }
}

impl FromStr for Label {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > 63 || text.starts_with('.') {
            return Err(NameError::LabelLength { name: text.to_owned(), label: text.to_owned() });
        }
        match text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.".contains(*c))) {
            Some(seen) => Err(NameError::Character { name: text.to_owned(), seen, what: "configured name" }),
            None => Ok(Label(text.into())),
        }
    }
}

fn check_labels(name: &str, what: &'static str, underscore: bool) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > 253 {
        return Err(NameError::TooLong(name.to_owned()));
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err(NameError::LabelLength { name: name.to_owned(), label: label.to_owned() });
        }
        let bare = if underscore { label.strip_prefix('_').unwrap_or(label) } else { label };
        let wrong = |seen| NameError::Character { name: name.to_owned(), seen, what };
        if let Some(seen) = bare.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')) {
            return Err(wrong(seen));
        }
        if bare.is_empty() || bare.starts_with('-') || bare.ends_with('-') {
            return Err(wrong('-'));
        }
    }
    Ok(())
}

impl From<SigningDomain> for Fqdn {
    fn from(domain: SigningDomain) -> Fqdn {
        domain.0
    }
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for SigningDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(Fqdn, SigningDomain, Selector, Label);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_a_labels_without_a_dot() {
        for (seen, meant) in [
            ("Example.COM.", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("_dmarc.example.com", "_dmarc.example.com"),
        ] {
            assert_eq!(seen.parse::<Fqdn>().unwrap().as_str(), meant);
        }
    }

    #[test]
    fn what_could_leave_a_directory_is_not_a_name() {
        for bad in ["", ".", "..", "../../etc", "a/b.example", "a b.example", "-a.example", "a..b", "a\0.example"] {
            assert!(bad.parse::<SigningDomain>().is_err(), "{bad:?} must not parse as a domain");
            assert!(bad.parse::<Selector>().is_err(), "{bad:?} must not parse as a selector");
        }
        assert!("_dmarc.example.com".parse::<SigningDomain>().is_err());
        assert!("localhost".parse::<SigningDomain>().is_err());
        assert!(format!("{}.example", "a".repeat(64)).parse::<Fqdn>().is_err());
        assert!(["a"; 130].join(".").parse::<Fqdn>().is_err());
    }

    #[test]
    fn zones_match_on_label_boundaries() {
        let name = |text: &str| text.parse::<Fqdn>().unwrap();
        assert!(name("s1._domainkey.example.com").is_in(&name("example.com")));
        assert!(name("example.com").is_in(&name("example.com")));
        assert!(!name("notexample.com").is_in(&name("example.com")));
    }
}
