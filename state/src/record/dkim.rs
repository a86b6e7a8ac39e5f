//! The DKIM key record (RFC 6376 section 3.6.1, RFC 8301, RFC 8463).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::txt::TxtText;
use crate::time::serde_as_text;

/// What kind of key signs: the `k=` of the record and the first half of a signature's `a=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// RSA; `p=` is a SubjectPublicKeyInfo (RFC 6376 section 3.6.1, as corrected by erratum 3017).
    Rsa,
    /// Ed25519; `p=` is the 32 bare octets of the key (RFC 8463 section 4.2).
    Ed25519,
}

/// The public half of a key: the decoded octets of `p=`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(Box<[u8]>);

/// SHA-256 over the decoded octets of `p=`: the one identity of a key, whatever its selector.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// A key record as published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// `k=`, default `rsa`.
    pub algorithm: Algorithm,
    /// `p=`; `None` when empty: the key is revoked.
    pub key: Option<PublicKey>,
    /// `h=`: hash algorithms that may be used; `None` allows all.
    pub hashes: Option<Vec<String>>,
    /// `t=y`: verifiers must not treat mail differently from unsigned mail.
    pub testing: bool,
    /// `t=s`: the domain of `i=` must be the `d=` itself.
    pub strict: bool,
    /// `s=`: service types; `None` is `*`.
    pub services: Option<Vec<String>>,
    /// `n=`: a note for people.
    pub note: Option<String>,
}

/// Why a text is not a DKIM key record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("it is not a tag=value list: `{0}` has no `=` (RFC 6376 section 3.2)")]
    NotATagList(String),
    #[error("the tag `{0}=` appears twice (RFC 6376 section 3.2)")]
    DuplicateTag(String),
    #[error("the version is `v={0}`, not DKIM1 (RFC 6376 section 3.6.1)")]
    Version(String),
    #[error("`v=` does not come first (RFC 6376 section 3.6.1)")]
    VersionNotFirst,
    #[error("`k={0}` is neither rsa nor ed25519 (RFC 6376 section 3.6.1, RFC 8463 section 4)")]
    KeyType(String),
    #[error("there is no `p=` (RFC 6376 section 3.6.1)")]
    NoKey,
    #[error("`p=` is not base64 (RFC 6376 section 3.6.1)")]
    KeyEncoding,
}

impl Algorithm {
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Rsa => "rsa",
            Algorithm::Ed25519 => "ed25519",
        }
    }
}

impl PublicKey {
    /// From the octets that `p=` carries: SPKI DER for RSA, the 32 bare octets for Ed25519.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        PublicKey(bytes.into().into_boxed_slice())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.0).into())
    }

    /// The record that we publish: `v=DKIM1; k=rsa; h=sha256; p=...`. Nothing else: `t=s` would break subdomains in
    /// `i=`, `s=email` reads like a selector, and `h=sha256` is what RFC 8301 section 3.1 leaves anyway.
    pub fn record(&self, algorithm: Algorithm) -> TxtText {
        format!("v=DKIM1; k={algorithm}; h=sha256; p={self}").into()
    }
}

/// The revocation that we publish after a compromise.
// RFC 6376 section 3.6.1: an empty p= means that this key has been revoked.
pub fn revocation(algorithm: Algorithm) -> TxtText {
    format!("v=DKIM1; k={algorithm}; p=").into()
}

impl KeyRecord {
    pub fn parse(text: &TxtText) -> Result<KeyRecord, RecordError> {
        let text = text.to_str_lossy();
        let mut tags: Vec<(&str, String)> = Vec::new();
        // RFC 6376 section 3.2: tag-list = tag-spec *( ";" tag-spec ) [ ";" ], with folding white space around.
        let mut specs: Vec<&str> = text.split(';').collect();
        if specs.last().is_some_and(|last| last.trim().is_empty()) {
            specs.pop();
        }
        for spec in specs {
            let (tag, value) = spec.split_once('=').ok_or_else(|| RecordError::NotATagList(spec.trim().to_owned()))?;
            let tag = tag.trim();
            if tags.iter().any(|(seen, _)| *seen == tag) {
                return Err(RecordError::DuplicateTag(tag.to_owned()));
            }
            tags.push((tag, value.trim().to_owned()));
        }
        let take = |wanted: &str| tags.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| value.as_str());
        let list = |value: &str| value.split(':').map(|part| part.trim().to_ascii_lowercase()).collect::<Vec<_>>();

        if let Some(version) = take("v") {
            if version != "DKIM1" {
                return Err(RecordError::Version(version.to_owned()));
            }
            if tags[0].0 != "v" {
                return Err(RecordError::VersionNotFirst);
            }
        }
        let algorithm = match take("k") {
            None | Some("rsa") => Algorithm::Rsa,
            Some("ed25519") => Algorithm::Ed25519,
            Some(other) => return Err(RecordError::KeyType(other.to_owned())),
        };
        let key: PublicKey = take("p").ok_or(RecordError::NoKey)?.parse()?;
        let flags = take("t").map(list).unwrap_or_default();
        Ok(KeyRecord {
            algorithm,
            key: (!key.0.is_empty()).then_some(key),
            hashes: take("h").map(list),
            testing: flags.iter().any(|flag| flag == "y"),
            strict: flags.iter().any(|flag| flag == "s"),
            services: take("s").map(list),
            note: take("n").map(str::to_owned),
        })
    }
}

/// The octets in a TXT text's `p=`, whatever else stands there: what ownership is decided by.
pub fn key_in(text: &TxtText) -> Option<PublicKey> {
    KeyRecord::parse(text).ok().and_then(|record| record.key)
}

impl FromStr for PublicKey {
    type Err = RecordError;

    /// From the value of `p=`: base64 with folding white space (RFC 6376 section 3.2).
    fn from_str(text: &str) -> Result<Self, RecordError> {
        let bare: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        STANDARD.decode(bare).map(PublicKey::from_bytes).map_err(|_| RecordError::KeyEncoding)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint().short())
    }
}

impl Fingerprint {
    /// The first 16 hexadecimal digits: enough to tell keys apart in paths and on a terminal.
    pub fn short(&self) -> String {
        self.0[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err("a fingerprint has 64 hexadecimal digits");
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| "not ASCII")?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| "a fingerprint has 64 hexadecimal digits")?;
        }
        Ok(Fingerprint(bytes))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

serde_as_text!(PublicKey, Fingerprint);

#[cfg(test)]
#[path = "dkim_tests.rs"]
mod tests;
