//! A milter client: hands a message to a mail filter as an MTA would, and collects the headers that it adds.
//!
//! Version 6 of the protocol, as libmilter of sendmail 8.14 and later speaks it (include/libmilter/mfdef.h names the
//! commands and bits). No mail is sent: the message ends with the connection. Lengths are bounded and the whole
//! conversation has one deadline, so a filter that hangs or talks nonsense costs seconds, not the run.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// The queue id of every conversation, so that a filter's log explains itself.
pub const QUEUE_ID: &str = "DKIMCTLPROBE";

/// Where a filter listens, in the syntax of OpenDKIM's `Socket` (opendkim.conf(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// `inet:port@host`, `inet6:port@host`; without a host the filter listens everywhere, so the loopback reaches it.
    Inet { host: String, port: u16 },
    /// `local:/path`, `unix:/path` or a bare absolute path.
    Local(PathBuf),
}

/// A socket that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a milter socket: write `inet:8891@localhost` or `local:/run/opendkim/opendkim.sock`")]
pub struct SocketError(String);

/// Who hands in the message, and how long the whole conversation may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The SMTP client's name, as its reverse lookup would give it.
    pub host: String,
    /// The SMTP client's address: what OpenDKIM compares with `InternalHosts`.
    pub address: IpAddr,
    pub timeout: Duration,
}

/// A message as an MTA holds it. Header values stand as they follow the colon: with their leading space.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    pub sender: String,
    pub recipient: String,
    pub headers: Vec<Header>,
    /// With CRLF line ends.
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    /// What follows the colon, leading space included, folded lines with CRLF.
    pub value: String,
}

/// What a filter did with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It let the message pass and added these headers, the first of them topmost; possibly none.
    Passed(Vec<Header>),
    /// It lost interest before the end of the message, so nothing was added.
    Ignored { at: &'static str },
    /// It tempfailed, rejected or discarded the message.
    Refused { at: &'static str, reply: String },
    /// Nobody answered, or what answered does not speak the protocol.
    NoAnswer { why: String },
}

/// Packets from a filter are small: replies and headers. libmilter itself bounds what it reads to 64 KiB.
const LARGEST_PACKET: u32 = 1 << 20;
/// More than this many packets for one step is no conversation any more.
const MOST_PACKETS: usize = 10_000;
/// MILTER_CHUNK_SIZE: the most octets of body in one packet.
const CHUNK: usize = 65_535;

/// Protocol steps that a filter may ask to be left out (SMFIP_NO*), or says it will not reply to (SMFIP_NR_*).
mod step {
    pub const NO_CONNECT: u32 = 0x1;
    pub const NO_HELO: u32 = 0x2;
    pub const NO_MAIL: u32 = 0x4;
    pub const NO_RCPT: u32 = 0x8;
    pub const NO_BODY: u32 = 0x10;
    pub const NO_HEADERS: u32 = 0x20;
    pub const NO_EOH: u32 = 0x40;
    pub const NR_HEADER: u32 = 0x80;
    pub const NO_DATA: u32 = 0x200;
    pub const NR_CONNECT: u32 = 0x1000;
    pub const NR_HELO: u32 = 0x2000;
    pub const NR_MAIL: u32 = 0x4000;
    pub const NR_RCPT: u32 = 0x8000;
    pub const NR_DATA: u32 = 0x1_0000;
    pub const NR_EOH: u32 = 0x4_0000;
    pub const NR_BODY: u32 = 0x8_0000;
    /// SMFIP_HDR_LEADSPC: header values carry the space after the colon, in both directions.
    pub const LEADING_SPACE: u32 = 0x10_0000;
    /// Everything that this client can do; the rest (RCPT_REJ, SKIP, unknown commands) is not offered.
    pub const OFFERED: u32 = NO_CONNECT
        | NO_HELO
        | NO_MAIL
        | NO_RCPT
        | NO_BODY
        | NO_HEADERS
        | NO_EOH
        | NR_HEADER
        | NO_DATA
        | NR_CONNECT
        | NR_HELO
        | NR_MAIL
        | NR_RCPT
        | NR_DATA
        | NR_EOH
        | NR_BODY
        | LEADING_SPACE;
}

/// SMFIF_*: everything a filter may want to change; a filter that misses one of them would refuse to talk.
const ACTIONS: u32 = 0x1ff;
const VERSION: u32 = 6;

/// Hands `message` to the filter at `socket`.
pub fn submit(socket: &Socket, client: &Client, message: &Message) -> Answer {
    match Conversation::open(socket, client.timeout).and_then(|mut talk| talk.run(client, message)) {
        Ok(answer) => answer,
        Err(error) => Answer::NoAnswer { why: format!("{socket}: {error}") },
    }
}

trait Stream: Read + Write {
    fn limit(&self, rest: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn limit(&self, rest: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(rest))?;
        self.set_write_timeout(Some(rest))
    }
}

impl Stream for UnixStream {
    fn limit(&self, rest: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(rest))?;
        self.set_write_timeout(Some(rest))
    }
}

