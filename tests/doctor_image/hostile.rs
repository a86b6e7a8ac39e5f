//! Archives that are damaged, endless or mad: looked at, never followed, never silently passed over.

use std::io::{self, Read};
use std::time::Instant;

use dkimctl::doctor::image::walk::{Limits, archive};
use dkimctl::doctor::image::{Image, ImageError, Kind, Place, Why};
use flate2::Compression;
use flate2::read::GzEncoder;
use proptest::prelude::*;

use crate::live::tar_of;
use crate::planted::keys;

fn walk(octets: &[u8]) -> Result<Image, ImageError> {
    archive("x", octets, &small())
}

fn small() -> Limits {
    Limits { layer: 32 << 20, all: 64 << 20, files: 20_000, ..Limits::default() }
}

fn image_of(layers: &[(&str, &[u8])]) -> Vec<u8> {
    let names: Vec<&str> = layers.iter().map(|(name, _)| *name).collect();
    let manifest = serde_json::json!([{ "Config": "c.json", "Layers": names }]).to_string();
    let mut files = layers.to_vec();
    files.push(("c.json", b"{}"));
    files.push(("manifest.json", manifest.as_bytes()));
    tar_of(&files)
}

fn gzip(octets: impl Read) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(octets, Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

fn key_at(image: &Image, wanted: &str) -> bool {
    let at = |place: &Place| matches!(place, Place::File { path, .. } if path == wanted);
    image.keys.iter().any(|found| at(&found.place) && matches!(found.kind, Kind::Whole { .. }))
}

#[test]
fn a_bomb_ends_at_the_limit_and_says_so() {
    let mut header = tar::Header::new_gnu();
    header.set_path("bomb").unwrap();
    header.set_size(200 << 20);
    header.set_cksum();
    let bomb = gzip(header.as_bytes().chain(io::repeat(0).take(200 << 20)));
    let key = tar_of(&[("app/key", keys().rsa.pem().as_bytes())]);
    let image = walk(&image_of(&[("bomb.tar", &bomb), ("key.tar", &key)])).unwrap();
    assert!(image.unscanned.iter().any(|u| matches!(u.why, Why::TooMuch { .. })), "{:?}", image.unscanned);
    assert!(key_at(&image, "app/key"), "the layer after the bomb is looked at: {:?}", image.keys);
}

#[test]
fn headers_that_promise_gigabytes_of_name_are_not_believed() {
    for kind in [b'x', b'L', b'K', b'g'] {
        let mut header = tar::Header::new_gnu();
        header.set_path("name").unwrap();
        header.set_size(1 << 40);
        header.as_mut_bytes()[156] = kind;
        header.set_cksum();
        let bomb = gzip(header.as_bytes().chain(io::repeat(b'a').take(40 << 20)));
        let image = walk(&image_of(&[("bomb.tar", &bomb)])).unwrap();
        assert!(!image.unscanned.is_empty() || image.keys.is_empty());
    }
}

#[test]
fn a_key_behind_damage_is_still_found() {
    let mut layer = tar_of(&[("a", &[b'a'; 100]), ("b", keys().rsa.pem().as_bytes())]);
    // The second header.
    layer[1024] ^= 0xff;
    let image = walk(&image_of(&[("l.tar", &layer)])).unwrap();
    assert!(image.keys.iter().any(|found| matches!(found.kind, Kind::Whole { .. })), "{image:#?}");
    assert!(image.unscanned.iter().any(|u| matches!(u.why, Why::Damaged(_))), "{image:#?}");
}

#[test]
fn an_archive_that_is_cut_off_anywhere_is_looked_at_as_far_as_it_goes() {
    let key = tar_of(&[("app/key", keys().rsa.pem().as_bytes())]);
    let whole = image_of(&[("a.tar", &key), ("b.tar.gz", &gzip(&key[..]))]);
    for cut in (600..whole.len()).step_by(97) {
        let image = walk(&whole[..cut]).unwrap();
        if cut > 6000 {
            assert!(!image.keys.is_empty(), "cut at {cut}");
        }
    }
    for octets in [&b""[..], b"x", &[0; 511], b"not a tar archive"] {
        assert!(matches!(walk(octets), Err(ImageError::NoImage(_))), "{octets:?}");
    }
}

#[test]
fn paths_that_lead_elsewhere_stay_below_the_root() {
    let mut tar = tar::Builder::new(Vec::new());
    for path in ["../../../etc/dkim/key", "/abs/key", "./a/../b/key", "x\u{1b}[31m/key"] {
        let mut header = tar::Header::new_gnu();
        let name = &mut header.as_gnu_mut().unwrap().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(keys().rsa.pem().len() as u64);
        header.set_cksum();
        tar.append(&header, keys().rsa.pem().as_bytes()).unwrap();
    }
    let image = walk(&image_of(&[("l.tar", &tar.into_inner().unwrap())])).unwrap();
    for path in ["etc/dkim/key", "abs/key", "b/key", "x\\u{1b}[31m/key"] {
        assert!(key_at(&image, path), "{path}: {:#?}", image.keys);
    }
}

#[test]
fn links_that_lead_in_circles_and_nested_indexes_end() {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, target) in [("a/layer.tar", "../b/layer.tar"), ("b/layer.tar", "../a/layer.tar")] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, name, target).unwrap();
    }
    let digest = "0".repeat(64);
    let index = format!(r#"{{"manifests":[{{"digest":"sha256:{digest}"}},{{"digest":"sha256:../../index.json"}}]}}"#);
    let deep = "[".repeat(100_000);
    let files: [(&str, &[u8]); 4] = [
        ("manifest.json", br#"[{"Config":"deep.json","Layers":["a/layer.tar","gone.tar"]}]"#),
        ("index.json", index.as_bytes()),
        (&format!("blobs/sha256/{digest}"), index.as_bytes()),
        ("deep.json", deep.as_bytes()),
    ];
    for (name, octets) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(octets.len() as u64);
        tar.append_data(&mut header, name, octets).unwrap();
    }
    let image = walk(&tar.into_inner().unwrap()).unwrap();
    let missing = image.unscanned.iter().filter(|u| u.why == Why::Missing).count();
    assert_eq!(missing, 2, "{image:#?}");
}

