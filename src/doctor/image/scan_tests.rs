use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dkimctl_state::record::dkim::{Algorithm, PublicKey};
use pkcs8::SecretDocument;
use proptest::prelude::*;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;

use super::*;
use crate::keygen::{KeyKind, PrivateKey, generate};

fn rsa_key() -> &'static PrivateKey {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| generate(KeyKind::Rsa { bits: 2048 }).unwrap())
}

fn ed25519_key() -> &'static PrivateKey {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| generate(KeyKind::Ed25519).unwrap())
}

fn der(key: &PrivateKey) -> Vec<u8> {
    SecretDocument::from_pem(key.pem()).unwrap().1.as_bytes().to_vec()
}

fn pkcs1() -> rsa::RsaPrivateKey {
    rsa::RsaPrivateKey::from_pkcs8_pem(rsa_key().pem()).unwrap()
}

fn pkcs1_pem() -> String {
    pkcs1().to_pkcs1_pem(rsa::pkcs1::LineEnding::LF).unwrap().to_string()
}

#[track_caller]
fn assert_one(text: &[u8], form: Form, public: &PublicKey) {
    let hits = scan(text);
    let [Hit { form: seen, kind: Kind::Whole { public: found, .. }, .. }] = &hits[..] else { panic!("{hits:?}") };
    assert_eq!((*seen, found), (form, public));
}

#[test]
fn every_way_that_a_key_is_written() {
    let (rsa, ed) = (rsa_key(), ed25519_key());
    let one_line = |text: &str, end: &str| text.lines().collect::<Vec<_>>().join(end);
    for key in [rsa, ed] {
        let public = key.public();
        assert_one(key.pem().as_bytes(), Form::Pem, public);
        assert_one(key.pem().replace('\n', "\r\n").as_bytes(), Form::Pem, public);
        assert_one(format!("DKIM_KEY=\"{}\"\n", one_line(key.pem(), "\\n")).as_bytes(), Form::Pem, public);
        assert_one(format!("{{\"k\":\"{}\"}}", one_line(key.pem(), "\\\\r\\\\n")).as_bytes(), Form::Pem, public);
        assert_one(one_line(key.pem(), " ").as_bytes(), Form::Pem, public);
        assert_one(one_line(key.pem(), "\n      ").as_bytes(), Form::Pem, public);
        assert_one(one_line(key.pem(), "\\n\"\n  \"").as_bytes(), Form::Pem, public);
        assert_one(one_line(key.pem(), "\\n").replace('+', "\\u002B").as_bytes(), Form::Pem, public);
        let base64 = STANDARD.encode(der(key));
        assert_one(format!("s1 example.com:s1:{base64}\n").as_bytes(), Form::Base64Der, public);
        assert_one(&der(key), Form::Der, public);
        assert_one(&[b"\0\xff junk ".as_slice(), &der(key), b"junk"].concat(), Form::Der, public);
        assert_one(format!("  tls.key: {}\n", STANDARD.encode(key.pem())).as_bytes(), Form::Base64Pem, public);
    }
    assert_one(pkcs1_pem().as_bytes(), Form::Pem, rsa.public());
    assert_one(pkcs1().to_pkcs1_der().unwrap().as_bytes(), Form::Der, rsa.public());
    assert_one(STANDARD.encode(pkcs1().to_pkcs1_der().unwrap().as_bytes()).as_bytes(), Form::Base64Der, rsa.public());
    let seed = &der(ed)[16..48];
    assert_one(format!("{}\n", STANDARD.encode(seed)).as_bytes(), Form::Seed, ed.public());
    assert_one(STANDARD.encode([seed, ed.public().as_bytes()].concat()).as_bytes(), Form::Seed, ed.public());
}

