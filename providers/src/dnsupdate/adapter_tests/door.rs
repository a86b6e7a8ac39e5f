//! A way out that leads to fakes alone: a proxy that ends the TLS of the names it has a fake for, with a certificate of
//! an authority that only this process trusts.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::servers::http::{self, Request, Response};
use super::servers::{free_port, servers_or_skip};

pub type Handler = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

pub fn handler(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Handler {
    Arc::new(answer)
}

/// Open until dropped.
pub struct Door {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    closed: Arc<AtomicBool>,
}

/// Where the process that a test starts finds its certificates, and the port of its door.
const PLACE: &str = "DKIMCTL_TEST_DOOR";

impl Door {
    /// In a process that was started for it, the door. Else runs `test` in such a process, and there is no more to do.
    pub fn open(test: &str, hosts: Vec<(&'static str, Handler)>) -> Option<Door> {
        if let Ok(place) = std::env::var(PLACE) {
            let (port, directory) = place.split_once(':').unwrap();
            return Some(Door::listen(port.parse().unwrap(), Path::new(directory), hosts));
        }
        if servers_or_skip(&["openssl"]) {
            run_again(test, hosts.iter().map(|(name, _)| *name));
        }
        None
    }

    fn listen(port: u16, directory: &Path, hosts: Vec<(&'static str, Handler)>) -> Door {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let door = Door { port, asked: Arc::default(), closed: Arc::default() };
        let (asked, closed) = (door.asked.clone(), door.closed.clone());
        let tls = Arc::new(tls(directory));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                let Some(name) = asked_for(&stream) else { continue };
                asked.lock().unwrap().push(name.clone());
                let found = hosts.iter().find(|(host, _)| *host == name);
                let (_, answer) = found.unwrap_or_else(|| panic!("{name} is no host of this test"));
                let (answer, tls, closed) = (answer.clone(), tls.clone(), closed.clone());
                thread::spawn(move || {
                    let connection = ServerConnection::new(tls).unwrap();
                    http::serve(StreamOwned::new(connection, stream), &*answer, &closed);
                });
            }
        });
        door
    }

    /// The names that were asked for, once a connection.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub fn forget(&self) {
        self.asked.lock().unwrap().clear();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// `CONNECT name:443`, granted.
fn asked_for(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let name = first.strip_prefix("CONNECT ")?.split(':').next()?.to_owned();
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    (&mut &*stream).write_all(b"HTTP/1.1 200 go on\r\n\r\n").ok()?;
    Some(name)
}

fn tls(directory: &Path) -> ServerConfig {
    let chain = CertificateDer::from_pem_file(directory.join("hosts.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("hosts.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    versions.with_no_client_auth().with_single_cert(vec![chain], key).unwrap()
}

fn run_again<'h>(test: &str, hosts: impl Iterator<Item = &'h str>) {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path(), hosts);
    let port = free_port();
    // "dkimctl_providers::dnsupdate::adapter::tests::door", and the test lies beside this module.
    let module = module_path!().split_once("::").unwrap().1.rsplit_once("::").unwrap().0;
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("{module}::{test}"), "--exact", "--nocapture"])
        .env(PLACE, format!("{port}:{}", directory.path().display()))
        .env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"))
        .env("SSL_CERT_FILE", directory.path().join("authority.pem"))
        .envs(["NO_PROXY", "no_proxy", "https_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, "")))
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// An authority, and one certificate of it for all hosts.
fn certificates<'h>(directory: &Path, hosts: impl Iterator<Item = &'h str>) {
    let names: Vec<String> = hosts.map(|host| format!("DNS:{host}")).collect();
    let (names, new) = (format!("subjectAltName={}", names.join(",")), "-newkey ec -pkeyopt ec_paramgen_curve:P-256");
    let openssl = |arguments: &str, names: &[&str]| {
        let arguments: Vec<&str> = arguments.split(' ').chain(names.iter().copied()).collect();
        let output = Command::new("openssl").args(&arguments).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(
        &format!("req -x509 {new} -nodes -days 2 -subj /CN=authority -keyout authority.key -out authority.pem"),
        &[],
    );
    openssl(
        &format!(
            "req -x509 {new} -nodes -days 2 -subj /CN=hosts -CA authority.pem -CAkey authority.key -keyout hosts.key \
             -out hosts.pem -addext basicConstraints=critical,CA:FALSE -addext"
        ),
        &[&names],
    );
    assert!(fs::metadata(directory.join("hosts.pem")).is_ok());
}
