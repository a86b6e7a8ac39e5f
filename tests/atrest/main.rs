//! Cron at rest: a hundred thousand domains, nothing due. `advance` and `retire` say nothing, write nothing and ask
//! nobody; the kernel is the witness (strace), and the disk is another.

#[path = "../fleet/mod.rs"]
mod fleet;
#[path = "../servers/mod.rs"]
mod servers;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};

use dkimctl_state::time::{Span, Time};
use sha2::{Digest as _, Sha256};

use servers::servers_or_skip;

const DOMAINS: u32 = 100_000;
/// The most that such a run may occupy.
const MEMORY_KB: u64 = 128 * 1024;

#[test]
fn nothing_due_is_nothing_done() {
    if !servers_or_skip(&["strace", "python3"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let now = chrono::Utc::now().timestamp();
    let (begun, wake) = (Time::from_unix(now - 86_400), Time::from_unix(now) + Span::days(30));
    fleet::build(&dir.path().join("state"), DOMAINS, &["s1"], begun, wake);
    fleet::configure(dir.path(), DOMAINS);
    let before = disk(dir.path());

    for verb in ["advance", "retire"] {
        let calls = dir.path().with_extension("calls");
        let mut traced = command("strace", dir.path());
        traced.args(["-f", "-qq", "-e", "trace=%file,%network,%desc", "-e", "signal=none", "-o"]).arg(&calls);
        silent(traced.args([env!("CARGO_BIN_EXE_dkimctl"), verb]).output().unwrap(), verb);
        let calls = fs::read_to_string(calls).unwrap();
        assert!(calls.contains("state/dkimctl.db"), "the state was not even looked at:\n{calls}");
        let changes: Vec<&str> = calls.lines().filter(|line| changes_something(line)).collect();
        assert!(changes.is_empty(), "{verb} wrote or asked:\n{}", changes.join("\n"));
        assert_eq!(disk(dir.path()), before, "{verb} changed a file");

        let peak = peak_of(verb, dir.path());
        eprintln!("{verb} with {DOMAINS} domains and nothing due: {} MB at most", peak / 1024);
        assert!(peak <= MEMORY_KB, "{verb} took {peak} KB");
    }
}

/// Whether a traced call writes to a file, makes, renames or removes one, or reaches the network.
fn changes_something(line: &str) -> bool {
    let call = line.split_whitespace().nth(1).unwrap_or_default();
    let name = call.split('(').next().unwrap_or_default();
    match name {
        // Cores are counted through a cgroup's files, libraries are opened: all of it to be read.
        "open" | "openat" | "creat" => {
            ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| line.contains(flag))
                && !line.contains("/dev/")
        }
        "socket" | "connect" | "sendto" | "sendmsg" | "sendmmsg" | "bind" => true,
        "pwrite64" | "pwritev" | "fsync" | "fdatasync" | "ftruncate" | "truncate" | "fallocate" => true,
        "rename" | "renameat" | "renameat2" | "link" | "linkat" | "unlink" | "unlinkat" | "mkdir" | "mkdirat" => true,
        "chmod" | "fchmod" | "fchmodat" | "chown" | "fchown" | "fchownat" | "utimensat" => true,
        // Nothing is even said.
        "write" | "writev" => true,
        _ => false,
    }
}

/// Every file: its size, its times, its octets.
fn disk(directory: &Path) -> Vec<(String, u64, i64, i64, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(disk(&path));
        } else {
            let meta = fs::metadata(&path).unwrap();
            let sum = Sha256::digest(fs::read(&path).unwrap());
            let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
            files.push((path.display().to_string(), meta.len(), meta.mtime(), meta.mtime_nsec(), sum));
        }
    }
    files.sort();
    files
}

fn command(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", directory).current_dir(directory);
    command
}

fn silent(output: Output, verb: &str) {
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{verb}: {}\n{said}", output.status);
    assert_eq!(said, "", "{verb} has nothing to say");
}

/// The most memory that the process ever occupied, in KB, as the kernel tells whoever waits for it.
fn peak_of(verb: &str, directory: &Path) -> u64 {
    let script = "import resource, subprocess, sys\n\
                  assert subprocess.run(sys.argv[1:]).returncode == 0\n\
                  print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n";
    let mut measured = command("python3", directory);
    let output = measured.args(["-c", script, env!("CARGO_BIN_EXE_dkimctl"), verb]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}