#[test]
fn several_keys_in_one_file_are_several() {
    let text = format!("{}\n# and\n{}{}", rsa_key().pem(), ed25519_key().pem(), STANDARD.encode(der(rsa_key())));
    let kinds: Vec<Algorithm> = scan(text.as_bytes())
        .iter()
        .map(|hit| match &hit.kind {
            Kind::Whole { algorithm, .. } => *algorithm,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [Algorithm::Rsa, Algorithm::Ed25519, Algorithm::Rsa]);
}

#[test]
fn what_is_not_whole_is_said_to_be_so() {
    let pem = rsa_key().pem();
    let kind = |text: &str| scan(text.as_bytes()).into_iter().map(|hit| hit.kind).collect::<Vec<_>>();
    assert_eq!(kind(&pem[..200]), [Kind::CutShort]);
    assert_eq!(kind(&STANDARD.encode(der(rsa_key()))[..300]), [Kind::CutShort]);
    assert_eq!(kind("-----BEGIN RSA PRIVATE KEY-----"), [Kind::HeaderAlone]);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIFLTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQww\n";
    assert_eq!(kind(encrypted), [Kind::Encrypted]);
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nabcd\n";
    assert_eq!(kind(old), [Kind::Encrypted]);
    let ssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz\n";
    assert_eq!(kind(ssh), [Kind::Foreign("OpenSSH key")]);
}

#[test]
fn what_is_no_private_key_is_nothing() {
    let public = STANDARD.encode(rsa_key().public().as_bytes());
    for text in [
        "-----BEGIN PUBLIC KEY-----\nMIIB",
        "-----BEGIN RSA PRIVATE KEY-----\nyour key here\n-----END RSA PRIVATE KEY-----",
        "if line.startswith('-----BEGIN PRIVATE KEY-----') and x:",
        "MIIMIIMIIMII MIIEpAIBAAKC",
        &format!("v=DKIM1; p={public}"),
        &"A".repeat(44),
        "",
    ] {
        let hits = scan(text.as_bytes());
        let real = hits.iter().filter(|hit| hit.kind != Kind::HeaderAlone && hit.form != Form::Seed);
        assert_eq!(real.count(), 0, "{text}: {hits:?}");
    }
}

#[test]
fn a_key_is_found_across_every_border_of_the_window() {
    let key = pkcs1_pem();
    let text = format!("{}{key}{}", "x".repeat(WINDOW - 900), "y".repeat(WINDOW));
    for chunk in [1000, 4096, 65_536, text.len()] {
        let mut scanner = Scanner::default();
        text.as_bytes().chunks(chunk).for_each(|octets| scanner.feed(octets));
        let hits = scanner.finish();
        assert_eq!(hits.len(), 1, "chunks of {chunk}");
        assert_eq!(hits[0].offset, (WINDOW - 900) as u64);
        assert!(matches!(hits[0].kind, Kind::Whole { .. }));
    }
}

/// Keys in every encoding, as they stand in files, with the form and the public half to be found.
fn encodings() -> &'static [(Vec<u8>, Form, PublicKey)] {
    static ENCODINGS: OnceLock<Vec<(Vec<u8>, Form, PublicKey)>> = OnceLock::new();
    ENCODINGS.get_or_init(|| {
        let mut all = Vec::new();
        for key in [rsa_key(), ed25519_key()] {
            let pem = key.pem();
            let mut add = |text: Vec<u8>, form| all.push((text, form, key.public().clone()));
            add(pem.as_bytes().to_vec(), Form::Pem);
            add(pem.replace('\n', "\r\n").into_bytes(), Form::Pem);
            add(pem.replace('\n', "\\n").into_bytes(), Form::Pem);
            add(pem.replace('\n', "\n    ").into_bytes(), Form::Pem);
            add(pem.replace('\n', "\\n\" +\n \"").replace(" +", "").into_bytes(), Form::Pem);
            add(der(key), Form::Der);
            add(format!(" {} ", STANDARD.encode(der(key))).into_bytes(), Form::Base64Der);
            // A whole file in base64: the key is at any place in its groups of four.
            for before in ["", "A", "AB", "PORT=25\nDKIM_KEY=\""] {
                let text = STANDARD.encode(format!("{before}{pem}\"\n"));
                add(format!(" {text} ").into_bytes(), Form::Base64Pem);
                let lines: Vec<&str> = text.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect();
                add(format!(" {} ", lines.join("\n")).into_bytes(), Form::Base64Pem);
            }
        }
        let pkcs1_der = pkcs1().to_pkcs1_der().unwrap().as_bytes().to_vec();
        all.push((pkcs1_pem().into_bytes(), Form::Pem, rsa_key().public().clone()));
        all.push((
            format!(" {} ", STANDARD.encode(&pkcs1_der)).into_bytes(),
            Form::Base64Der,
            rsa_key().public().clone(),
        ));
        all.push((pkcs1_der, Form::Der, rsa_key().public().clone()));
        all
    })
}

