//! One connection to port 25 of somebody else, from where mail leaves. No mail is sent.
//!
//! It shows whether the port is open, and many servers answer EHLO with the address that they see (RFC 5321 section
//! 4.1.1.1 lets the text be anything): Exim `250-mx Hello helo [203.0.113.10]`, Google `250-mx at your service,
//! [203.0.113.10]`. The greeting of many carries their time, which is a witness for the clock.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use chrono::DateTime;
use dkimctl_state::time::Time;

use crate::command::{CommandError, Ran};
use crate::doctor::inside::Inside;

/// How a try ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Port25 {
    Open(Dialogue),
    /// Nothing came back: packets are dropped on the way.
    Silent,
    Refused,
    /// There is no way there: the family is not in use.
    NoRoute(String),
    /// It connected, and what answered does not speak SMTP.
    NotSmtp(String),
    Unknown(String),
}

/// What the peer said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dialogue {
    pub greeting: String,
    /// The whole reply to EHLO.
    pub reply: String,
    /// Our end of the connection, where it could be seen.
    pub local: Option<IpAddr>,
    /// By our clock, when the greeting came.
    pub at: Option<Time>,
}

/// A line of a reply is 512 octets at most (RFC 5321 section 4.5.3.1.5); some are longer, none is a book.
const LONGEST: usize = 64 * 1024;

impl Dialogue {
    /// The address of ours that the peer saw: the last in brackets on the first line, for a HELO may be one too.
    pub fn echoed(&self) -> Option<IpAddr> {
        let first = self.reply.lines().next().filter(|line| line.starts_with("250"))?;
        let inside = first.split('[').skip(1).filter_map(|rest| rest.split(']').next());
        let address = |text: &str| {
            let bare = text.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")).map_or(text, |_| &text[5..]);
            bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
        };
        inside.filter_map(address).last()
    }

    /// The time by the peer's clock, if its greeting says it (RFC 5322 section 3.3).
    pub fn time(&self) -> Option<Time> {
        let words: Vec<&str> = self.greeting.split_whitespace().collect();
        let date = |window: &[&str]| DateTime::parse_from_rfc2822(&window.join(" ")).ok();
        let found = words.windows(6).find_map(date).or_else(|| words.windows(5).find_map(date))?;
        Some(Time::from_unix(found.timestamp()))
    }

    /// Whether EHLO was taken.
    pub fn accepted(&self) -> bool {
        self.reply.starts_with("250")
    }
}

/// Tries one peer. `helo` is what EHLO says; without it, the address of this end (RFC 5321 section 4.1.3).
pub fn ask(inside: &Inside, peer: SocketAddr, helo: Option<&str>, patience: Duration) -> Port25 {
    match inside.in_network(|| converse(peer, helo, patience)) {
        Ok(outcome) => outcome,
        Err(why) if inside.exec.is_empty() => Port25::Unknown(why.to_string()),
        // Not allowed to enter: a shell inside can open the connection, if it is bash.
        Err(_) => by_bash(inside, peer, helo, patience),
    }
}

fn converse(peer: SocketAddr, helo: Option<&str>, patience: Duration) -> Port25 {
    let mut stream = match TcpStream::connect_timeout(&peer, patience) {
        Ok(stream) => stream,
        Err(error) => return unconnected(&error),
    };
    let local = stream.local_addr().ok().map(|address| address.ip().to_canonical());
    let talk = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let deadline = Instant::now() + patience * 2;
        let greeting = reply(&mut reader, deadline)?;
        let at = Time::from_unix(chrono::Utc::now().timestamp());
        let name = helo.map_or_else(|| literal(local), str::to_owned);
        stream.write_all(format!("EHLO {name}\r\n").as_bytes())?;
        let answer = reply(&mut reader, deadline)?;
        let _ = stream.write_all(b"QUIT\r\n");
        Ok::<_, std::io::Error>((greeting, answer, at))
    };
    match talk(&mut stream) {
        Ok((greeting, answer, at)) => dialogue(greeting, answer, local, Some(at)),
        Err(error) => Port25::NotSmtp(format!("the connection opened, and then: {error}")),
    }
}

fn dialogue(greeting: String, reply: String, local: Option<IpAddr>, at: Option<Time>) -> Port25 {
    match greeting.get(..3).filter(|code| code.bytes().all(|c| c.is_ascii_digit())) {
        Some(_) => Port25::Open(Dialogue { greeting, reply, local, at }),
        None => Port25::NotSmtp(format!("it greets with {:.80}", greeting.escape_debug().to_string())),
    }
}

