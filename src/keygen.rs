//! Private keys: made, read, and turned into the public half that is published.

use std::fmt;
use std::str::FromStr;

use dkimctl_state::record::dkim::{Algorithm, Fingerprint, PublicKey};
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use pkcs8::{EncodePublicKey as _, LineEnding};
use rand_core::OsRng;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::primes;

/// What kind of key is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA with a modulus of `bits`: 2048, 3072 or 4096. RFC 8301 section 3.2 asks for 2048 at least; longer ones make
    /// longer records, which some DNS hosts refuse, and cost every verifier time.
    Rsa { bits: u16 },
    /// Ed25519 (RFC 8463), beside an RSA key: too few verifiers know it alone.
    Ed25519,
}

/// A private key with its public half. It has neither `Debug` nor `Serialize`, and is wiped when it goes.
pub struct PrivateKey {
    pem: Zeroizing<String>,
    public: PublicKey,
    algorithm: Algorithm,
}

/// Why there is no private key. Never carries what was read: it may be the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "an RSA key of {0} bits is not made here; keys should have 2048 at least, and verifiers need not take more than 4096 (RFC 8301 section 3.2): set 2048, 3072 or 4096"
    )]
    Size(u16),
    #[error("`{0}` is no kind of key; write rsa2048, rsa3072, rsa4096 or ed25519")]
    Kind(String),
    #[error(
        "the key is encrypted, and nobody is here to be asked for its passphrase; decrypt it first: openssl pkey -in KEY -out PLAIN"
    )]
    Encrypted,
    #[error("the key is DER, and keys are kept as PEM; convert it: openssl pkey -inform DER -in KEY -out KEY.pem")]
    Der,
    #[error(
        "there is no PEM private key in it (no `-----BEGIN PRIVATE KEY-----`), so nothing could sign with it; give the file that `openssl genrsa` or `opendkim-genkey` wrote"
    )]
    NotPem,
    #[error(
        "it holds a `{0}`, and DKIM signs with RSA or Ed25519 private keys (RFC 6376 section 3.3, RFC 8463); give the private key's own file"
    )]
    OtherPem(&'static str),
    #[error("the PEM is damaged or cut short: {0}; take the key from its source again")]
    Damaged(&'static str),
    #[error(
        "the key is neither RSA nor Ed25519, and DKIM knows no other (RFC 6376 section 3.3, RFC 8463); make one: openssl genrsa 2048"
    )]
    OtherAlgorithm,
    #[error(
        "the RSA key has {0} bits; verifiers must not accept less than 1024 (RFC 8301 section 3.2): rotate to a key of 2048 instead of adopting this one"
    )]
    Short(usize),
    #[error(
        "the RSA key has {0} bits, and verifiers need not take more than 4096 (RFC 8301 section 3.2): use a key of 2048"
    )]
    Long(usize),
}

/// Makes a new key. An RSA key's primes are searched for on two threads of the rayon pool, where they are free.
pub fn generate(kind: KeyKind) -> Result<PrivateKey, KeyError> {
    match kind {
        KeyKind::Rsa { bits } => {
            let (p, q) = primes::pair(bits).ok_or(KeyError::Size(bits))?;
            // Derives d from lcm(p - 1, q - 1) (FIPS 186-5 appendix A.1.1) and validates the key.
            let key = RsaPrivateKey::from_p_q(p, q, BigUint::from(primes::E))
                .map_err(|_| KeyError::Damaged("the primes do not make a key"))?;
            PrivateKey::from_rsa(&key)
        }
        KeyKind::Ed25519 => PrivateKey::from_ed25519(&ed25519_dalek::SigningKey::generate(&mut OsRng)),
    }
}

