//! The envelope of manifests and receipts: one line with a signature, then the document as JSON.
//!
//! ```text
//! dkimctl-manifest-v1 SHA256:<fingerprint of the signing key> <base64 signature>
//! {"schema":1,...}
//! ```
//!
//! The signature (Ed25519, RFC 8032) covers the kind, a line feed, and the JSON octets as they stand in the file, so a
//! receipt can never be passed off as a manifest, and nothing has to be put into a canonical form to be verified.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use rand_core::OsRng;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::files::{Access, Dir, FileError, read_private, split};
use crate::keygen::ed25519_pem;

/// What can be signed.
pub trait Document: Serialize + DeserializeOwned {
    /// The first word of the file, and the domain of the signature.
    const KIND: &'static str;

    /// The version of the JSON that this program writes and reads.
    const SCHEMA: u32 = 1;

    /// Whether the document says anything that cannot be meant; a sentence about it, if so.
    fn check(&self) -> Result<(), String>;
}

/// The secret half of a signer of documents. Neither `Debug` nor `Serialize`; wiped when dropped.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// The public half, pinned by the other side: `dkimctl-pk-<base64url>`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyKey(ed25519_dalek::VerifyingKey);

/// Why a signed file is not acted upon.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    #[error("it is no {0} file; give the file that the other host wrote, unchanged")]
    NotSigned(&'static str),
    #[error(
        "it is signed by the key {seen}, but {pinned} is pinned: either it comes from elsewhere, or the key was changed; compare both keys with their owner, then pin the new one (dkimctl host init)"
    )]
    OtherKey { seen: String, pinned: String },
    #[error(
        "its signature does not fit, so it was changed on its way or by somebody; nothing of it was used: fetch it again"
    )]
    Forged,
    #[error("its JSON is not understood ({0}); if it was written by a newer dkimctl, update this one")]
    Json(String),
    #[error("it has schema {seen}, and this program reads {known}; update dkimctl here")]
    Schema { seen: u32, known: u32 },
    #[error("it contradicts itself: {0}; write it anew on the other host")]
    Contradiction(String),
}

/// Why a key for signing documents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "{0} holds no Ed25519 key for signing manifests and receipts; make one with `dkimctl init` (secure host) or `dkimctl host init`"
    )]
    NotAKey(String),
    #[error(
        "`{0}` is no public key of dkimctl; it begins with dkimctl-pk- and is printed by `dkimctl init` and `dkimctl host init`"
    )]
    NotAPublicKey(String),
}

impl SigningKey {
    pub fn generate() -> SigningKey {
        SigningKey(ed25519_dalek::SigningKey::generate(&mut OsRng))
    }

    /// PKCS#8 PEM, for the key's own file only.
    pub fn pem(&self) -> Zeroizing<String> {
        ed25519_pem(&self.0)
    }

    /// Reads the key's file, or makes key and file (mode 0600) if there is none. The directory must exist.
    pub fn open_or_create(path: &std::path::Path) -> Result<SigningKey, SigningKeyError> {
        let (parent, name) = split(path)?;
        let dir = Dir::open(parent)?;
        if dir.open_file(name)?.is_some() {
            let bytes = read_private(path)?;
            let text = std::str::from_utf8(&bytes).ok();
            let key = text.and_then(|text| ed25519_dalek::SigningKey::from_pkcs8_pem(text).ok());
            return key.map(SigningKey).ok_or_else(|| SigningKeyError::NotAKey(path.display().to_string()));
        }
        let key = SigningKey::generate();
        dir.create(name, key.pem().as_bytes(), Access::mode(0o600))?;
        dir.sync()?;
        Ok(key)
    }

    pub fn verify_key(&self) -> VerifyKey {
        VerifyKey(self.0.verifying_key())
    }
}

impl VerifyKey {
    /// `SHA256:<base64>`, as ssh prints fingerprints: for people to compare.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(self.0.as_bytes())))
    }
}

