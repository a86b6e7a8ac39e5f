//! From the octets of a private key to its public half. Tolerant where [`crate::keygen`] is strict: a short key in an
//! image is a key all the same. Nothing of the private half leaves this file.

use dkimctl_state::record::dkim::{Algorithm, PublicKey};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use pkcs8::der::{Decode as _, Encode as _, asn1::BitStringRef};
use pkcs8::spki::SubjectPublicKeyInfo;
use rsa::pkcs1;

use super::Kind;

/// Reads PKCS#1 (RFC 8017 appendix A.1.2), PKCS#8 (RFC 5958) or SEC1 (RFC 5915); octets after the key do not matter.
pub fn from_der(octets: &[u8]) -> Option<Kind> {
    let der = octets.get(..whole_length(octets)?)?;
    if let Ok(key) = pkcs1::RsaPrivateKey::from_der(der) {
        return rsa(&key);
    }
    if let Ok(info) = pkcs8::PrivateKeyInfo::from_der(der) {
        let oid = info.algorithm.oid;
        return if oid == pkcs1::ALGORITHM_OID {
            rsa(&pkcs1::RsaPrivateKey::from_der(info.private_key).ok()?)
        } else if oid == ed25519_dalek::pkcs8::ALGORITHM_OID {
            SigningKey::from_pkcs8_der(der).ok().map(|key| ed25519(&key)).or_else(|| nested_seed(info.private_key))
        } else {
            Some(Kind::Foreign("key of an algorithm that DKIM does not know"))
        };
    }
    // ECPrivateKey: version 1, then the key as an OCTET STRING.
    is_sequence_of(der, &[0x02, 0x01, 0x01, 0x04]).then_some(Kind::Foreign("EC key"))
}

/// The seed of an Ed25519 key (RFC 8032 section 5.1.5), or the seed and its public half, as libsodium keeps it.
pub fn from_seed(octets: &[u8]) -> Option<Kind> {
    let seed: [u8; 32] = octets.get(..32)?.try_into().ok()?;
    let key = SigningKey::from_bytes(&seed);
    let fits = match octets.len() {
        32 => true,
        64 => key.verifying_key().as_bytes() == &octets[32..],
        _ => false,
    };
    fits.then(|| ed25519(&key))
}

/// How many octets the value has that begins here, if it is a SEQUENCE.
pub fn whole_length(octets: &[u8]) -> Option<usize> {
    let [0x30, first, rest @ ..] = octets else { return None };
    match (*first, rest) {
        (length @ 0..=0x7f, _) => Some(2 + usize::from(length)),
        (0x81, [length, ..]) => Some(3 + usize::from(*length)),
        (0x82, [high, low, ..]) => Some(4 + (usize::from(*high) << 8 | usize::from(*low))),
        _ => None,
    }
}

/// Whether octets that begin a SEQUENCE go on as a private key does: a version, then an RSA modulus, or the
/// algorithm of RSA or Ed25519.
pub fn begins_like_a_key(octets: &[u8]) -> bool {
    const RSA: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
    let Some(inside) = inside(octets) else { return false };
    let [0x02, 0x01, 0x00 | 0x01, rest @ ..] = inside else { return false };
    // What is cut short may end inside the identifier.
    let agrees = |known: &[u8]| rest.len() >= 2 && known.iter().zip(rest).all(|(a, b)| a == b);
    matches!(rest, [0x02, 0x81 | 0x82, ..] | [0x02, 0x41, 0x00, ..]) || agrees(RSA) || agrees(ED25519)
}

fn is_sequence_of(der: &[u8], start: &[u8]) -> bool {
    inside(der).is_some_and(|inside| inside.starts_with(start))
}

/// What follows the tag and the length of a SEQUENCE.
fn inside(octets: &[u8]) -> Option<&[u8]> {
    let header = match octets {
        [0x30, 0..=0x7f, ..] => 2,
        [0x30, 0x81, ..] => 3,
        [0x30, 0x82, ..] => 4,
        _ => return None,
    };
    octets.get(header..)
}

/// CurvePrivateKey is an OCTET STRING in the OCTET STRING (RFC 8410 section 7).
fn nested_seed(private: &[u8]) -> Option<Kind> {
    from_seed(private.strip_prefix(&[0x04, 0x20])?)
}

fn rsa(key: &pkcs1::RsaPrivateKey<'_>) -> Option<Kind> {
    let bare = key.public_key().to_der().ok()?;
    let subject_public_key = BitStringRef::from_bytes(&bare).ok()?;
    let spki = SubjectPublicKeyInfo { algorithm: pkcs1::ALGORITHM_ID, subject_public_key }.to_der().ok()?;
    let public = PublicKey::from_bytes(spki);
    Some(Kind::Whole { algorithm: Algorithm::Rsa, public, bare: Some(PublicKey::from_bytes(bare)) })
}

fn ed25519(key: &SigningKey) -> Kind {
    let public = PublicKey::from_bytes(key.verifying_key().as_bytes().to_vec());
    Kind::Whole { algorithm: Algorithm::Ed25519, public, bare: None }
}