impl PrivateKey {
    /// Reads PKCS#8 (RFC 5958) or PKCS#1 (RFC 8017 appendix A.1.2) PEM; text before and after the key is ignored.
    /// Whatever was read, [`pem`](Self::pem) is PKCS#8.
    pub fn from_pem(text: impl AsRef<[u8]>) -> Result<PrivateKey, KeyError> {
        let (label, block) = pem_block(text.as_ref())?;
        match label {
            "PRIVATE KEY" => {
                let (_, der) = pkcs8::SecretDocument::from_pem(block).map_err(|_| KeyError::Damaged("no PKCS#8"))?;
                let info = pkcs8::PrivateKeyInfo::try_from(der.as_bytes())
                    .map_err(|_| KeyError::Damaged("no PKCS#8 (RFC 5958)"))?;
                if info.algorithm.oid == rsa::pkcs1::ALGORITHM_OID {
                    let pkcs1 = info.private_key;
                    let key = RsaPrivateKey::try_from(info)
                        .map_err(|_| unusable(pkcs1).unwrap_or(KeyError::Damaged("its numbers do not fit")))?;
                    Self::from_rsa(&key)
                } else if info.algorithm.oid == ed25519_dalek::pkcs8::ALGORITHM_OID {
                    let key = ed25519_dalek::SigningKey::from_pkcs8_der(der.as_bytes())
                        .map_err(|_| KeyError::Damaged("no Ed25519 key of 32 octets"))?;
                    Self::from_ed25519(&key)
                } else {
                    Err(KeyError::OtherAlgorithm)
                }
            }
            "RSA PRIVATE KEY" => {
                let (_, der) = pkcs8::SecretDocument::from_pem(block).map_err(|_| KeyError::Damaged("no PKCS#1"))?;
                let key = RsaPrivateKey::from_pkcs1_der(der.as_bytes())
                    .map_err(|_| unusable(der.as_bytes()).unwrap_or(KeyError::Damaged("its numbers do not fit")))?;
                Self::from_rsa(&key)
            }
            "ENCRYPTED PRIVATE KEY" => Err(KeyError::Encrypted),
            other => Err(KeyError::OtherPem(known_label(other))),
        }
    }

    /// The public half, as `p=` carries it.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The key's identity: SHA-256 over the octets of `p=`.
    pub fn fingerprint(&self) -> Fingerprint {
        self.public.fingerprint()
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key as PKCS#8 PEM with LF line ends: the secret itself, for a sealed blob or a signer's file only.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs as DKIM does: rsa-sha256 (RFC 6376 section 3.3.2) with blinding, or Ed25519 over SHA-256 (RFC 8463
    /// section 3). For probes and tests; mail is signed by signers.
    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        let digest = Sha256::digest(data);
        match self.algorithm {
            Algorithm::Rsa => RsaPrivateKey::from_pkcs8_pem(&self.pem)
                .and_then(|key| {
                    key.sign_with_rng(&mut OsRng, Pkcs1v15Sign::new::<Sha256>(), &digest)
                        .map_err(|_| rsa::pkcs8::Error::KeyMalformed)
                })
                .expect("a key that was read once is read again"),
            Algorithm::Ed25519 => ed25519_dalek::SigningKey::from_pkcs8_pem(&self.pem)
                .expect("a key that was read once is read again")
                .sign(&digest)
                .to_vec(),
        }
    }

    fn from_rsa(key: &RsaPrivateKey) -> Result<PrivateKey, KeyError> {
        // RFC 8301 section 3.2: verifiers must not consider signatures of keys under 1024 bits valid.
        match key.n().bits() {
            bits @ ..1024 => return Err(KeyError::Short(bits)),
            bits @ 4097.. => return Err(KeyError::Long(bits)),
            _ => {}
        }
        let spki = key.to_public_key().to_public_key_der().map_err(|_| KeyError::Damaged("its modulus"))?;
        let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Damaged("its primes"))?;
        Ok(PrivateKey { pem, public: PublicKey::from_bytes(spki.as_bytes()), algorithm: Algorithm::Rsa })
    }

    fn from_ed25519(key: &ed25519_dalek::SigningKey) -> Result<PrivateKey, KeyError> {
        Ok(PrivateKey {
            pem: ed25519_pem(key),
            // RFC 8463 section 4.2: the bare octets of the key, without SubjectPublicKeyInfo.
            public: PublicKey::from_bytes(key.verifying_key().to_bytes()),
            algorithm: Algorithm::Ed25519,
        })
    }
}