#[test]
fn hard_links_long_names_and_appended_archives() {
    let long = format!("{}/key", "d".repeat(90).repeat(4));
    let mut tar = tar::Builder::new(Vec::new());
    let pem = keys().rsa.pem().as_bytes();
    let mut header = tar::Header::new_gnu();
    header.set_size(pem.len() as u64);
    tar.append_data(&mut header, &long, pem).unwrap();
    tar.append_pax_extensions([("path", "etc/opendkim/pax.private".as_bytes())]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("short").unwrap();
    header.set_size(pem.len() as u64);
    header.set_cksum();
    tar.append(&header, pem).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    tar.append_link(&mut header, "also/here", "etc/opendkim/pax.private").unwrap();
    let layer = [tar.into_inner().unwrap(), tar_of(&[("behind/the/end", pem)])].concat();
    let image = walk(&image_of(&[("l.tar", &layer)])).unwrap();
    for path in [long.as_str(), "etc/opendkim/pax.private", "behind/the/end"] {
        assert!(key_at(&image, path), "{path}: {:#?}", image.keys);
    }
    let aliases = image.keys.iter().find_map(|found| match &found.place {
        Place::File { path, aliases, .. } if path == "etc/opendkim/pax.private" => Some(aliases.clone()),
        _ => None,
    });
    assert_eq!(aliases.unwrap(), ["also/here"]);
}

#[test]
fn a_large_layer_flows_through_little_memory() {
    let before = resident();
    let size: u64 = 96 << 20;
    let mut header = tar::Header::new_gnu();
    header.set_path("large").unwrap();
    header.set_size(size);
    header.set_cksum();
    // Octets that do not repeat within a window.
    let noise: Vec<u8> = (0..1_000_003_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    let large = Repeat { noise: &noise, at: 0 }.take(size);
    let mut outer = tar::Header::new_gnu();
    outer.set_path("layer.tar").unwrap();
    outer.set_size(512 + size);
    outer.set_cksum();
    let stream = outer.as_bytes().chain(&header.as_bytes()[..]).chain(large);
    let began = Instant::now();
    let image = archive("large", stream, &Limits::default()).unwrap();
    assert_eq!(image.files, 1);
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more after {:?}", began.elapsed());
}

struct Repeat<'a> {
    noise: &'a [u8],
    at: usize,
}

impl Read for Repeat<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&self.noise[self.at..]).read(buffer)?;
        self.at = (self.at + read) % self.noise.len();
        Ok(read)
    }
}

/// KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

proptest! {
    #[test]
    fn any_octets_are_only_looked_at(octets in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = walk(&octets);
        let _ = walk(&image_of(&[("l.tar", &octets), ("m.tar.gz", &[&[0x1f, 0x8b, 8][..], &octets].concat())]));
        let _ = walk(&image_of(&[("z.tar", &[&[0x28, 0xb5, 0x2f, 0xfd][..], &octets].concat())]));
    }

    #[test]
    fn any_damage_is_survived(at in 0_usize..8000, with in any::<u8>()) {
        let key = tar_of(&[("app/key", keys().rsa.pem().as_bytes())]);
        let mut octets = image_of(&[("a.tar", &key), ("b.tar.gz", &gzip(&key[..]))]);
        let length = octets.len();
        octets[at % length] = with;
        let _ = walk(&octets);
    }
}
