//! Keys in archives and compressed files that were copied into an image: opened to a depth, never past a limit, and what is
//! not opened is counted.

use std::io::{Cursor, Read as _, Seek, Write};
use std::process::{Command, Stdio};

use dkimctl::doctor::image::walk::{Limits, archive};
use dkimctl::doctor::image::{Form, Gone, Image, Kind, Place, Why};
use flate2::Compression;
use flate2::read::GzEncoder;
use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::live::tar_of;
use crate::planted::{gone, keys};

const KEY: &str = "etc/opendkim/keys/example.com/s1.private";

fn walk_with(limits: &Limits, layers: &[&[u8]]) -> Image {
    let names: Vec<String> = (1..=layers.len()).map(|number| format!("{number}.tar")).collect();
    let manifest = serde_json::json!([{ "Config": "c.json", "Layers": names }]).to_string();
    let mut files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(layers.iter().copied()).collect();
    files.push(("c.json", b"{}"));
    files.push(("manifest.json", manifest.as_bytes()));
    archive("x", &tar_of(&files)[..], limits).unwrap()
}

fn walk(files: &[(&str, &[u8])]) -> Image {
    walk_with(&Limits::default(), &[&tar_of(files)])
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(octets, Compression::default()).read_to_end(&mut packed).unwrap();
    packed
}

/// What a program writes that is given these octets; `None`, and a skipped test, if it is not there.
fn packed_by(program: &str, args: &[&str], octets: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        crate::servers::skip(&format!("{program} is not installed"));
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let octets = octets.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&octets).unwrap());
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(done.status.success(), "{program}");
    Some(done.stdout)
}

/// A zip archive as Info-ZIP and Python write it, or as a stream, with the sizes behind the data.
fn zip(files: &[(&str, &[u8])], stream: bool, method: CompressionMethod) -> Vec<u8> {
    fn fill<W: Write + Seek>(mut to: ZipWriter<W>, files: &[(&str, &[u8])], method: CompressionMethod) -> W {
        for (name, octets) in files {
            to.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
            to.write_all(octets).unwrap();
        }
        to.finish().unwrap()
    }
    match stream {
        true => fill(ZipWriter::new_stream(Vec::new()), files, method).into_inner(),
        false => fill(ZipWriter::new(Cursor::new(Vec::new())), files, method).into_inner(),
    }
}

/// The paths of the whole keys, each with its form.
fn found(image: &Image) -> Vec<(String, Form)> {
    let whole = image.keys.iter().filter(|found| matches!(found.kind, Kind::Whole { .. }));
    whole
        .map(|found| match &found.place {
            Place::File { path, .. } => (path.clone(), found.form),
            Place::Setting { what } => (what.clone(), found.form),
        })
        .collect()
}

#[test]
fn a_backup_is_looked_into() {
    let key = keys().rsa.pem().as_bytes();
    let tar = tar_of(&[("readme", b"nothing"), (KEY, key)]);
    let inside = |archive: &str| vec![(format!("{archive}!{KEY}"), Form::Pem)];
    assert_eq!(found(&walk(&[("srv/backup.tar.gz", &gzip(&tar))])), inside("srv/backup.tar.gz"));
    assert_eq!(found(&walk(&[("srv/backup.tar", &tar)])), inside("srv/backup.tar"));
    assert_eq!(found(&walk(&[("srv/s1.pem.gz", &gzip(key))])), [("srv/s1.pem.gz".to_owned(), Form::Pem)]);
    for stream in [false, true] {
        for method in [CompressionMethod::Deflated, CompressionMethod::Stored] {
            let zip = zip(&[("a", b"first"), (KEY, key), ("z", b"last")], stream, method);
            let image = walk(&[("app/app.jar", &zip)]);
            // What is stored without a length in front is seen from outside.
            let seen = match (stream, method) {
                (true, CompressionMethod::Stored) => vec![("app/app.jar".to_owned(), Form::Pem)],
                _ => inside("app/app.jar"),
            };
            assert_eq!(found(&image), seen, "{stream} {method:?}");
        }
    }
    for (program, args) in [("xz", &["-9"][..]), ("zstd", &["-q"][..])] {
        let Some(packed) = packed_by(program, args, &tar) else { continue };
        let image = walk(&[("srv/backup.tar", &packed)]);
        assert_eq!(found(&image), inside("srv/backup.tar"), "{program}");
        assert_eq!((image.opened, image.closed, image.unscanned.len()), (1, 0, 0), "{program}");
        // And a layer that is packed so.
        let layer = packed_by(program, args, &tar_of(&[(KEY, key)])).unwrap();
        assert_eq!(found(&walk_with(&Limits::default(), &[&layer])), [(KEY.to_owned(), Form::Pem)], "{program}");
    }
}

