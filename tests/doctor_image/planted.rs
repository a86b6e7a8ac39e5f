//! The keys that are planted in images, each as one of the ways in which keys get there.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dkimctl::doctor::image::{Form, Gone, Image, Kind, Place};
use dkimctl::keygen::{KeyKind, PrivateKey, generate};
use dkimctl_state::record::dkim::PublicKey;
use pkcs8::SecretDocument;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;

pub struct Keys {
    pub rsa: PrivateKey,
    pub ed25519: PrivateKey,
}

pub fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys {
        rsa: generate(KeyKind::Rsa { bits: 2048 }).unwrap(),
        ed25519: generate(KeyKind::Ed25519).unwrap(),
    })
}

impl Keys {
    pub fn pkcs1(&self) -> String {
        let key = rsa::RsaPrivateKey::from_pkcs8_pem(self.rsa.pem()).unwrap();
        key.to_pkcs1_pem(rsa::pkcs1::LineEnding::LF).unwrap().to_string()
    }

    pub fn der(&self) -> Vec<u8> {
        SecretDocument::from_pem(self.rsa.pem()).unwrap().1.as_bytes().to_vec()
    }

    pub fn escaped(&self) -> String {
        self.rsa.pem().trim_end().replace('\n', "\\n")
    }
}

/// The file whose deletion a later layer asks for.
pub const DELETED: &str = "etc/opendkim/keys/example.com/s1.private";

/// Every planted file with what is to be seen of it; scanners with lists of paths to pass over miss half of them.
pub const PLANTED: &[(&str, Form)] = &[
    ("app/pkcs1.pem", Form::Pem),
    ("app/pkcs8.pem", Form::Pem),
    ("app/ed25519.pem", Form::Pem),
    (DELETED, Form::Pem),
    ("srv/mail-test/key.pem", Form::Pem),
    ("usr/share/doc/example/key.pem", Form::Pem),
    ("README.md", Form::Pem),
    ("etc/opendkim/KeyTable", Form::Base64Der),
    ("app/.env", Form::Pem),
    ("app/config.json", Form::Pem),
    ("app/key.der", Form::Der),
    ("app/secret.yaml", Form::Base64Pem),
    ("etc/ssl/private/ssl-cert-snakeoil.key", Form::Pem),
];

/// Writes them, and files that are no keys, below a directory.
pub fn plant(root: &Path) {
    let keys = keys();
    let write = |path: &str, text: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let rsa = keys.rsa.pem();
    write("app/pkcs1.pem", keys.pkcs1().as_bytes());
    write("app/pkcs8.pem", rsa.as_bytes());
    write("app/ed25519.pem", keys.ed25519.pem().as_bytes());
    write(DELETED, rsa.as_bytes());
    write("srv/mail-test/key.pem", rsa.as_bytes());
    write("usr/share/doc/example/key.pem", rsa.as_bytes());
    write("README.md", format!("# Set-up\n\nUse this key:\n\n    {}\n", rsa.replace('\n', "\n    ")).as_bytes());
    let table = format!("k example.net:mail:{}\n", STANDARD.encode(keys.der()));
    write("etc/opendkim/KeyTable", table.as_bytes());
    write("app/.env", format!("PORT=25\nDKIM_KEY=\"{}\"\n", keys.escaped()).as_bytes());
    let json = serde_json::json!({ "dkim": { "domainName": "example.com", "privateKey": rsa } });
    write("app/config.json", json.to_string().as_bytes());
    write("app/key.der", &keys.der());
    write("app/secret.yaml", format!("kind: Secret\ndata:\n  k: {}\n", STANDARD.encode(rsa)).as_bytes());
    write("etc/ssl/private/ssl-cert-snakeoil.key", rsa.as_bytes());
    plant_nothing(root);
}

/// Files that look a little like keys, and are none.
pub fn plant_nothing(root: &Path) {
    let write = |path: &str, text: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let record = keys().rsa.public().record(keys().rsa.algorithm()).to_str_lossy().into_owned();
    write("etc/dns.txt", format!("s1._domainkey.example.com. TXT \"{record}\"\n").as_bytes());
    write("usr/lib/parser.py", b"if text.startswith('-----BEGIN RSA PRIVATE KEY-----'):\n    pass\n");
    write("usr/bin/blob", &(0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>());
    write("etc/empty", b"");
}

/// Checks that all of it was found, and nothing else.
#[track_caller]
pub fn assert_all_found(image: &Image, layout: &str) {
    assert_eq!(image.unscanned, [], "{layout}");
    let keys = keys();
    let public = |path: &str| if path.contains("ed25519") { keys.ed25519.public() } else { keys.rsa.public() };
    for (path, form) in PLANTED {
        let at = |found: &&dkimctl::doctor::image::KeyFound| matches!(&found.place, Place::File { path: seen, layer: Some(_), .. } if seen == path);
        let found: Vec<_> = image.keys.iter().filter(at).collect();
        let [found] = found[..] else { panic!("{layout}: {path} was found {} times: {:#?}", found.len(), image.keys) };
        assert_eq!(found.form, *form, "{layout}: {path}");
        let Kind::Whole { public: seen, .. } = &found.kind else { panic!("{layout}: {path}: {:?}", found.kind) };
        assert_same(seen, public(path), path);
    }
    let files = image.keys.iter().filter(|found| matches!(found.place, Place::File { .. })).count();
    assert_eq!(files, PLANTED.len(), "{layout}: {:#?}", image.keys);
}

fn assert_same(seen: &PublicKey, wanted: &PublicKey, path: &str) {
    assert_eq!(seen.fingerprint(), wanted.fingerprint(), "{path}");
}

/// What became of a file.
pub fn gone(image: &Image, wanted: &str) -> Option<Gone> {
    image.keys.iter().find_map(|found| match &found.place {
        Place::File { path, gone, .. } if path == wanted => *gone,
        _ => None,
    })
}

/// Whether a setting of the configuration holds something, and what.
pub fn setting<'a>(image: &'a Image, wanted: &str) -> Option<&'a Kind> {
    image.keys.iter().find_map(|found| match &found.place {
        Place::Setting { what } if what == wanted => Some(&found.kind),
        _ => None,
    })
}
