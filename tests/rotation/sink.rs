//! Where the mail arrives and is judged; see tests/servers/sink.py.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

/// A message, as the verifier saw it when it came.
#[derive(Debug, Clone, Deserialize)]
pub struct Received {
    pub id: String,
    pub selector: Option<String>,
    pub result: String,
    pub why: String,
}

/// A running sink.
pub struct Sink {
    child: Child,
    file: PathBuf,
}

impl Sink {
    /// The interpreter for which Debian packages dkimpy.
    pub const PYTHON: &'static str = "/usr/bin/python3";

    pub fn start(port: u16, resolver: SocketAddr, file: &Path) -> Sink {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], port)), resolver, file)
    }

    pub fn start_on(address: SocketAddr, resolver: SocketAddr, file: &Path) -> Sink {
        let mut child = Command::new(Self::PYTHON)
            .args(["-c", include_str!("../servers/sink.py")])
            .args([address.to_string(), resolver.to_string()])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n", "the sink did not start");
        Sink { child, file: file.to_owned() }
    }

    /// Whether python3 has what the sink imports.
    pub fn available() -> bool {
        let imports =
            Command::new(Self::PYTHON).args(["-c", "import dkim, dns.resolver"]).stderr(Stdio::null()).status();
        imports.is_ok_and(|status| status.success())
    }

    pub fn received(&self) -> Vec<Received> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many messages had each selector and result.
pub fn count(received: &[Received]) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for message in received {
        let selector = message.selector.clone().unwrap_or_default();
        *counts.entry((selector, message.result.clone())).or_default() += 1;
    }
    counts
}