#[test]
fn what_becomes_of_an_archive_becomes_of_its_keys() {
    let backup = gzip(&tar_of(&[("k", keys().rsa.pem().as_bytes())]));
    let image = walk_with(
        &Limits::default(),
        &[&tar_of(&[("srv/backup.tar.gz", &backup)]), &tar_of(&[("srv/.wh.backup.tar.gz", b"")])],
    );
    assert_eq!(gone(&image, "srv/backup.tar.gz!k"), Some(Gone::Deleted { layer: 2 }));
}

#[test]
fn as_deep_as_the_limit_and_what_is_deeper_is_counted() {
    let mut nested = gzip(&tar_of(&[("k", keys().rsa.pem().as_bytes())]));
    for depth in 0..5 {
        nested = gzip(&tar_of(&[("inner.tar.gz", &nested)]));
        let image = walk(&[("outer.tar.gz", &nested)]);
        let (seen, closed) = (!found(&image).is_empty(), image.closed > 0);
        assert!(seen != closed, "{depth}: {:?}, {} closed", image.keys, image.closed);
        assert_eq!(seen, depth < 2, "{depth}");
    }
}

#[test]
fn a_bomb_inside_a_layer_ends_at_its_limit_and_the_rest_is_looked_at() {
    let limits = Limits { inside: 1 << 20, ..Limits::default() };
    let bomb = gzip(&vec![0; 8 << 20]);
    let key = gzip(&tar_of(&[(KEY, keys().rsa.pem().as_bytes())]));
    let image = walk_with(&limits, &[&tar_of(&[("bomb.gz", &bomb), ("backup.tar.gz", &key)])]);
    assert_eq!(found(&image), [(format!("backup.tar.gz!{KEY}"), Form::Pem)]);
    let said: Vec<_> = image.unscanned.iter().map(|unscanned| (unscanned.what.as_str(), &unscanned.why)).collect();
    assert_eq!(said, [("bomb.gz", &Why::TooMuch { limit: 1 << 20 })]);
}

#[test]
fn what_cannot_be_opened_is_counted_and_its_octets_are_searched() {
    let key = keys().rsa.pem().as_bytes();
    let image = walk(&[
        ("torn.gz", &[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], b"no deflate", key].concat()),
        ("torn.xz", &[b"\xfd7zXZ\0\0\x04 and nothing of it"[..].to_vec(), vec![7; 700]].concat()),
        ("other.bz2", b"BZh91AY&SY and so on"),
        ("odd.zip", &[b"PK\x03\x04"[..].to_vec(), vec![9; 60]].concat()),
    ]);
    assert_eq!(found(&image), [("torn.gz".to_owned(), Form::Pem)]);
    assert_eq!((image.opened, image.closed), (0, 4));
    assert!(image.unscanned.is_empty(), "{:?}", image.unscanned);
}

proptest! {
    #[test]
    fn any_damage_inside_is_survived(kind in 0..4_usize, at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let tar = tar_of(&[(KEY, keys().rsa.pem().as_bytes())]);
        let mut packed = match kind {
            0 => gzip(&tar),
            1 => zip(&[(KEY, &tar)], false, CompressionMethod::Deflated),
            2 => zip(&[(KEY, &tar)], true, CompressionMethod::Deflated),
            _ => packed_by("xz", &[], &tar).unwrap_or(tar),
        };
        let length = packed.len();
        packed[at.index(length)] = with;
        let image = walk(&[("a/file", &packed), ("key", keys().ed25519.pem().as_bytes())]);
        let key = found(&image).into_iter().any(|(path, _)| path == "key");
        prop_assert!(key, "what follows is looked at: {:?}", image.keys);
    }
}
