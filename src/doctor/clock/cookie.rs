//! The clocks of name servers. Whoever sends a DNS cookie with a question gets one back that begins with the server's time
//! (RFC 9018 section 4): from BIND as it is installed, from others where cookies are switched on.
//!
//! The question is an ordinary one; the answer has to repeat our own 64 random bits, so that nobody off the path makes
//! it up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use dkimctl_providers::wire::{Options, UDP_PAYLOAD};
use dkimctl_state::time::Time;
use hickory_proto::op::{Edns, Message, MessageType, Query};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use rand_core::{OsRng, RngCore};

use super::Witness;

/// What a server's clock says; `None` if it does not tell, or is this machine.
pub fn ask(server: SocketAddr, name: &Name, options: Options) -> Option<Witness> {
    // Only an address of this machine can be bound to: its clock is the one in question.
    if UdpSocket::bind((server.ip(), 0)).is_ok() {
        return None;
    }
    let mut client = [0; 8];
    OsRng.fill_bytes(&mut client);
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(server).ok()?;
    let query = question(name, client, options.recursion);
    for _ in 0..options.tries.max(1) {
        socket.send(&query.to_vec().ok()?).ok()?;
        if let Some(theirs) = receive(&socket, query.id, client, options) {
            let ours = Time::from_unix(chrono::Utc::now().timestamp());
            return theirs.map(|theirs| Witness { whose: format!("the name server {server}"), theirs, ours });
        }
    }
    None
}

fn question(name: &Name, client: [u8; 8], recursion: bool) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = recursion;
    query.add_query(Query::query(name.clone(), RecordType::SOA));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    edns.options_mut().insert(EdnsOption::Unknown(EdnsCode::Cookie.into(), client.to_vec()));
    query.set_edns(edns);
    query
}

/// One answer: `Some(None)` has no time in it. What does not belong to the question is passed over.
fn receive(socket: &UdpSocket, id: u16, client: [u8; 8], options: Options) -> Option<Option<Time>> {
    let deadline = Instant::now() + options.timeout;
    let mut buffer = vec![0; 65_535];
    loop {
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        socket.set_read_timeout(Some(left)).ok()?;
        let length = socket.recv(&mut buffer).ok()?;
        let Ok(answer) = Message::from_vec(&buffer[..length]) else { continue };
        if answer.id != id || answer.message_type != MessageType::Response {
            continue;
        }
        let cookie = answer.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Cookie));
        let Some(EdnsOption::Unknown(_, cookie)) = cookie else { return Some(None) };
        return Some(time(cookie, client));
    }
}

/// The time in a cookie: 8 octets of ours, version 1, three zeros, 4 octets of time, 8 of a hash. Older servers have
/// formats of their own.
fn time(cookie: &[u8], client: [u8; 8]) -> Option<Time> {
    let server = cookie.strip_prefix(&client).filter(|server| server.len() == 16)?;
    let (version, rest) = server.split_first_chunk::<4>()?;
    let seconds = u32::from_be_bytes(*rest.first_chunk()?);
    (*version == [1, 0, 0, 0]).then(|| Time::from_unix(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cookie_of_the_common_format_that_repeats_ours_tells_the_time() {
        let client = *b"8 octets";
        let cookie = |client: &[u8], version: &[u8], seconds: u32| {
            let time = seconds.to_be_bytes();
            time_of(&[client, version, &time, b"of hash!"].concat())
        };
        fn time_of(cookie: &[u8]) -> Option<i64> {
            time(cookie, *b"8 octets").map(Time::unix)
        }
        assert_eq!(cookie(&client, &[1, 0, 0, 0], 1_800_000_000), Some(1_800_000_000));
        assert_eq!(cookie(b"anothers", &[1, 0, 0, 0], 1_800_000_000), None);
        assert_eq!(cookie(&client, &[2, 0, 0, 0], 1_800_000_000), None);
        assert_eq!(cookie(&client, &[1, 0, 0, 7], 1_800_000_000), None);
        assert_eq!(time_of(b"8 octets"), None, "a server that only repeats");
        assert_eq!(time_of(b"8 octets and a longer one of its own"), None);
    }
}
