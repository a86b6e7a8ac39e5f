//! Mail from an application's container, through port 587, with a password and under TLS; see load.py.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::Deserialize;

const SCRIPT: &str = include_str!("load.py");
/// Messages a second.
pub const RATE: &str = "20";

#[derive(Debug, Deserialize)]
pub struct Tally {
    /// The ids of the messages that were accepted.
    pub accepted: Vec<String>,
    /// How often one was not accepted at once.
    pub tries: usize,
}

/// Mail under way until it is told to stop.
pub struct Load {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Load {
    /// `inside`: what runs a program in the application's container, as `["docker", "exec", "-i", "app"]`.
    pub fn start(inside: &[&str]) -> Load {
        let mut child = Command::new(inside[0])
            .args(&inside[1..])
            .args(["python3", "-c", SCRIPT, RATE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "started\n", "the load did not start");
        Load { child, out }
    }

    pub fn stop(mut self) -> Tally {
        drop(self.child.stdin.take());
        let mut json = String::new();
        self.out.read_to_string(&mut json).unwrap();
        let mut complaints = String::new();
        let _ = self.child.stderr.take().unwrap().read_to_string(&mut complaints);
        let tally: Tally = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}{complaints}"));
        if tally.tries > 0 {
            eprintln!("not accepted at once:\n{complaints}");
        }
        tally
    }
}

/// Sends one message; whether it was accepted, and what was said.
pub fn send_one(inside: &[&str], ident: &str, to: &str) -> Result<(), String> {
    let output = Command::new(inside[0])
        .args(&inside[1..])
        .args(["python3", "-c", SCRIPT, RATE, ident, to])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}