/// Octets without a pattern.
fn noise() -> &'static [u8] {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..4 * WINDOW).map(|_| next()).collect()
    })
}

#[test]
fn needles_without_end_are_no_keys() {
    for text in [
        "-----BEGIN RSA PRIVATE KEY-----",
        "MII",
        "LS0tLS1CRUdJTi",
        "MIIEpAIBAAKCAQEA",
        "-----BEGIN PRIVATE KEY-----MII",
    ] {
        let octets = text.repeat((1 << 18) / text.len());
        let whole = scan(octets.as_bytes()).into_iter().filter(|hit| matches!(hit.kind, Kind::Whole { .. }));
        assert_eq!(whole.count(), 0, "{text}");
    }
}

proptest! {
    #[test]
    fn octets_of_every_kind_are_only_looked_at(octets in prop::collection::vec(any::<u8>(), 0..4096)) {
        let _ = scan(&octets);
    }

    #[test]
    fn keys_that_were_damaged_are_only_looked_at(at in 0_usize..1700, with in any::<u8>(), cut in 0_usize..1700) {
        let mut text = pkcs1_pem().into_bytes();
        let end = cut.min(text.len());
        if let Some(octet) = text.get_mut(at) { *octet = with; }
        let _ = scan(&text[..end]);
        let mut raw = der(rsa_key());
        if let Some(octet) = raw.get_mut(at) { *octet = with; }
        let _ = scan(&raw[..end.min(raw.len())]);
    }

    #[test]
    fn a_key_is_found_at_any_place_in_any_encoding(
        which in any::<prop::sample::Index>(),
        // Half of them where the window moves on.
        before in prop_oneof![0..3 * WINDOW, WINDOW - REACH - 3000..WINDOW + 64, 2 * WINDOW - 2 * REACH - 3000..2 * WINDOW],
        after in 0..WINDOW,
        chunk in prop_oneof![1..600_usize, Just(4096), Just(64 << 10), 1..2 * WINDOW],
        filler in 0..3_usize,
    ) {
        let (key, form, public) = which.get(encodings());
        let fill = |length: usize| match filler {
            0 => noise()[..length].to_vec(),
            1 => vec![0; length],
            _ => b"some words, and a line of dashes --------\n".iter().copied().cycle().take(length).collect(),
        };
        let text = [fill(before), key.clone(), fill(after)].concat();
        let mut scanner = Scanner::default();
        for round in 0..2 {
            text.chunks(chunk).for_each(|octets| scanner.feed(octets));
            let hits = scanner.finish();
            let is_it = |hit: &&Hit| matches!(&hit.kind, Kind::Whole { public: found, .. } if found == public);
            let found: Vec<(Form, u64)> = hits.iter().filter(is_it).map(|hit| (hit.form, hit.offset)).collect();
            prop_assert_eq!(found.len(), 1, "round {}: {:?}", round, hits);
            prop_assert_eq!(found[0].0, *form);
            let reach = before as u64..(before + key.len()) as u64;
            prop_assert!(reach.contains(&found[0].1), "{:?} is not in {:?}", found, reach);
        }
    }

    #[test]
    fn where_the_chunks_end_does_not_matter(before in 0_usize..700, chunk in 1_usize..900) {
        let text = [&vec![b'-'; before][..], pkcs1_pem().as_bytes(), b"tail"].concat();
        let mut scanner = Scanner::default();
        text.chunks(chunk).for_each(|octets| scanner.feed(octets));
        prop_assert_eq!(scanner.finish(), scan(&text));
    }
}