fn literal(local: Option<IpAddr>) -> String {
    match local {
        Some(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        Some(IpAddr::V4(ip)) => format!("[{ip}]"),
        None => "[127.0.0.1]".to_owned(),
    }
}

/// Reads one reply, line by line: all but the last have a hyphen after the code (RFC 5321 section 4.2.1). The deadline
/// holds for the whole reply, so that a peer that sends an octet a second does not keep us for hours.
pub(in crate::doctor) fn reply(from: &mut impl BufRead, deadline: Instant) -> std::io::Result<String> {
    let (mut whole, mut start) = (Vec::new(), 0);
    loop {
        let octets = from.fill_buf()?;
        if octets.is_empty() || whole.len() >= LONGEST {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if Instant::now() >= deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        let (take, ends) = match octets.iter().position(|octet| *octet == b'\n') {
            Some(at) => (at + 1, true),
            None => (octets.len(), false),
        };
        whole.extend_from_slice(&octets[..take]);
        from.consume(take);
        if ends && whole.get(start + 3) != Some(&b'-') {
            return Ok(String::from_utf8_lossy(&whole).replace("\r\n", "\n").trim_end().to_owned());
        }
        start = if ends { whole.len() } else { start };
    }
}

fn unconnected(error: &std::io::Error) -> Port25 {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Port25::Silent,
        ErrorKind::ConnectionRefused => Port25::Refused,
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable => {
            Port25::NoRoute(error.to_string())
        }
        // EAFNOSUPPORT has no kind of its own: a host without IPv6.
        _ if error.raw_os_error() == Some(97) => Port25::NoRoute(error.to_string()),
        _ => Port25::Unknown(error.to_string()),
    }
}

/// The same by bash's own /dev/tcp, in a container that cannot be entered. A slow line ends it, and the caller ends
/// what hangs.
const SCRIPT: &str = r#"
exec 3<>"/dev/tcp/$1/$2" || exit 7
reply() { while IFS= read -r -t "$1" line <&3; do printf '%s\n' "$line"; [ "${line:3:1}" = - ] || return 0; done; return 8; }
reply "$4" || exit 8
printf 'EHLO %s\r\n' "$3" >&3
reply "$4" || exit 8
printf 'QUIT\r\n' >&3
"#;

fn by_bash(inside: &Inside, peer: SocketAddr, helo: Option<&str>, patience: Duration) -> Port25 {
    let (ip, port) = (peer.ip().to_string(), peer.port().to_string());
    let seconds = patience.as_secs().max(1).to_string();
    let helo = helo.unwrap_or("[127.0.0.1]");
    let command = ["bash", "-c", SCRIPT, "dkimctl", &ip, &port, helo, &seconds];
    match inside.run_within(&command, patience + Duration::from_secs(2)) {
        // Whoever drops packets lets bash wait for minutes.
        Err(CommandError::TimedOut { .. }) => Port25::Silent,
        Err(error) => Port25::Unknown(error.to_string()),
        Ok(said) => match read_bash(&said) {
            Port25::Open(dialogue) => {
                Port25::Open(Dialogue { at: Some(Time::from_unix(chrono::Utc::now().timestamp())), ..dialogue })
            }
            other => other,
        },
    }
}

fn read_bash(said: &Ran) -> Port25 {
    let text = String::from_utf8_lossy(&said.stdout).replace('\r', "");
    let err = String::from_utf8_lossy(&said.stderr);
    match said.code {
        Some(0) => {
            let first_ends = text.lines().position(|line| line.as_bytes().get(3) != Some(&b'-')).unwrap_or(0);
            let lines: Vec<&str> = text.lines().collect();
            let (greeting, reply) = lines.split_at((first_ends + 1).min(lines.len()));
            dialogue(greeting.join("\n"), reply.join("\n"), None, None)
        }
        Some(7) if err.contains("Connection refused") => Port25::Refused,
        Some(7) if err.contains("timed out") => Port25::Silent,
        Some(7) if ["unreachable", "No route", "Cannot assign"].iter().any(|why| err.contains(why)) => {
            Port25::NoRoute(said.complaint())
        }
        Some(8) => Port25::NotSmtp("the connection opened, and nothing that ends like a reply came".into()),
        _ => Port25::Unknown(format!(
            "the container's network could be entered neither by root nor by bash: {}",
            said.complaint()
        )),
    }
}

#[cfg(test)]
#[path = "port25_tests.rs"]
mod tests;
