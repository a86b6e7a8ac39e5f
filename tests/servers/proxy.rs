//! Stands between the program and a host, and keeps the answer to a change back: the change has happened, and whoever
//! asked for it does not know.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Listens on TCP, and on the same port on UDP, until the test ends.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    is_change: fn(&[u8]) -> bool,
    armed: AtomicBool,
    held: AtomicBool,
    changes: AtomicU32,
}

impl Proxy {
    /// `is_change` tells by its beginning what is to change something.
    pub fn before(server: SocketAddr, is_change: fn(&[u8]) -> bool) -> Proxy {
        let (tcp, udp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (tcp, udp);
            }
        };
        let address = tcp.local_addr().unwrap();
        let (armed, held, changes) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU32::new(0));
        let shared = Arc::new(Shared { server, is_change, armed, held, changes });
        let of_tcp = shared.clone();
        thread::spawn(move || {
            for client in tcp.incoming().flatten() {
                let shared = of_tcp.clone();
                thread::spawn(move || pass(client, &shared));
            }
        });
        thread::spawn(move || pass_datagrams(&udp, server));
        Proxy { address, shared }
    }

    /// From now on the answer to the next change is kept back.
    pub fn arm(&self) {
        self.shared.held.store(false, Ordering::SeqCst);
        self.shared.armed.store(true, Ordering::SeqCst);
    }

    pub fn disarm(&self) {
        self.shared.armed.store(false, Ordering::SeqCst);
    }

    /// Whether a host has answered, and nobody heard it.
    pub fn holds_an_answer(&self) -> bool {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// How many changes were passed on so far.
    pub fn changes(&self) -> u32 {
        self.shared.changes.load(Ordering::SeqCst)
    }
}

/// A request of an HTTP API that is no question.
pub fn http_change(bytes: &[u8]) -> bool {
    ["POST ", "PATCH ", "PUT ", "DELETE "].iter().any(|verb| bytes.starts_with(verb.as_bytes()))
}

/// A DNS UPDATE over TCP (RFC 2136 section 2.2: opcode 5) with records in its update section.
pub fn dns_update(bytes: &[u8]) -> bool {
    let count = |at: usize| bytes.get(at..at + 2).is_some_and(|count| count != [0, 0]);
    bytes.get(4).is_some_and(|flags| flags >> 3 & 0xf == 5) && count(10)
}

fn pass(client: TcpStream, shared: &Arc<Shared>) {
    let Ok(server) = TcpStream::connect(shared.server) else { return };
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let changing = Arc::new(AtomicBool::new(false));
    let (changed, of_client) = (changing.clone(), shared.clone());
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 17];
        while let Ok(read @ 1..) = from_client.read(&mut buffer) {
            if (of_client.is_change)(&buffer[..read]) {
                of_client.changes.fetch_add(1, Ordering::SeqCst);
                changed.store(true, Ordering::SeqCst);
            }
            if to_server.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to_server.shutdown(std::net::Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    let mut buffer = vec![0; 1 << 17];
    while let Ok(read @ 1..) = from_server.read(&mut buffer) {
        if changing.load(Ordering::SeqCst) && shared.armed.load(Ordering::SeqCst) {
            shared.held.store(true, Ordering::SeqCst);
            continue;
        }
        changing.store(false, Ordering::SeqCst);
        if to_client.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to_client.shutdown(std::net::Shutdown::Both);
}

/// Questions over UDP, one after the other.
fn pass_datagrams(clients: &UdpSocket, server: SocketAddr) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok((read, client)) = clients.recv_from(&mut buffer) {
        let (question, clients) = (buffer[..read].to_vec(), clients.try_clone().unwrap());
        thread::spawn(move || {
            let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
            upstream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut answer = vec![0; 1 << 16];
            if upstream.send_to(&question, server).is_ok()
                && let Ok(read) = upstream.recv(&mut answer)
            {
                let _ = clients.send_to(&answer[..read], client);
            }
        });
    }
}