struct Conversation {
    stream: Box<dyn Stream>,
    deadline: Instant,
    /// The protocol steps as negotiated.
    steps: u32,
    added: Vec<(Option<u32>, Header)>,
}

/// What a step came to.
enum Step {
    Continue,
    Over(Answer),
}

impl Conversation {
    fn open(socket: &Socket, timeout: Duration) -> io::Result<Conversation> {
        let deadline = Instant::now() + timeout;
        let stream: Box<dyn Stream> = match socket {
            // Connecting to a Unix socket blocks only while the backlog is full; there is no timeout for it in std.
            Socket::Local(path) => Box::new(UnixStream::connect(path)?),
            Socket::Inet { host, port } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                let mut connected = None;
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, rest(deadline)?) {
                        Ok(stream) => {
                            connected = Some(stream);
                            break;
                        }
                        Err(error) => last = error,
                    }
                }
                let stream = connected.ok_or(last)?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        Ok(Conversation { stream, deadline, steps: 0, added: Vec::new() })
    }

    fn run(&mut self, client: &Client, message: &Message) -> io::Result<Answer> {
        self.negotiate()?;
        let answer = self.steps_of(client, message)?;
        // What the filter thinks of a client that leaves is of no interest.
        let _ = self.send(b'Q', &[]);
        Ok(answer)
    }

    fn negotiate(&mut self) -> io::Result<()> {
        let offer: Vec<u8> = [VERSION, ACTIONS, step::OFFERED].iter().flat_map(|word| word.to_be_bytes()).collect();
        self.send(b'O', &offer)?;
        let (command, data) = self.receive()?;
        let word = |at: usize| data.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        let (b'O', Some(version), Some(steps)) = (command, word(0), word(8)) else {
            return Err(invalid(format!("answered the negotiation with `{}`", command.escape_ascii())));
        };
        // Two is what sendmail 8.12 spoke; below that nothing is known.
        if !(2..=VERSION).contains(&version) {
            return Err(invalid(format!("speaks version {version} of the milter protocol, 2 to 6 are known here")));
        }
        self.steps = steps & step::OFFERED;
        Ok(())
    }

    fn steps_of(&mut self, client: &Client, message: &Message) -> io::Result<Answer> {
        macro_rules! step {
            ($step:expr) => {
                if let Step::Over(answer) = $step? {
                    return Ok(answer);
                }
            };
        }
        use step::*;
        let host = client.host.as_str();
        self.macros(b'C', &[("j", "dkimctl"), ("{daemon_name}", "dkimctl"), ("v", "dkimctl")])?;
        step!(self.step(b'C', "connect", NO_CONNECT, NR_CONNECT, &connect_info(client)));
        step!(self.step(b'H', "HELO", NO_HELO, NR_HELO, &strings(&[host])));
        self.macros(b'M', &[("i", QUEUE_ID), ("{mail_addr}", &message.sender)])?;
        step!(self.step(b'M', "MAIL", NO_MAIL, NR_MAIL, &strings(&[&format!("<{}>", message.sender)])));
        self.macros(b'R', &[("i", QUEUE_ID), ("{rcpt_addr}", &message.recipient)])?;
        step!(self.step(b'R', "RCPT", NO_RCPT, NR_RCPT, &strings(&[&format!("<{}>", message.recipient)])));
        self.macros(b'T', &[("i", QUEUE_ID)])?;
        step!(self.step(b'T', "DATA", NO_DATA, NR_DATA, &[]));
        for header in &message.headers {
            let value = match self.steps & LEADING_SPACE {
                0 => header.value.strip_prefix(' ').unwrap_or(&header.value),
                _ => &header.value,
            };
            // An MTA hands folded lines over with bare line feeds.
            let value = value.replace("\r\n", "\n");
            step!(self.step(b'L', "a header", NO_HEADERS, NR_HEADER, &strings(&[&header.name, &value])));
        }
        self.macros(b'N', &[("i", QUEUE_ID)])?;
        step!(self.step(b'N', "the end of the header", NO_EOH, NR_EOH, &[]));
        for chunk in message.body.chunks(CHUNK) {
            step!(self.step(b'B', "the body", NO_BODY, NR_BODY, chunk));
        }
        self.macros(b'E', &[("i", QUEUE_ID)])?;
        step!(self.step(b'E', "the end of the message", 0, 0, &[]));
        Ok(Answer::Passed(self.placed()))
    }

    /// One step, unless the filter does not want it; one reply, unless the filter said that it sends none.
    fn step(&mut self, command: u8, at: &'static str, skip: u32, silent: u32, data: &[u8]) -> io::Result<Step> {
        if self.steps & skip != 0 {
            return Ok(Step::Continue);
        }
        self.send(command, data)?;
        if self.steps & silent != 0 {
            return Ok(Step::Continue);
        }
        let last = command == b'E';
        for _ in 0..MOST_PACKETS {
            let (reply, data) = self.receive()?;
            let refused = |reply: &str| Ok(Step::Over(Answer::Refused { at, reply: reply.to_owned() }));
            match reply {
                b'c' => return Ok(Step::Continue),
                // At the end of the message, to accept is to let pass with what was added.
                b'a' if last => return Ok(Step::Continue),
                b'a' => return Ok(Step::Over(Answer::Ignored { at })),
                b't' => return refused("451 4.7.1 (temporary failure)"),
                b'r' => return refused("550 5.7.1 (rejected)"),
                b'd' => return refused("discarded"),
                b'y' => return refused(&readable(&data)),
                b'4' | b'f' => return Err(io::Error::other("is shutting down")),
                b'h' if last => self.added.push((None, header(&data, self.steps)?)),
                b'i' if last && data.len() > 4 => {
                    let index = u32::from_be_bytes([data[0], data[1], data[2], data[3]]);
                    self.added.push((Some(index), header(&data[4..], self.steps)?));
                }
                // Progress, and changes that do not add a header: addresses, quarantine, a changed header or body. A
                // change of what was signed shows as a signature that does not verify.
                b'p' | b'm' | b'b' | b'e' | b'+' | b'2' | b'-' | b'q' => {}
                other => return Err(invalid(format!("answered {at} with `{}`", other.escape_ascii()))),
            }
        }
        Err(invalid(format!("sent more than {MOST_PACKETS} packets at {at}")))
    }

    /// The added headers from the top down. `i` counts from the top, so the last one at an index stands above the one
    /// before it; `h` appends. What is neither top nor bottom does not matter to a signature.
    fn placed(&mut self) -> Vec<Header> {
        let (inserted, appended): (Vec<_>, Vec<_>) = self.added.drain(..).partition(|(index, _)| index.is_some());
        let mut out: Vec<Header> = Vec::new();
        for (index, header) in inserted {
            let at = (index.unwrap_or(0) as usize).saturating_sub(1).min(out.len());
            out.insert(at, header);
        }
        out.extend(appended.into_iter().map(|(_, header)| header));
        out
    }

    /// SMFIC_MACRO: values for the step that follows.
    fn macros(&mut self, step: u8, values: &[(&str, &str)]) -> io::Result<()> {
        let mut data = vec![step];
        for (name, value) in values {
            data.extend(strings(&[name, value]));
        }
        self.send(b'D', &data)
    }

    fn send(&mut self, command: u8, data: &[u8]) -> io::Result<()> {
        let length = u32::try_from(data.len() + 1).map_err(|_| invalid("a packet is too long".into()))?;
        let mut packet = Vec::with_capacity(data.len() + 5);
        packet.extend(length.to_be_bytes());
        packet.push(command);
        packet.extend_from_slice(data);
        self.stream.limit(rest(self.deadline)?)?;
        self.stream.write_all(&packet)
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if !(1..=LARGEST_PACKET).contains(&length) {
            return Err(invalid(format!("sent a packet of {length} octets; this is no milter")));
        }
        let mut packet = vec![0; length as usize];
        self.read_exact(&mut packet)?;
        Ok((packet[0], packet.split_off(1)))
    }

    /// Reads with the deadline of the whole conversation, which a drip of single octets cannot stretch.
    fn read_exact(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            self.stream.limit(rest(self.deadline)?)?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed the connection")),
                Ok(length) => buffer = &mut buffer[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(timed_out()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// SMFIC_CONNECT: host name, family, port, address.
fn connect_info(client: &Client) -> Vec<u8> {
    let family = if client.address.is_ipv4() { b'4' } else { b'6' };
    let mut data = strings(&[&client.host]);
    data.push(family);
    data.extend(25_u16.to_be_bytes());
    data.extend(strings(&[&client.address.to_string()]));
    data
}

/// Strings as the protocol carries them: each with a NUL after it, and none inside.
fn strings(parts: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend(part.bytes().filter(|&byte| byte != 0));
        out.push(0);
    }
    out
}

/// A header as it will stand in the message.
fn header(data: &[u8], steps: u32) -> io::Result<Header> {
    let mut parts = data.split(|&byte| byte == 0);
    let (Some(name), Some(value)) = (parts.next().filter(|name| !name.is_empty()), parts.next()) else {
        return Err(invalid("sent a header without a name or a value".into()));
    };
    let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    let value = value.replace("\r\n", "\n").replace('\n', "\r\n");
    let space = if steps & step::LEADING_SPACE == 0 { " " } else { "" };
    Ok(Header { name: name.into_owned(), value: format!("{space}{value}") })
}

fn readable(data: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(data).chars().filter(|c| !c.is_control()).take(200).collect();
    text.trim().to_owned()
}

fn rest(deadline: Instant) -> io::Result<Duration> {
    let rest = deadline.saturating_duration_since(Instant::now());
    if rest.is_zero() { Err(timed_out()) } else { Ok(rest) }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "did not answer in time")
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl FromStr for Socket {
    type Err = SocketError;

    fn from_str(text: &str) -> Result<Self, SocketError> {
        let refused = || SocketError(text.to_owned());
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind.to_ascii_lowercase(), rest),
            None if text.starts_with('/') => ("local".to_owned(), text),
            None => return Err(refused()),
        };
        match kind.as_str() {
            "local" | "unix" if rest.starts_with('/') => Ok(Socket::Local(rest.into())),
            "inet" | "inet6" => {
                let (port, host) = match rest.split_once('@') {
                    Some((port, host)) => (port, host.trim_start_matches('[').trim_end_matches(']')),
                    None => (rest, if kind == "inet" { "127.0.0.1" } else { "::1" }),
                };
                let port = port.parse().ok().filter(|&port| port != 0).ok_or_else(refused)?;
                let host = match host {
                    "" => return Err(refused()),
                    "0.0.0.0" => "127.0.0.1",
                    "::" => "::1",
                    host => host,
                };
                Ok(Socket::Inet { host: host.to_owned(), port })
            }
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Socket::Inet { host, port } if host.contains(':') => write!(f, "inet6:{port}@[{host}]"),
            Socket::Inet { host, port } => write!(f, "inet:{port}@{host}"),
            Socket::Local(path) => write!(f, "local:{}", path.display()),
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Client { host: "localhost".into(), address: IpAddr::from([127, 0, 0, 1]), timeout: Duration::from_secs(10) }
    }
}

#[cfg(test)]
#[path = "milter_tests.rs"]
mod tests;