/// Signs a document: the octets of its file.
pub fn sign<D: Document>(document: &D, key: &SigningKey) -> Vec<u8> {
    let json = serde_json::to_vec_pretty(document).expect("our documents are JSON");
    let signature = key.0.sign(&covered::<D>(&json));
    let mut file =
        format!("{} {} {}\n", D::KIND, key.verify_key().fingerprint(), STANDARD.encode(signature.to_bytes()))
            .into_bytes();
    file.extend(json);
    file.push(b'\n');
    file
}

/// Reads a document that `pinned` signed, and nothing else.
pub fn verify<D: Document>(file: &[u8], pinned: &VerifyKey) -> Result<D, SignedError> {
    let (signer, signature, json) = parts::<D>(file)?;
    if signer != pinned.fingerprint() {
        return Err(SignedError::OtherKey { seen: signer.to_owned(), pinned: pinned.fingerprint() });
    }
    let signature = STANDARD.decode(signature).ok();
    let signature = signature.and_then(|bytes| ed25519_dalek::Signature::from_slice(&bytes).ok());
    // Strict: no signature is accepted that another octet string would also verify for, nor a key of small order.
    let valid = signature.is_some_and(|signature| pinned.0.verify_strict(&covered::<D>(json), &signature).is_ok());
    if valid { parse(json) } else { Err(SignedError::Forged) }
}

/// Reads a document without asking who signed it. For looking at it, and for callers that compare every key with DNS.
pub fn read_unverified<D: Document>(file: &[u8]) -> Result<D, SignedError> {
    parse(parts::<D>(file)?.2)
}

/// SHA-256 of the document in a file, without the signature: 64 hexadecimal digits.
pub fn content_digest<D: Document>(file: &[u8]) -> Result<String, SignedError> {
    Ok(crate::vault::sha256_hex(parts::<D>(file)?.2))
}

fn parse<D: Document>(json: &[u8]) -> Result<D, SignedError> {
    // The schema first: a newer one is a better message than the field that it added.
    #[derive(Deserialize)]
    struct Head {
        schema: u32,
    }
    let wrong = |e: serde_json::Error| SignedError::Json(e.to_string());
    let head: Head = serde_json::from_slice(json).map_err(wrong)?;
    if head.schema != D::SCHEMA {
        return Err(SignedError::Schema { seen: head.schema, known: D::SCHEMA });
    }
    let document: D = serde_json::from_slice(json).map_err(wrong)?;
    document.check().map_err(SignedError::Contradiction)?;
    Ok(document)
}

/// Signer, signature and JSON, of a file of this kind.
fn parts<D: Document>(file: &[u8]) -> Result<(&str, &str, &[u8]), SignedError> {
    let split = || {
        let end = file.iter().take(512).position(|&byte| byte == b'\n')?;
        let mut words = std::str::from_utf8(&file[..end]).ok()?.split(' ');
        let [kind, signer, signature] = [words.next()?, words.next()?, words.next()?];
        let json = file[end + 1..].strip_suffix(b"\n")?;
        (kind == D::KIND && words.next().is_none()).then_some((signer, signature, json))
    };
    split().ok_or(SignedError::NotSigned(D::KIND))
}

fn covered<D: Document>(json: &[u8]) -> Vec<u8> {
    [D::KIND.as_bytes(), b"\n", json].concat()
}

const PREFIX: &str = "dkimctl-pk-";

impl fmt::Display for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifyKey {
    type Err = SigningKeyError;

    fn from_str(text: &str) -> Result<Self, SigningKeyError> {
        let octets = text.trim().strip_prefix(PREFIX).and_then(|rest| URL_SAFE_NO_PAD.decode(rest).ok());
        let octets = octets.and_then(|octets| <[u8; 32]>::try_from(octets).ok());
        let key = octets.and_then(|octets| ed25519_dalek::VerifyingKey::from_bytes(&octets).ok());
        // The text may be anything, even a private key pasted into the wrong place: only its beginning is shown.
        key.map(VerifyKey).ok_or_else(|| SigningKeyError::NotAPublicKey(text.trim().chars().take(11).collect()))
    }
}

impl Serialize for VerifyKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifyKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[path = "signed_tests.rs"]
mod tests;
