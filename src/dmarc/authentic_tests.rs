use dkimctl_state::record::dkim::{Algorithm, PublicKey};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;

use super::*;

fn signed(domain: &str, from: &str) -> (Vec<u8>, TxtText) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let der = key.to_pkcs8_der().unwrap();
    let signer = DkimSigner::from_key(Ed25519Key::from_pkcs8_maybe_unchecked_der(der.as_bytes()).unwrap())
        .domain(domain)
        .selector("r1")
        .headers(["From", "Subject"]);
    let message = format!("From: reports <{from}>\r\nSubject: Report domain: example.com\r\n\r\nbody\r\n");
    let header = signer.sign(message.as_bytes()).unwrap().to_header();
    let public = PublicKey::from_bytes(key.verifying_key().to_bytes());
    ((header + &message).into_bytes(), public.record(Algorithm::Ed25519))
}

fn origin(raw: &[u8], name: &str, key: Result<Vec<TxtText>, String>) -> Origin {
    let lookup = |asked: &Fqdn| {
        assert_eq!(asked.as_str(), name);
        key.clone()
    };
    Authenticator::new(&lookup).origin(raw)
}

#[test]
fn mail_that_its_reporter_signed_is_verified() {
    let (raw, key) = signed("mail.example.net", "noreply@reports.example.net");
    let at = "r1._domainkey.mail.example.net";
    let good = origin(&raw, at, Ok(vec![key.clone()]));
    assert_eq!(good, Origin { trust: Trust::Verified, organization: Some("example.net".into()), why: None });

    let mut changed = raw.clone();
    let body = changed.len() - 4;
    changed[body] = b'X';
    for (raw, key, word) in [
        (&changed, Ok(vec![key.clone()]), "does not verify"),
        (&raw, Ok(vec![]), "no key"),
        (&raw, Err("timeout".to_owned()), "timeout"),
    ] {
        let bad = origin(raw, at, key);
        assert_eq!((bad.trust, bad.organization), (Trust::Unverified, None));
        assert!(bad.why.as_ref().unwrap().contains(word), "{word}: {:?}", bad.why);
    }
    // A good signature of somebody else proves nothing about the reporter.
    let (raw, key) = signed("example.org", "noreply@google.com");
    let lookup = |_: &Fqdn| Ok(vec![key.clone()]);
    assert_eq!(Authenticator::new(&lookup).origin(&raw).trust, Trust::Unverified);
    let unsigned = b"From: a@google.com\r\n\r\nx\r\n";
    assert!(Authenticator::new(&lookup).origin(unsigned).why.unwrap().contains("no DKIM signature"));
}
