//! Every section of RFC 7208 as a table (tests/spf/cases.txt), against BIND on loopback.
//!
//! What BIND would not do of itself, a failure or silence at one name, a relay in front of it does.

#![allow(clippy::print_stdout)] // what was skipped, and how many agree

#[path = "spf/server.rs"]
mod server;
#[path = "spf/table.rs"]
mod table;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use dkimctl::spf::eval::{Session, check};
use dkimctl::spf::resolver::Recursive;
use dkimctl_state::time::Time;

use server::Server;
use table::{Case, Table};

const NOW: i64 = 1_700_000_000;

#[test]
fn every_section_of_the_rfc() {
    let table = Table::read();
    assert!(table.cases.len() >= 150, "{} cases", table.cases.len());
    let Some(server) = Server::start(&table) else { return };
    let resolver = Recursive::new(server.address).with_timeout(Duration::from_millis(300));
    let mut wrong = Vec::new();
    for case in &table.cases {
        let session = Session {
            ip: case.ip,
            helo: case.helo.clone(),
            mail_from: case.from.clone(),
            receiver: "unknown".to_owned(),
            now: Time::from_unix(NOW),
        };
        let found = check(&resolver, &session);
        let says = found.explanation.clone().unwrap_or_default();
        let agrees = found.outcome.as_str() == case.result
            && case.lookups.is_none_or(|n| n == found.lookups)
            && case.voids.is_none_or(|n| n == found.void_lookups)
            && case.says.as_ref().is_none_or(|text| *text == says);
        if !agrees {
            let Case { line, section, text, .. } = case;
            let seen = format!("{} lookups={} voids={}", found.outcome.as_str(), found.lookups, found.void_lookups);
            wrong.push(format!("line {line} ({section}): {text}\n    seen: {seen} says={says} ({:?})", found.why));
        }
    }
    println!("{} of {} cases", table.cases.len() - wrong.len(), table.cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A second opinion: pyspf on the same table. Where the two differ, the line in `differs` says why.
#[test]
fn pyspf_agrees() {
    let python = std::env::var("DKIMCTL_PYSPF").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import spf, dns.resolver"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        return server::skipped("pyspf and dnspython (set DKIMCTL_PYSPF to a python that has them)");
    }
    let table = Table::read();
    let Some(server) = Server::start(&table) else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/spf/second_opinion.py");
    let mut child = Command::new(&python)
        .args([script, &server.address.port().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for case in &table.cases {
        writeln!(stdin, "{}\t{}\t{}", case.ip, case.from, case.helo).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.len(), table.cases.len());
    let differs: Vec<String> = table
        .cases
        .iter()
        .zip(said)
        .filter(|(case, said)| case.result != *said && !case.pyspf_differs)
        .map(|(case, said)| format!("line {} ({}): {}\n    pyspf: {said}", case.line, case.section, case.text))
        .collect();
    println!("{} of {} agree", table.cases.len() - differs.len(), table.cases.len());
    assert!(differs.is_empty(), "{}", differs.join("\n"));
}

/// The program itself, as an operator or a conformance suite calls it.
#[test]
fn the_command_prints_the_same() {
    let table = Table::read();
    let Some(server) = Server::start(&table) else { return };
    let chosen = table.cases.iter().filter(|case| case.says.is_some() || case.section.starts_with("2.4"));
    for case in chosen.take(40) {
        let output = Command::new(env!("CARGO_BIN_EXE_dkimctl"))
            .args(["spf", "eval", "--json", "--ip", &case.ip.to_string(), "--mail-from", &case.from])
            .args(["--helo", &case.helo, "--resolver", &server.address.to_string()])
            .env_clear()
            .output()
            .unwrap();
        assert!(output.status.success(), "line {}: {output:?}", case.line);
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&said["schema"], &said["result"]), (&1.into(), &case.result.as_str().into()), "line {}", case.line);
        // `%{t}` is the time of the call.
        if let Some(says) = case.says.as_deref().filter(|says| !says.contains(&NOW.to_string())) {
            assert_eq!(said["explanation"], says, "line {}", case.line);
        }
        assert!(said["lookups"].is_u64() && said["void_lookups"].is_u64(), "line {}", case.line);
    }
}
