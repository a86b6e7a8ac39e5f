//! Private keys in container images: every layer is read as a stream, never unpacked, and every key that is found is
//! turned into its public half, which says whose key it is.
//!
//! [`source`] gets the octets, [`walk`] goes over the archive once, [`nested`] opens what is packed inside a layer,
//! [`scan`] finds keys in what flows by, [`key`] derives public halves, [`manifest`] says afterwards which blob was which layer, and [`judge`] compares with our ledger and
//! with DNS. There are no lists of paths to pass over: a key below `example.com`, `test` or `usr/share` is a key.
//! Whatever is not looked into is said.

use dkimctl_state::record::dkim::{Algorithm, PublicKey};

mod examination;
mod flow;
pub mod hints;
pub mod judge;
pub mod key;
pub mod manifest;
mod nested;
pub mod scan;
pub mod source;
mod tarball;
mod unpack;
pub mod walk;
mod zipped;

pub use examination::examine;
pub use source::ImageError;

/// What an archive of images holds.
#[derive(Debug, Default)]
pub struct Image {
    /// The reference or the path that was asked for.
    pub name: String,
    /// Layers of all its images.
    pub layers: usize,
    /// Files in all layers.
    pub files: u64,
    pub keys: Vec<KeyFound>,
    /// What was not looked into, and why. Never silent.
    pub unscanned: Vec<Unscanned>,
    /// Compressed files and archives inside layers that were looked into, and those that could not be opened.
    pub opened: u64,
    pub closed: u64,
    /// Selectors that tables and records in the image speak of.
    pub hints: Vec<hints::Hint>,
}

/// A private key, or what is left of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFound {
    pub place: Place,
    pub form: Form,
    pub kind: Kind,
}

/// Where in an image a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    File {
        /// `None`: the file lies in the archive outside of every layer.
        layer: Option<Layer>,
        path: String,
        /// Hard links to the same file.
        aliases: Vec<String>,
        /// The later layer that deletes or replaces it; it can still be taken out.
        gone: Option<Gone>,
    },
    /// A value of the image's configuration: `ENV DKIM_KEY`, a label, a history entry.
    Setting { what: String },
}

/// Layer `number` of `of`, and the line of the Dockerfile that made it, without anything secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub number: usize,
    pub of: usize,
    pub made_by: Option<String>,
    /// Which of several images in one archive.
    pub image: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// By a whiteout.
    Deleted { layer: usize },
    /// By another file of the same name.
    Replaced { layer: usize },
}

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    Pem,
    /// The base64 of a PEM, as in a Kubernetes secret.
    Base64Pem,
    /// The base64 of DER without the lines around it, as in tables.
    Base64Der,
    Der,
    /// 32 or 64 octets in base64: rspamd's and dkimpy's form of Ed25519 keys.
    Seed,
    /// `AGE-SECRET-KEY-1...`
    Age,
}

/// What a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Whole {
        algorithm: Algorithm,
        public: PublicKey,
        /// RSA as the bare numbers, which some records carry in place of the SPKI (RFC 6376 erratum 3017).
        bare: Option<PublicKey>,
    },
    /// Its public half is not to be had without the passphrase.
    Encrypted,
    /// It begins like a key and ends too early; the rest may be elsewhere.
    CutShort,
    /// The first line of a PEM, and nothing of the key.
    HeaderAlone,
    /// A private key that does not sign mail.
    Foreign(&'static str),
    /// What opens sealed keys.
    AgeIdentity,
}

/// Something that was not looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unscanned {
    pub what: String,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// More octets than are looked at.
    TooMuch {
        limit: u64,
    },
    TooManyFiles {
        limit: u64,
    },
    TooManyKeys {
        limit: usize,
    },
    /// The archive names it and does not hold it.
    Missing,
    /// No tar archive, plain or by gzip, zstd or xz: another compression, or encrypted.
    NotALayer,
    /// Damaged or cut short here; what could be read was searched.
    Damaged(String),
    /// The archive's own description of its layers is not understood, so that layers have no numbers.
    NotDescribed(String),
}
