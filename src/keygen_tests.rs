use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

const RSA: KeyKind = KeyKind::Rsa { bits: 2048 };

/// Runs `openssl` with a key on its standard input; `None` where there is no openssl.
fn openssl(args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

#[test]
fn openssl_accepts_every_kind_and_sees_the_same_public_key() {
    for kind in [RSA, KeyKind::Rsa { bits: 3072 }, KeyKind::Rsa { bits: 4096 }, KeyKind::Ed25519] {
        let key = generate(kind).unwrap();
        let Some(said) = openssl(&["pkey", "-check", "-noout"], key.pem().as_bytes()) else { return };
        assert!(String::from_utf8_lossy(&said).contains("Key is valid"), "{kind}");
        let spki = openssl(&["pkey", "-pubout", "-outform", "DER"], key.pem().as_bytes()).unwrap();
        assert_eq!(key.public().record(key.algorithm()).as_bytes().len(), kind.record_octets(), "{kind}");
        match kind {
            KeyKind::Rsa { .. } => assert_eq!(key.public().as_bytes(), spki),
            // RFC 8410 section 4: the 32 octets come last in the SubjectPublicKeyInfo.
            KeyKind::Ed25519 => assert_eq!(key.public().as_bytes(), &spki[spki.len() - 32..]),
        }
    }
}

#[test]
fn a_key_reads_back_as_itself() {
    for kind in [RSA, KeyKind::Ed25519] {
        let key = generate(kind).unwrap();
        let again = PrivateKey::from_pem(key.pem()).unwrap();
        assert!(again.pem() == key.pem(), "{kind}");
        assert_eq!((again.public(), again.algorithm()), (key.public(), kind.algorithm()));
        let crlf = Zeroizing::new(key.pem().replace('\n', "\r\n"));
        assert_eq!(PrivateKey::from_pem(crlf.as_bytes()).unwrap().fingerprint(), key.fingerprint());
        let commented = Zeroizing::new(format!("Bag Attributes\n  friendlyName: s1\n{}trailing\n", key.pem()));
        assert_eq!(PrivateKey::from_pem(commented.as_bytes()).unwrap().fingerprint(), key.fingerprint());
    }
}

#[test]
fn what_openssl_and_opendkim_write_is_read() {
    let Some(pkcs8) = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], b"") else {
        return;
    };
    let key = PrivateKey::from_pem(&pkcs8).unwrap();
    let pkcs1 = openssl(&["rsa", "-traditional"], &pkcs8).unwrap();
    assert!(pkcs1.starts_with(b"-----BEGIN RSA PRIVATE KEY-----"));
    let from_pkcs1 = PrivateKey::from_pem(&pkcs1).unwrap();
    assert!(from_pkcs1.pem() == key.pem(), "whatever was read, PKCS#8 is kept");

    let ed25519 = openssl(&["genpkey", "-algorithm", "ED25519"], b"").unwrap();
    assert!(PrivateKey::from_pem(&ed25519).unwrap().pem().as_bytes() == ed25519);

    let der = openssl(&["pkey", "-outform", "DER"], &pkcs8).unwrap();
    assert_eq!(PrivateKey::from_pem(&der).err(), Some(KeyError::Der));
    let der = openssl(&["pkey", "-outform", "DER"], &ed25519).unwrap();
    assert_eq!(PrivateKey::from_pem(&der).err(), Some(KeyError::Der));
    let encrypted = openssl(&["pkey", "-aes128", "-passout", "pass:x"], &pkcs8).unwrap();
    assert_eq!(PrivateKey::from_pem(&encrypted).err(), Some(KeyError::Encrypted));
    let encrypted = openssl(&["rsa", "-traditional", "-aes128", "-passout", "pass:x"], &pkcs8).unwrap();
    assert_eq!(PrivateKey::from_pem(&encrypted).err(), Some(KeyError::Encrypted));
    let public = openssl(&["pkey", "-pubout"], &pkcs8).unwrap();
    assert_eq!(PrivateKey::from_pem(&public).err(), Some(KeyError::OtherPem("PUBLIC KEY")));
    let p256 = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], b"").unwrap();
    assert_eq!(PrivateKey::from_pem(&p256).err(), Some(KeyError::OtherAlgorithm));
    let short = openssl(&["genrsa", "768"], b"").unwrap();
    assert_eq!(PrivateKey::from_pem(&short).err(), Some(KeyError::Short(768)));
    let old = openssl(&["genrsa", "1024"], b"").unwrap();
    assert!(PrivateKey::from_pem(&old).is_ok(), "1024 bits still verify, so they can be adopted");
}

#[test]
fn what_is_not_a_key_is_refused_by_name() {
    let key = generate(KeyKind::Ed25519).unwrap();
    let cut = &key.pem()[..key.pem().len() / 2];
    let flipped = Zeroizing::new(key.pem().replacen("MC4C", "MC4D", 1));
    for (seen, error) in [
        (b"".as_slice(), KeyError::NotPem),
        (b"hello", KeyError::NotPem),
        (b"\xff\xfe\x00", KeyError::NotPem),
        (b"-----BEGIN ", KeyError::NotPem),
        (cut.as_bytes(), KeyError::Damaged("it has no END line")),
        (b"-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n", KeyError::Damaged("no PKCS#8")),
        (b"-----BEGIN hunter2-----\n-----END hunter2-----\n", KeyError::OtherPem("block of another kind")),
    ] {
        assert_eq!(PrivateKey::from_pem(seen).err(), Some(error));
    }
    assert!(PrivateKey::from_pem(flipped.as_bytes()).is_err());
    assert_eq!(generate(KeyKind::Rsa { bits: 1024 }).err(), Some(KeyError::Size(1024)));
}

#[test]
fn a_signature_is_what_dkim_verifies() {
    let key = generate(RSA).unwrap();
    let public = <rsa::RsaPublicKey as pkcs8::DecodePublicKey>::from_public_key_der(key.public().as_bytes()).unwrap();
    let digest = Sha256::digest(b"mail");
    public.verify(Pkcs1v15Sign::new::<Sha256>(), &digest, &key.sign(b"mail")).unwrap();

    let key = generate(KeyKind::Ed25519).unwrap();
    let public = ed25519_dalek::VerifyingKey::from_bytes(key.public().as_bytes().try_into().unwrap()).unwrap();
    public.verify_strict(&digest, &ed25519_dalek::Signature::from_slice(&key.sign(b"mail")).unwrap()).unwrap();
}

#[test]
fn kinds_read_back_as_they_print() {
    for kind in [RSA, KeyKind::Rsa { bits: 4096 }, KeyKind::Ed25519] {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert_eq!(KeyKind::default(), RSA);
    assert!("rsa1024".parse::<KeyKind>().is_err());
}
