//! A small authoritative name server on loopback, for the demonstration and for tests.
//!
//! It answers what a closure says for a name, over UDP and TCP, with AA, SOA in negative answers (RFC 2308) and TC
//! where an answer is too long. It takes no updates, does no DNSSEC, and is not meant to be reached from elsewhere.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dkimctl_providers::wire::{from_name, to_name};
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// A zone to be served: what stands at its apex.
#[derive(Debug, Clone)]
pub struct Zone {
    pub origin: Fqdn,
    /// Seconds.
    pub soa_ttl: u32,
    /// Seconds; a negative answer is remembered for the smaller of the two.
    pub soa_minimum: u32,
    /// Each with an address if it lies in this zone.
    pub nameservers: Vec<(Fqdn, Option<IpAddr>)>,
}

impl Zone {
    /// A zone with one name server, `ns.<origin>` at 127.0.0.1, and 300 s for SOA TTL and minimum.
    pub fn new(origin: Fqdn) -> Self {
        let nameservers = origin.child("ns").map(|ns| (ns, Some(Ipv4Addr::LOCALHOST.into()))).into_iter().collect();
        Zone { origin, soa_ttl: 300, soa_minimum: 300, nameservers }
    }
}

/// One record's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// One TXT record, as its chunks.
    Txt(Vec<Vec<u8>>),
    Cname(Fqdn),
    Address(IpAddr),
    Ns(Fqdn),
}

impl Data {
    /// A TXT record in chunks of 255 octets.
    pub fn txt(text: impl Into<TxtText>) -> Self {
        Data::Txt(text.into().chunks().into_iter().map(<[u8]>::to_vec).collect())
    }
}

/// What the source says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// There is no such name.
    NoName,
    /// The name exists, with these records (TTL in seconds); none for a name that only has names below it.
    Records(Vec<(u32, Data)>),
    /// The server is in trouble: it answers with this code.
    Fails(ResponseCode),
    /// No answer at all.
    Silent,
}

/// Names and their records, to be changed while the server runs.
pub type Records = Arc<RwLock<BTreeMap<Fqdn, Vec<(u32, Data)>>>>;

/// Serves from a shared map; a name above another one exists as well (RFC 8020).
pub fn from_map(records: Records) -> impl Fn(&Fqdn) -> Found + Send + Sync {
    move |name| {
        let records = records.read().unwrap_or_else(PoisonError::into_inner);
        match records.get(name) {
            Some(found) => Found::Records(found.clone()),
            None if records.keys().any(|below| below.is_in(name)) => Found::Records(Vec::new()),
            None => Found::NoName,
        }
    }
}

/// A running server; it ends when dropped.
pub struct EmbeddedDns {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

struct Service {
    zones: Vec<Zone>,
    source: Box<dyn Fn(&Fqdn) -> Found + Send + Sync>,
}

impl EmbeddedDns {
    /// Serves `zones` on a free port of 127.0.0.1.
    pub fn start(zones: Vec<Zone>, source: impl Fn(&Fqdn) -> Found + Send + Sync + 'static) -> io::Result<Self> {
        let (udp, tcp) = bind_both()?;
        let address = udp.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let service = Arc::new(Service { zones, source: Box::new(source) });
        let threads = vec![
            thread::spawn({
                let (service, stop) = (service.clone(), stop.clone());
                move || serve_udp(&udp, &service, &stop)
            }),
            thread::spawn({
                let stop = stop.clone();
                move || serve_tcp(&tcp, &service, &stop)
            }),
        ];
        Ok(EmbeddedDns { address, stop, threads })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for EmbeddedDns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Both threads wait for somebody to come.
        let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], self.address));
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The same free port for both.
fn bind_both() -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        match TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if tries == 20 => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

fn serve_udp(socket: &UdpSocket, service: &Service, stop: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::SeqCst) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        if let Some(answer) = service.answer(&buffer[..length], true) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, service: &Arc<Service>, stop: &Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let Ok((mut stream, _)) = listener.accept() else { continue };
        let (service, stop) = (service.clone(), stop.clone());
        thread::spawn(move || {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.set_nodelay(true);
            while !stop.load(Ordering::SeqCst) && serve_one(&mut stream, &service).is_ok() {}
        });
    }
}

fn serve_one(stream: &mut TcpStream, service: &Service) -> io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question)?;
    let answer = service.answer(&question, false).ok_or(io::ErrorKind::InvalidData)?;
    let mut framed = u16::try_from(answer.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
    framed.extend(answer);
    stream.write_all(&framed)
}

