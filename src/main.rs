//! Hygiene first: before any thread, any file and any secret. Then the command.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    for warning in dkimctl::hygiene::harden() {
        let _ = writeln!(std::io::stderr(), "dkimctl: warning: {warning}");
    }
    dkimctl::cli::run()
}
