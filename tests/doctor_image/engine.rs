//! Images as a real engine builds and saves them, examined by the command itself.

use std::fs;

use assert_cmd::Command;
use serde_json::Value;

use crate::builders::{docker, run};
use crate::planted::{PLANTED, keys, plant, plant_nothing};

/// An image that goes with the test.
struct Built(String);

impl Drop for Built {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["rmi", "-f", &self.0]).output();
    }
}

fn build(name: &str, dockerfile: &str, directory: &std::path::Path) -> Built {
    let name = format!("dkimctl-test-{name}-{}:1", std::process::id());
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    run("docker", &["build", "-q", "-t", &name, "."], directory);
    Built(name)
}

/// The checks of a run, and its exit code.
fn doctor(image: &str, directory: &std::path::Path) -> (Vec<Value>, i32, String) {
    let mut command = Command::cargo_bin("dkimctl").unwrap();
    command.args(["doctor", "--image", image, "--only", "KEY", "--offline", "--json"]);
    let done = command.current_dir(directory).env("HOME", directory).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let json: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&done.stderr)));
    let checks = json["checks"].as_array().unwrap().iter().filter(|check| check["result"] != "skip").cloned().collect();
    (checks, done.status.code().unwrap(), text)
}

#[test]
fn keys_in_an_image_that_docker_built() {
    if !docker() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    plant(&dir.path().join("tree"));
    let dockerfile = format!(
        "FROM scratch\nCOPY tree/etc /etc/\nCOPY tree/app /app/\nADD tree/usr /usr/\nCOPY tree/srv /srv/\n\
         COPY tree/README.md /\nENV DKIM_KEY=\"{}\"\nLABEL a=b\n",
        &keys().escaped()[..100]
    );
    let built = build("keys", &dockerfile, dir.path());
    let archive = dir.path().join("image.tar");
    run("docker", &["save", "-o", archive.to_str().unwrap(), &built.0], dir.path());

    for image in [built.0.as_str(), archive.to_str().unwrap()] {
        let (checks, code, text) = doctor(image, dir.path());
        // Nobody can be asked about the DKIM keys, so whether they are live is not known; that is no success.
        assert_eq!(code, 4, "{text}");
        for (path, _) in PLANTED {
            let about = |check: &&Value| check["about"].as_str().unwrap().ends_with(&format!(": {path}"));
            let found: Vec<&Value> = checks.iter().filter(|check| check["id"] == "KEY002").filter(about).collect();
            assert_eq!(found.len(), 1, "{image}: {path}\n{text}");
        }
        let of = |path: &str| {
            let about = |check: &&Value| check["about"].as_str().unwrap().contains(path);
            checks.iter().filter(|check| check["id"] == "KEY002").find(about).unwrap().clone()
        };
        let s1 = of("example.com/s1.private");
        assert_eq!(s1["severity"], "warn", "{s1}");
        assert!(s1["evidence"].as_str().unwrap().contains("layer 1/5 (COPY dir:"), "{s1}");
        assert_eq!(of("app/pkcs1.pem")["severity"], "info");
        assert_eq!(of("snakeoil")["severity"], "info");
        assert_eq!(of("ENV DKIM_KEY")["severity"], "warn");
        let body: String = keys().rsa.pem().lines().filter(|line| !line.starts_with("--")).collect();
        assert!(!(0..body.len() - 12).any(|at| text.contains(&body[at..at + 12])), "key material is printed");
    }
}

#[test]
fn an_image_that_docker_built_without_keys_is_fine() {
    if !docker() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    plant_nothing(&dir.path().join("tree"));
    let built = build("none", "FROM scratch\nCOPY tree/ /\nENV A=b\n", dir.path());
    let (checks, code, text) = doctor(&built.0, dir.path());
    assert_eq!(code, 0, "{text}");
    for id in ["KEY001", "KEY002"] {
        let of = |check: &&Value| check["id"] == id && check["about"] == built.0.as_str();
        assert_eq!(checks.iter().filter(of).map(|check| check["result"].clone()).collect::<Vec<_>>(), ["ok"], "{text}");
    }
}

#[test]
fn an_image_that_nobody_knows_is_unknown() {
    if !docker() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_, code, text) = doctor("dkimctl.invalid/no-such-image:1", dir.path());
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("docker save -o image.tar"), "{text}");
}