impl Service {
    /// The octets to send back; `None` when there is nothing to say.
    fn answer(&self, packet: &[u8], udp: bool) -> Option<Vec<u8>> {
        let question = Message::from_vec(packet).ok().filter(|m| m.message_type == MessageType::Query)?;
        let room = question.edns.as_ref().map_or(512, |edns| edns.max_payload().clamp(512, 1232));
        let mut answer = Message::response(question.id, question.op_code);
        answer.metadata.recursion_desired = question.recursion_desired;
        answer.queries.clone_from(&question.queries);
        answer.edns = question.edns.as_ref().map(|_| {
            let mut edns = Edns::new();
            edns.set_max_payload(1232);
            edns
        });
        match (question.op_code, question.queries.as_slice()) {
            (OpCode::Query, [asked]) => self.fill(&mut answer, &asked.name, asked.query_type)?,
            (OpCode::Query, _) => answer.metadata.response_code = ResponseCode::FormErr,
            _ => answer.metadata.response_code = ResponseCode::NotImp,
        }
        let octets = answer.to_vec().ok()?;
        if udp && octets.len() > usize::from(room) {
            return answer.truncate().to_vec().ok();
        }
        Some(octets)
    }

    fn fill(&self, answer: &mut Message, wire_name: &Name, rtype: RecordType) -> Option<()> {
        let name = from_name(wire_name);
        let zone = name.as_ref().and_then(|name| {
            let holding = self.zones.iter().filter(|zone| name.is_in(&zone.origin));
            holding.max_by_key(|zone| zone.origin.as_str().len())
        });
        let (Some(name), Some(zone)) = (name, zone) else {
            answer.metadata.response_code = ResponseCode::Refused;
            return Some(());
        };
        let mut data: Vec<(u32, RData)> = match (self.source)(&name) {
            Found::Silent => return None,
            Found::Fails(code) => {
                answer.metadata.response_code = code;
                return Some(());
            }
            Found::Records(records) => records.into_iter().map(|(ttl, data)| (ttl, rdata(data))).collect(),
            Found::NoName if name == zone.origin => Vec::new(),
            Found::NoName if zone.nameservers.iter().any(|(ns, address)| *ns == name && address.is_some()) => {
                Vec::new()
            }
            Found::NoName => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                Vec::new()
            }
        };
        data.extend(zone.built_in(&name));
        answer.metadata.authoritative = true;
        // An alias answers for every type but its own (RFC 1034 section 3.6.2).
        for (ttl, rdata) in data.into_iter().filter(|(_, r)| r.record_type() == rtype || matches!(r, RData::CNAME(_))) {
            answer.add_answer(Record::from_rdata(wire_name.clone(), ttl, rdata));
        }
        if answer.answers.is_empty() {
            answer.add_authority(Record::from_rdata(to_name(&zone.origin), zone.soa_ttl, zone.soa()));
        }
        Some(())
    }
}

impl Zone {
    fn soa(&self) -> RData {
        let ns = self.nameservers.first().map_or(&self.origin, |(ns, _)| ns);
        RData::SOA(SOA::new(to_name(ns), to_name(&self.origin), 1, 3600, 600, 864_000, self.soa_minimum))
    }

    /// What stands at the apex and at the name servers' own names.
    fn built_in(&self, name: &Fqdn) -> Vec<(u32, RData)> {
        let mut found = Vec::new();
        if *name == self.origin {
            found.push((self.soa_ttl, self.soa()));
            found.extend(self.nameservers.iter().map(|(ns, _)| (self.soa_ttl, rdata(Data::Ns(ns.clone())))));
        }
        let own = self.nameservers.iter().filter(|(ns, _)| ns == name);
        found.extend(own.filter_map(|(_, address)| Some((self.soa_ttl, rdata(Data::Address((*address)?))))));
        found
    }
}

fn rdata(data: Data) -> RData {
    match data {
        Data::Txt(chunks) => RData::TXT(TXT::from_bytes(chunks.iter().map(Vec::as_slice).collect())),
        Data::Cname(target) => RData::CNAME(CNAME(to_name(&target))),
        Data::Address(IpAddr::V4(address)) => RData::A(A(address)),
        Data::Address(IpAddr::V6(address)) => RData::AAAA(AAAA(address)),
        Data::Ns(target) => RData::NS(NS(to_name(&target))),
    }
}

#[cfg(test)]
#[path = "embedded_dns_tests.rs"]
mod tests;