/// PKCS#8 version 1 (RFC 8410 section 7), without the public half: OpenSSL 3.0 cannot read version 2.
pub(crate) fn ed25519_pem(key: &ed25519_dalek::SigningKey) -> Zeroizing<String> {
    let mut bytes = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    let pem = bytes.to_pkcs8_pem(LineEnding::LF).expect("32 octets are a key");
    bytes.secret_key.zeroize();
    pem
}

/// The first PEM block with a private key, from `-----BEGIN` to its end, and its label.
fn pem_block(text: &[u8]) -> Result<(&str, &str), KeyError> {
    const BEGIN: &str = "-----BEGIN ";
    // A SEQUENCE with a long length, or with that of an Ed25519 key: how DER private keys begin.
    if let [0x30, 0x81..=0x84 | 0x2e | 0x51, ..] = text {
        return Err(KeyError::Der);
    }
    let text = std::str::from_utf8(text).map_err(|_| KeyError::NotPem)?;
    let block = &text[text.find(BEGIN).ok_or(KeyError::NotPem)?..];
    let label = block[BEGIN.len()..].split_once("-----").map(|(label, _)| label).ok_or(KeyError::NotPem)?;
    // RFC 1421 section 4.6.1.1: the old way of OpenSSL to encrypt PKCS#1.
    if block.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyError::Encrypted);
    }
    let end = format!("-----END {label}-----");
    let length = block.find(&end).ok_or(KeyError::Damaged("it has no END line"))? + end.len();
    Ok((label, &block[..length]))
}

/// Labels that may be named in an error; anything else could be a piece of a secret.
fn known_label(label: &str) -> &'static str {
    const KNOWN: [&str; 7] = [
        "PUBLIC KEY",
        "RSA PUBLIC KEY",
        "CERTIFICATE",
        "CERTIFICATE REQUEST",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "DSA PRIVATE KEY",
    ];
    KNOWN.into_iter().find(|known| *known == label).unwrap_or("block of another kind")
}

/// Whether a PKCS#1 key failed only for its size: the library refuses more than 4096 bits by itself.
fn unusable(pkcs1: &[u8]) -> Option<KeyError> {
    let key = rsa::pkcs1::RsaPrivateKey::try_from(pkcs1).ok()?;
    let bits = BigUint::from_bytes_be(key.modulus.as_bytes()).bits();
    (bits > 4096).then_some(KeyError::Long(bits))
}

impl Default for KeyKind {
    fn default() -> Self {
        KeyKind::Rsa { bits: 2048 }
    }
}

impl KeyKind {
    /// The octets of the record of such a key, known before there is one.
    pub fn record_octets(self) -> usize {
        let public = match self {
            // The SubjectPublicKeyInfo is the modulus and 38 more (RFC 8017 appendix A.1.1).
            KeyKind::Rsa { bits } => usize::from(bits) / 8 + 38,
            KeyKind::Ed25519 => 32,
        };
        PublicKey::from_bytes(vec![0; public]).record(self.algorithm()).as_bytes().len()
    }

    pub fn algorithm(self) -> Algorithm {
        match self {
            KeyKind::Rsa { .. } => Algorithm::Rsa,
            KeyKind::Ed25519 => Algorithm::Ed25519,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyKind::Rsa { bits } => write!(f, "rsa{bits}"),
            KeyKind::Ed25519 => f.write_str("ed25519"),
        }
    }
}

impl FromStr for KeyKind {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text {
            "rsa" | "rsa2048" => Ok(KeyKind::Rsa { bits: 2048 }),
            "rsa3072" => Ok(KeyKind::Rsa { bits: 3072 }),
            "rsa4096" => Ok(KeyKind::Rsa { bits: 4096 }),
            "ed25519" => Ok(KeyKind::Ed25519),
            other => Err(KeyError::Kind(other.to_owned())),
        }
    }
}

#[cfg(test)]
#[path = "keygen_tests.rs"]
mod tests;
