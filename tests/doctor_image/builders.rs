//! The tools that make images, as they come from Debian.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a tool to its end; whatever it says belongs to a failure.
#[track_caller]
pub fn run(program: &str, args: &[&str], directory: &Path) -> Vec<u8> {
    let done = Command::new(program)
        .args(args)
        .current_dir(directory)
        .env("DOCKER_BUILDKIT", "0")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// umoci and skopeo, or a skipped test.
pub fn oci_tools() -> bool {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
    let missing = ["umoci", "skopeo"].into_iter().find(|program| !there(program));
    if let Some(program) = missing {
        crate::servers::skip(&format!("{program} is not installed"));
    }
    missing.is_none()
}

/// A container engine that answers, or a skipped test.
pub fn docker() -> bool {
    let answers = Command::new("docker").args(["version", "-f", "{{.Server.Version}}"]).output();
    let there = answers.is_ok_and(|out| out.status.success());
    if !there {
        crate::servers::skip("no Docker engine answers");
    }
    there
}

pub fn skopeo(from: &str, to: &str, compression: Option<&str>, directory: &Path) {
    let mut args = vec!["copy", "-q", "--insecure-policy"];
    if let Some(format) = compression {
        args.extend(["--dest-compress", "--dest-compress-format", format]);
    }
    args.extend([from, to]);
    run("skopeo", &args, directory);
}

/// Packs a file as gzip does.
pub fn gzip(from: &Path, to: &Path) {
    let mut packed = flate2::write::GzEncoder::new(std::fs::File::create(to).unwrap(), flate2::Compression::fast());
    packed.write_all(&std::fs::read(from).unwrap()).unwrap();
    packed.finish().unwrap();
}
