//! The doctor, as people run it: the stack of the article refused check by check, sound projects left alone, and a real
//! engine.

mod article;
mod compose;
#[path = "../servers/engine.rs"]
mod containers;
mod engine;
#[path = "../servers/mod.rs"]
mod servers;
mod sound;

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

/// A directory beside this file.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doctor").join(name)
}

/// Runs the doctor away from any configuration.
fn doctor(args: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = assert_cmd::Command::cargo_bin("dkimctl").unwrap();
    command.current_dir(home.path()).arg("doctor").args(args);
    command.env("HOME", home.path()).env_remove("DKIMCTL_CONFIG").env("XDG_CONFIG_HOME", home.path());
    command.env("XDG_STATE_HOME", home.path().join("state")).env("LC_ALL", "C.UTF-8");
    command.output().unwrap()
}

/// The checks of a run, and how it ended.
fn checks(args: &[&str]) -> (Vec<Value>, i32) {
    let output = doctor(&[args, &["--json"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {stderr}"));
    assert_eq!(document["schema"], 1);
    (document["checks"].as_array().unwrap().clone(), output.status.code().unwrap())
}

fn text<'v>(check: &'v Value, field: &str) -> &'v str {
    check[field].as_str().unwrap_or_default()
}

/// `ID result severity file:line`
fn line(check: &Value) -> String {
    let place = match (check["file"].as_str(), check["line"].as_u64()) {
        (Some(file), Some(line)) => format!(" {file}:{line}"),
        (Some(file), None) => format!(" {file}"),
        _ => String::new(),
    };
    format!("{} {} {}{place}", text(check, "id"), text(check, "result"), text(check, "severity"))
}
