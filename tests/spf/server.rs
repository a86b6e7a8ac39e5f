//! BIND with the table's zone, and a relay before it that fails or keeps silent where the table says so.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use hickory_proto::op::Message;

use crate::table::Table;

pub struct Server {
    /// The relay.
    pub address: SocketAddr,
    bind: Child,
    _directory: tempfile::TempDir,
}

#[derive(Clone)]
struct Relay {
    to: SocketAddr,
    servfail: Vec<String>,
    silent: Vec<String>,
}

/// Prints that something was not tested; with DKIMCTL_NO_SKIP=1 that is a failure.
pub fn skipped(what: &str) {
    assert!(std::env::var_os("DKIMCTL_NO_SKIP").is_none_or(|v| v != "1"), "{what} is missing");
    // Past the harness, which shows no output of a test that passes.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("SKIPPED: {what} is missing\n").as_bytes());
}

impl Server {
    /// `None` if BIND is not installed.
    pub fn start(table: &Table) -> Option<Server> {
        let Some(named) = ["/usr/sbin/named", "/usr/local/sbin/named"].into_iter().find(|p| Path::new(p).exists())
        else {
            skipped("named (Debian package bind9)");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = directory.path();
        let zone = table.zone.join("\n");
        let head =
            "$TTL 60\n@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60\n@ NS ns.test.\nns.test. A 127.0.0.1\n";
        std::fs::write(path.join("root.zone"), format!("{head}{zone}\n")).unwrap();
        let conf = format!(
            "options {{ directory \"{0}\"; pid-file none; session-keyfile \"{0}/key\"; listen-on port {port} {{ 127.0.0.1; }}; \
             listen-on-v6 {{ none; }}; recursion no; check-names primary ignore; check-integrity no; \
             dnssec-validation no; }}; controls {{ }};\n\
             zone \".\" {{ type primary; file \"root.zone\"; check-spf ignore; check-names ignore; }};\n",
            path.display()
        );
        std::fs::write(path.join("named.conf"), conf.replace("check-spf ignore; ", "")).unwrap();
        let log = std::fs::File::create(path.join("log")).unwrap();
        let bind = Command::new(named)
            .args(["-g", "-n", "1", "-c"])
            .arg(path.join("named.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let to: SocketAddr = ([127, 0, 0, 1], port).into();
        let relay = Relay { to, servfail: table.servfail.clone(), silent: table.silent.clone() };
        let mut server = Server { address: relay.listen(), bind, _directory: directory };
        for _ in 0..100 {
            if TcpStream::connect(to).is_ok() {
                return Some(server);
            }
            if server.bind.try_wait().unwrap().is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("named did not start:\n{}", std::fs::read_to_string(server._directory.path().join("log")).unwrap());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.bind.kill();
        let _ = self.bind.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Relay {
    fn listen(self) -> SocketAddr {
        let (udp, tcp, address) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = tcp.local_addr().unwrap();
            if let Ok(udp) = UdpSocket::bind(address) {
                break (udp, tcp, address);
            }
        };
        let relay = self.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, client)) = udp.recv_from(&mut buffer) {
                let (relay, socket, query) = (relay.clone(), udp.try_clone().unwrap(), buffer[..length].to_vec());
                thread::spawn(move || {
                    if let Some(answer) = relay.answer(&query, |query| relay.ask_udp(query)) {
                        let _ = socket.send_to(&answer, client);
                    }
                });
            }
        });
        thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let relay = self.clone();
                thread::spawn(move || {
                    while let Some(query) = receive(&mut stream) {
                        let Some(answer) = relay.answer(&query, |query| relay.ask_tcp(query)) else { return };
                        if send(&mut stream, &answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn answer(&self, query: &[u8], ask: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        let message = Message::from_vec(query).ok()?;
        let name = message.queries.first()?.name.to_ascii().trim_end_matches('.').to_lowercase();
        if self.silent.contains(&name) {
            return None;
        }
        if self.servfail.contains(&name) {
            let mut answer = query.to_vec();
            answer[2] |= 0x80;
            answer[3] = answer[3] & 0xf0 | 2;
            return Some(answer);
        }
        ask(query)
    }

    fn ask_udp(&self, query: &[u8]) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        socket.send_to(query, self.to).ok()?;
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }

    fn ask_tcp(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(self.to).ok()?;
        send(&mut stream, query).ok()?;
        receive(&mut stream)
    }
}

fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

fn send(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    stream.write_all(&(message.len() as u16).to_be_bytes())?;
    stream.write_all(message)
}
