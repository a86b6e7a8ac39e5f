//! What whole commands cost, from exec to exit: `cargo bench --bench commands`.
//!
//! `--help`, and cron's `advance` with 100,000 domains and nothing due. `DKIMCTL_BENCH_DOMAINS` makes it smaller. With
//! hyperfine installed its figures are shown beside criterion's.
#![allow(clippy::print_stdout)] // hyperfine's figures

#[path = "../fleet/mod.rs"]
mod fleet;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use criterion::Criterion;
use dkimctl_state::time::{Span, Time};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dkimctl");

fn main() {
    let domains = std::env::var("DKIMCTL_BENCH_DOMAINS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let dir = tempfile::tempdir().expect("a directory");
    let now = Time::from_unix(chrono::Utc::now().timestamp());
    let begun = Time::from_unix(now.unix() - 86_400);
    fleet::build(&dir.path().join("state"), domains, &["s1", "s2"], begun, now + Span::days(30));
    fleet::configure(dir.path(), domains);

    let at_rest = format!("advance, {domains} domains, nothing due");
    let commands: [(&str, &[&str]); 4] = [
        ("--help", &["--help"]),
        (&at_rest, &["advance"]),
        ("status of one of them", &["status", "d000001.example"]),
        ("log of one of them", &["log", "d000001.example"]),
    ];
    let mut criterion = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5));
    for (name, arguments) in commands {
        criterion.bench_function(name, |b| b.iter(|| run(dir.path(), arguments)));
    }
    criterion.final_summary();
    for (_, arguments) in commands {
        hyperfine(dir.path(), arguments);
    }
}

fn run(dir: &Path, arguments: &[&str]) {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(dir).env("HOME", dir).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().expect("the program").success(), "{arguments:?}");
}

/// Says nothing where hyperfine is not installed.
fn hyperfine(dir: &Path, arguments: &[&str]) {
    let line = format!("{PROGRAM} {}", arguments.join(" "));
    let mut command = Command::new("hyperfine");
    command.args(["--shell=none", "--warmup=3", "--style=basic", &line]).current_dir(dir).env("HOME", dir);
    if let Ok(output) = command.output() {
        println!("{}", String::from_utf8_lossy(&output.stdout));
    }
}
