//! Asks name servers, one or thousands of questions at a time, and tells the kinds of answer apart.
//!
//! UDP with EDNS first (RFC 6891), TCP when an answer is truncated, malformed for the server, or does not come
//! (RFC 7766 section 5). Nothing here follows an alias, caches, or falls back to another server: who asks decides.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use dkimctl_state::name::Fqdn;
use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

mod empty;

/// The UDP payload that passes every common path unfragmented (DNS flag day 2020).
pub const UDP_PAYLOAD: u16 = 1232;

/// How long and how often to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Of one try.
    pub timeout: Duration,
    /// Tries over UDP, before TCP is tried once.
    pub tries: u32,
    /// Sets RD: for a recursive resolver, never for an authoritative server.
    pub recursion: bool,
    /// Questions under way at once to one server.
    pub window: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { timeout: Duration::from_secs(2), tries: 3, recursion: false, window: 100 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub name: Name,
    pub rtype: RecordType,
}

/// What a server said, or why it did not. No two of these are ever folded into one.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The answer section holds something: the records asked for, or an alias.
    Records(Records),
    /// The name does not exist (RFC 8020: nor does anything below it).
    NxDomain(Negative),
    /// The name exists without this type, or the server refers us elsewhere (then not `authoritative`).
    NoData(Negative),
    /// Any other response code.
    Rcode(ResponseCode),
    /// Neither UDP nor TCP brought an answer in time.
    Timeout,
    /// The port is closed.
    ConnectionRefused,
    /// This host has no way to that address, so nothing is known of the server; the reason is the system's.
    NoRoute(String),
    /// Something came that is not an answer to the question.
    Garbled(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Records {
    /// The AA bit.
    pub authoritative: bool,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Negative {
    /// The AA bit.
    pub authoritative: bool,
    /// The zone and its SOA as in the answer, with the SOA record's own TTL.
    pub soa: Option<(Name, u32, SOA)>,
    /// Zones and name servers that we are referred to, when not `authoritative` (RFC 1034 section 4.3.2).
    pub referral: Vec<(Name, Name)>,
}

impl Negative {
    /// How long, in seconds, a resolver may remember this answer: min(SOA TTL, SOA minimum) (RFC 2308 section 5).
    pub fn ttl(&self) -> Option<u32> {
        self.soa.as_ref().map(|(_, ttl, soa)| (*ttl).min(soa.minimum))
    }
}

/// Asks one question.
pub fn ask(server: SocketAddr, name: &Name, rtype: RecordType, options: Options) -> Answer {
    let question = Question { name: name.clone(), rtype };
    ask_all(server, &[question], options).pop().unwrap_or(Answer::Timeout)
}

/// Asks many questions of one server over one socket, `options.window` at a time; same order, same length. A server
/// that never says a word is given up after the first questions ran out of tries, not after all of them.
pub fn ask_all(server: SocketAddr, questions: &[Question], options: Options) -> Vec<Answer> {
    let mut answers: Vec<Option<Answer>> = vec![None; questions.len()];
    let left = match over_udp(server, questions, options, &mut answers) {
        Ok(left) => left,
        Err(error) => {
            let answer = unreachable(&error);
            answers.iter_mut().filter(|a| a.is_none()).for_each(|a| *a = Some(answer.clone()));
            Vec::new()
        }
    };
    over_tcp(server, questions, options, left, &mut answers);
    answers.into_iter().map(|answer| answer.unwrap_or(Answer::Timeout)).collect()
}

/// A name for the wire. Every [`Fqdn`] is one.
pub fn to_name(name: &Fqdn) -> Name {
    let mut wire = Name::from_labels(name.labels().map(str::as_bytes)).unwrap_or_default();
    wire.set_fqdn(true);
    wire
}

/// A name from the wire; `None` for those that cannot be ours, such as the root or a label with a space.
pub fn from_name(name: &Name) -> Option<Fqdn> {
    name.to_ascii().parse().ok()
}

/// A question that is under way.
struct Flight {
    index: usize,
    tries_left: u32,
    deadline: Instant,
}

/// Fills in what UDP can answer and returns the indices that are left for TCP.
fn over_udp(
    server: SocketAddr,
    questions: &[Question],
    options: Options,
    answers: &mut [Option<Answer>],
) -> io::Result<Vec<usize>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Port 0 lets the system choose an unpredictable source port (RFC 5452 section 9.2).
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;

    let mut waiting: VecDeque<(usize, u32)> = (0..questions.len()).map(|i| (i, options.tries.max(1))).collect();
    let mut flying: HashMap<u16, Flight> = HashMap::new();
    let mut by_deadline: VecDeque<(Instant, u16)> = VecDeque::new();
    let mut for_tcp = Vec::new();
    let mut window = options.window.max(1);
    let mut heard = false;
    let mut buffer = vec![0; 65_535];

    loop {
        while flying.len() < window {
            let Some((index, tries_left)) = waiting.pop_front() else { break };
            let query = unused_query(&questions[index], options, &flying);
            match socket.send(&encode(&query)?) {
                Ok(_) => {}
                Err(error) if is_refused(&error) => return Ok(unanswered(answers)),
                // A full socket buffer counts as a lost packet.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
            let deadline = Instant::now() + options.timeout;
            by_deadline.push_back((deadline, query.id));
            flying.insert(query.id, Flight { index, tries_left: tries_left - 1, deadline });
        }

        let now = Instant::now();
        while let Some(&(deadline, id)) = by_deadline.front() {
            let current = flying.get(&id).is_some_and(|flight| flight.deadline == deadline);
            if current && deadline > now {
                break;
            }
            by_deadline.pop_front();
            let Some(lost) = current.then(|| flying.remove(&id)).flatten() else { continue };
            window = (window / 2).max(8);
            match lost.tries_left {
                0 if !heard => return Ok(unanswered(answers)),
                0 => for_tcp.push(lost.index),
                // First in the queue, so that a dead server is found out early.
                left => waiting.push_front((lost.index, left)),
            }
        }
        let Some(&(deadline, _)) = by_deadline.front() else {
            if waiting.is_empty() {
                return Ok(for_tcp);
            }
            continue;
        };

        socket.set_read_timeout(Some(deadline.saturating_duration_since(now).max(Duration::from_millis(1))))?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let packet = &buffer[..length];
                // What does not belong to a question under way may be forged: drop it and go on listening.
                let Some(flight) = packet_id(packet).and_then(|id| flying.get(&id)) else { continue };
                let Some(said) = read_answer(packet, &questions[flight.index], options.recursion) else { continue };
                heard = true;
                window = (window + 1).min(options.window.max(1));
                let index = flight.index;
                packet_id(packet).map(|id| flying.remove(&id));
                match said {
                    Said::Truncated => for_tcp.push(index),
                    Said::Answer(answer) if *answer == Answer::Rcode(ResponseCode::FormErr) => for_tcp.push(index),
                    Said::Answer(answer) => answers[index] = Some(*answer),
                }
            }
            Err(error) if is_refused(&error) => return Ok(unanswered(answers)),
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn unanswered(answers: &[Option<Answer>]) -> Vec<usize> {
    answers.iter().enumerate().filter(|(_, answer)| answer.is_none()).map(|(index, _)| index).collect()
}

/// Asks what is left over TCP, many questions a connection (RFC 7766 section 6.2.1.1). A server may close after any
/// answer; as long as each connection brings something, another is opened.
fn over_tcp(
    server: SocketAddr,
    questions: &[Question],
    options: Options,
    mut left: Vec<usize>,
    answers: &mut [Option<Answer>],
) {
    while !left.is_empty() {
        let before = left.len();
        let failure = match TcpStream::connect_timeout(&server, options.timeout) {
            Ok(mut stream) => ask_stream(&mut stream, questions, options, &left, answers).err(),
            Err(error) => Some(error),
        };
        left.retain(|&index| answers[index].is_none());
        if left.len() == before {
            let answer = failure.map_or(Answer::Timeout, |error| unreachable(&error));
            left.drain(..).for_each(|index| answers[index] = Some(answer.clone()));
        }
    }
}

fn ask_stream(
    stream: &mut TcpStream,
    questions: &[Question],
    options: Options,
    left: &[usize],
    answers: &mut [Option<Answer>],
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Few enough at once that neither side's buffers fill up while both are writing.
    for group in left.chunks(32) {
        let mut flying: HashMap<u16, Flight> = HashMap::new();
        let deadline = Instant::now() + options.timeout;
        for &index in group {
            let mut query = unused_query(&questions[index], options, &flying);
            query.edns = None; // what answers FORMERR to EDNS gets a plain question (RFC 6891 section 6.2.2)
            send_message(stream, &encode(&query)?, options.timeout)?;
            flying.insert(query.id, Flight { index, tries_left: 0, deadline });
        }
        while !flying.is_empty() {
            let packet = receive_message(stream, options.timeout)?;
            let Some(flight) = packet_id(&packet).and_then(|id| flying.remove(&id)) else {
                return Err(garbled("an answer with an id that was not asked"));
            };
            answers[flight.index] = Some(match read_answer(&packet, &questions[flight.index], options.recursion) {
                Some(Said::Answer(answer)) => *answer,
                Some(Said::Truncated) => Answer::Garbled("a truncated answer over TCP".into()),
                None => Answer::Garbled("an answer over TCP that does not repeat the question".into()),
            });
        }
    }
    Ok(())
}

/// Writes one message with its length before it (RFC 1035 section 4.2.2).
pub(crate) fn send_message(stream: &mut TcpStream, message: &[u8], timeout: Duration) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| garbled("a message above 65,535 octets"))?;
    stream.set_write_timeout(Some(timeout))?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    stream.write_all(&framed)
}

/// Reads one message with its length before it. The deadline holds for the whole message, so that a server that
/// sends an octet a second does not keep us for hours.
pub(crate) fn receive_message(stream: &mut TcpStream, timeout: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + timeout;
    let mut length = [0; 2];
    read_until(stream, &mut length, deadline)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    read_until(stream, &mut message, deadline)?;
    Ok(message)
}

fn read_until(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A query with a random id (RFC 5452 section 9.2) that no other question under way uses.
fn unused_query(question: &Question, options: Options, flying: &HashMap<u16, Flight>) -> Message {
    loop {
        let mut query = Message::query();
        if flying.contains_key(&query.id) {
            continue;
        }
        query.metadata.recursion_desired = options.recursion;
        query.add_query(Query::query(question.name.clone(), question.rtype));
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD);
        query.set_edns(edns);
        return query;
    }
}

fn encode(message: &Message) -> io::Result<Vec<u8>> {
    message.to_vec().map_err(|error| io::Error::new(ErrorKind::InvalidInput, error.to_string()))
}

fn packet_id(packet: &[u8]) -> Option<u16> {
    packet.first_chunk().map(|id| u16::from_be_bytes(*id))
}

enum Said {
    Truncated,
    Answer(Box<Answer>),
}

/// Reads an answer to `question`; `None` when it is an answer to something else. The caller has matched the id.
fn read_answer(packet: &[u8], question: &Question, recursion: bool) -> Option<Said> {
    let whole = Message::from_vec(packet);
    // Only where a resolver is asked: what is read there guards no write.
    let lenient = |_| match recursion.then(|| empty::without_empty_texts(packet)).flatten() {
        Some(mended) => Message::from_vec(&mended),
        None => Message::from_vec(packet),
    };
    let message = match whole.or_else(lenient) {
        Ok(message) => message,
        // Of a truncated packet the header is enough, wherever the cut went.
        Err(_) if packet.len() >= 12 && packet[2] & 0x82 == 0x82 => return Some(Said::Truncated),
        Err(error) => return Some(Said::Answer(Box::new(Answer::Garbled(format!("not a DNS message: {error}"))))),
    };
    if message.message_type != MessageType::Response {
        return None;
    }
    let code = message.response_code;
    let repeated = match message.queries.as_slice() {
        [asked] => asked.name == question.name && asked.query_type == question.rtype,
        // A server that cannot read the question cannot repeat it.
        [] => !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain),
        _ => false,
    };
    if !repeated {
        return None;
    }
    if message.truncation {
        return Some(Said::Truncated);
    }
    let authoritative = message.authoritative;
    Some(Said::Answer(Box::new(match code {
        // An alias whose target is missing comes with NXDOMAIN, which is about the target (RFC 2308 section 2.1).
        ResponseCode::NoError | ResponseCode::NXDomain if !message.answers.is_empty() => Answer::Records(Records {
            authoritative,
            answers: message.answers,
            authorities: message.authorities,
            additionals: message.additionals,
        }),
        ResponseCode::NoError => Answer::NoData(negative(&message)),
        ResponseCode::NXDomain => Answer::NxDomain(negative(&message)),
        code => Answer::Rcode(code),
    })))
}

fn negative(message: &Message) -> Negative {
    let mut negative = Negative { authoritative: message.authoritative, soa: None, referral: Vec::new() };
    for record in &message.authorities {
        match &record.data {
            RData::SOA(soa) => negative.soa = Some((record.name.clone(), record.ttl, soa.clone())),
            RData::NS(target) => negative.referral.push((record.name.clone(), target.0.clone())),
            _ => {}
        }
    }
    negative
}

/// The answer that a failed connection amounts to.
fn unreachable(error: &io::Error) -> Answer {
    match error.kind() {
        ErrorKind::ConnectionRefused => Answer::ConnectionRefused,
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable => {
            Answer::NoRoute(error.to_string())
        }
        ErrorKind::PermissionDenied | ErrorKind::Unsupported => Answer::NoRoute(error.to_string()),
        ErrorKind::InvalidData => Answer::Garbled(error.to_string()),
        // EAFNOSUPPORT (97 on Linux) has no kind of its own: a host without IPv6.
        _ if error.raw_os_error() == Some(97) => Answer::NoRoute(error.to_string()),
        _ => Answer::Timeout,
    }
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == ErrorKind::ConnectionRefused
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn garbled(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
