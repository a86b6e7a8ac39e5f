//! Every layout that the tools write, with every kind of key in it.

use std::path::Path;

use dkimctl::doctor::engine::Docker;
use dkimctl::doctor::image::walk::Limits;
use dkimctl::doctor::image::{Gone, Image, Kind, source};
use dkimctl::doctor::patient;

use crate::builders::{gzip, oci_tools, run, skopeo};
use crate::planted::{DELETED, assert_all_found, gone, keys, plant, plant_nothing, setting};

pub fn walk(path: &Path) -> Image {
    let image = patient::Image::Archive(path.to_owned());
    source::walk(&image, &Docker::default(), &Limits::default()).unwrap()
}

#[test]
fn planted_keys_are_found_in_every_layout() {
    if !oci_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    plant(&at.join("tree"));
    run("umoci", &["init", "--layout", "oci"], at);
    run("umoci", &["new", "--image", "oci:mail"], at);
    for (from, to) in [("tree/app", "/app"), ("tree/etc", "/etc"), ("tree/usr", "/usr"), ("tree/srv", "/srv")] {
        run("umoci", &["insert", "--image", "oci:mail", from, to], at);
    }
    run("umoci", &["insert", "--image", "oci:mail", "tree/README.md", "/README.md"], at);
    run("umoci", &["insert", "--image", "oci:mail", "--whiteout", "/etc/opendkim/keys/example.com"], at);
    std::fs::write(at.join("harmless"), "no key any more\n").unwrap();
    run("umoci", &["insert", "--image", "oci:mail", "harmless", "/app/pkcs1.pem"], at);
    let cut = format!("--config.env=DKIM_KEY={}", &keys().escaped()[..120]);
    let header = "--config.env=DKIM_FILE=-----BEGIN RSA PRIVATE KEY-----";
    let whole = format!("--config.label=key={}", keys().escaped());
    run("umoci", &["config", "--image", "oci:mail", &cut, header, &whole], at);

    skopeo("oci:oci:mail", "oci:zstd:mail", Some("zstd"), at);
    skopeo("oci:oci:mail", "oci-archive:oci.tar:mail", None, at);
    skopeo("oci:zstd:mail", "oci-archive:zstd.tar:mail", None, at);
    // Its layers are links, and have no padding at their ends.
    skopeo("oci:oci:mail", "docker-archive:legacy.tar:mail:1", None, at);
    gzip(&at.join("legacy.tar"), &at.join("legacy.tar.gz"));
    run("tar", &["-cf", "both.tar", "-C", "oci", "oci-layout", "index.json", "blobs"], at);
    std::fs::create_dir(at.join("unpacked")).unwrap();
    run("tar", &["-xf", "legacy.tar", "-C", "unpacked"], at);

    for layout in ["oci", "zstd", "oci.tar", "zstd.tar", "legacy.tar", "legacy.tar.gz", "both.tar", "unpacked"] {
        let image = walk(&at.join(layout));
        assert_eq!(image.layers, 7, "{layout}");
        assert_all_found(&image, layout);
        assert_eq!(gone(&image, DELETED), Some(Gone::Deleted { layer: 6 }), "{layout}");
        assert_eq!(gone(&image, "app/pkcs1.pem"), Some(Gone::Replaced { layer: 7 }), "{layout}");
        assert_eq!(gone(&image, "app/pkcs8.pem"), None, "{layout}");
        assert_eq!(setting(&image, "ENV DKIM_KEY"), Some(&Kind::CutShort), "{layout}");
        assert_eq!(setting(&image, "ENV DKIM_FILE"), Some(&Kind::HeaderAlone), "{layout}");
        assert!(matches!(setting(&image, "config.Labels.key"), Some(Kind::Whole { .. })), "{layout}");
    }
}

#[test]
fn an_image_without_keys_has_none() {
    if !oci_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    plant_nothing(&at.join("tree"));
    run("umoci", &["init", "--layout", "oci"], at);
    run("umoci", &["new", "--image", "oci:mail"], at);
    run("umoci", &["insert", "--image", "oci:mail", "tree", "/"], at);
    skopeo("oci:oci:mail", "docker-archive:legacy.tar:mail:1", None, at);
    for layout in ["oci", "legacy.tar"] {
        let image = walk(&at.join(layout));
        assert_eq!((image.keys.as_slice(), image.unscanned.as_slice()), (&[][..], &[][..]), "{layout}");
        assert_eq!((image.layers, image.files > 3), (1, true), "{layout}");
    }
}

#[test]
fn a_layer_that_is_not_there_or_not_understood_is_said() {
    if !oci_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    plant_nothing(&at.join("tree"));
    run("umoci", &["init", "--layout", "oci"], at);
    run("umoci", &["new", "--image", "oci:mail"], at);
    run("umoci", &["insert", "--image", "oci:mail", "tree", "/"], at);
    let blobs = std::fs::read_dir(at.join("oci/blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let layer = blobs.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    for octets in [Some(&b"\xfd7zXZ\0 another compression"[..]), None] {
        match octets {
            Some(octets) => {
                std::fs::remove_file(&layer).unwrap();
                std::fs::write(&layer, octets).unwrap();
            }
            None => std::fs::remove_file(&layer).unwrap(),
        }
        let image = walk(&at.join("oci"));
        assert!(image.unscanned.iter().any(|unscanned| unscanned.what == "layer 1 of 1"), "{image:#?}");
    }
}
