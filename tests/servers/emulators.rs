//! Second opinions on Route 53: moto and ministack, from PyPI, in a virtual environment below target/.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::http::call;
use super::{find, free_port};

/// Pinned: what they check differs from one version to the next.
const PACKAGES: [&str; 2] = ["moto[server]==5.2.5", "ministack==1.5.33"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Lenient: takes a CREATE of what is there, and half a batch.
    Moto,
    /// Stricter: exact deletions, atomic batches, PENDING before INSYNC.
    Ministack,
}

/// A running emulator; ended on drop.
pub struct Emulator {
    child: Child,
    pub address: SocketAddr,
}

/// What the emulators read of a signature: the service.
pub const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=AKIDCANARY0123456789/20261122/us-east-1/route53/aws4_request, SignedHeaders=host, Signature=0";

impl Emulator {
    /// `None`, with a note, where Python or PyPI is out of reach; under DKIMCTL_NO_SKIP=1 it fails instead.
    pub fn start(kind: Kind) -> Option<Emulator> {
        let started = environment().and_then(|bin| Self::run(kind, &bin));
        match started {
            Ok(emulator) => Some(emulator),
            Err(why) => {
                super::skip(&format!("no {kind:?}: {why}"));
                None
            }
        }
    }

    fn run(kind: Kind, bin: &Path) -> Result<Emulator, String> {
        let port = free_port();
        let (program, arguments) = match kind {
            Kind::Moto => ("moto_server", format!("-H 127.0.0.1 -p {port}")),
            Kind::Ministack => ("hypercorn", format!("--bind 127.0.0.1:{port} ministack.app:app")),
        };
        let mut command = Command::new(bin.join(program));
        command.args(arguments.split(' ')).current_dir(bin).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|error| error.to_string())?;
        let emulator = Emulator { child, address: SocketAddr::from(([127, 0, 0, 1], port)) };
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if std::net::TcpStream::connect(emulator.address).is_ok() {
                return Ok(emulator);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(format!("{program} did not start"))
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One call past the provider.
    pub fn raw(&self, method: &str, path: &str, body: &str) -> String {
        let headers = [("authorization", AUTHORIZATION), ("content-type", "text/xml"), ("connection", "close")];
        let (status, answer) = call(self.address, method, &format!("/2013-04-01/{path}"), &headers, body);
        assert!(status < 300, "{method} {path}: {status} {answer}\n{body}");
        answer
    }

    pub fn create_zone(&self, name: &str) {
        let body = format!(
            "<CreateHostedZoneRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Name>{name}.</Name>\
             <CallerReference>{name}</CallerReference></CreateHostedZoneRequest>"
        );
        self.raw("POST", "hostedzone", &body);
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bin directory of the environment, made once.
fn environment() -> Result<PathBuf, String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().find(|directory| directory.join("Cargo.lock").exists()).unwrap_or(manifest);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    fs::create_dir_all(&target).map_err(|error| error.to_string())?;
    // Two test programs may come at once.
    let lock = File::create(target.join("emulators.lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let (directory, bin) = (target.join("emulators"), target.join("emulators/bin"));
    let marker = directory.join(PACKAGES.join(" "));
    if !marker.exists() {
        let python = find("python3").ok_or("there is no python3")?;
        run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&directory))?;
        let pip = ["install", "--quiet", "--disable-pip-version-check", "--timeout", "20", "--retries", "1"];
        run(Command::new(bin.join("pip")).args(pip).args(PACKAGES))?;
        fs::write(&marker, "").map_err(|error| error.to_string())?;
    }
    Ok(bin)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(said.lines().last().unwrap_or_default().to_owned()) }
}
