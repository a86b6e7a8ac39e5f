//! UPDATE messages as octets, and their signatures (RFC 2136 section 2, RFC 8945).
//!
//! They are written here, not by hickory-proto, because it compresses only the first 120 names of a message, and
//! every change names its owner two or three times: 2,000 selectors would take a quarter more messages.

use std::collections::HashMap;
use std::fmt;

use dkimctl_state::name::Fqdn;
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError, make_tsig_record, signed_bitmessage_to_buf};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use zeroize::Zeroizing;

use crate::wire::to_name;

/// Octets of one message over TCP (RFC 1035 section 4.2.2), less what the TSIG record takes at most: two names of
/// 255, a MAC of 64, and the fixed fields.
pub(super) const ROOM: usize = 65_535 - 640;

/// The time in seconds by which the two clocks may differ (RFC 8945 section 10).
pub(super) const FUDGE: u16 = 300;

const IN: u16 = 1;
const NONE: u16 = 254;
const ANY: u16 = 255;
const TXT: u16 = 16;

/// An UPDATE of one zone under construction.
pub(super) struct Update {
    /// Header-sized gap, the zone section, and the prerequisites.
    head: Vec<u8>,
    prerequisites: u16,
    /// The update section; it follows the prerequisites, so its names point back and are never pointed to.
    tail: Vec<u8>,
    updates: u16,
    /// Where each name, and each parent of it, stands in `head`, as far as a pointer reaches.
    places: HashMap<Box<str>, u16>,
}

/// A point to return to when one change too many was written.
pub(super) struct Mark(usize, u16, usize, u16);

impl Update {
    pub fn new(zone: &Fqdn) -> Self {
        let mut update =
            Update { head: vec![0; 12], prerequisites: 0, tail: vec![], updates: 0, places: HashMap::new() };
        update.head_name(zone);
        update.head.extend([0, 6, 0, 1]); // SOA, IN (RFC 2136 section 2.3)
        update
    }

    /// Prerequisite: no RRset of that type at the name (RFC 2136 section 2.4.3).
    pub fn require_none(&mut self, name: &Fqdn, rtype: RecordType) {
        self.head_name(name);
        fixed(&mut self.head, rtype.into(), NONE, 0, &[]);
        self.prerequisites += 1;
    }

    /// Prerequisite: an RRset of that type, whatever it holds (RFC 2136 section 2.4.1).
    pub fn require_some(&mut self, name: &Fqdn, rtype: RecordType) {
        self.head_name(name);
        fixed(&mut self.head, rtype.into(), ANY, 0, &[]);
        self.prerequisites += 1;
    }

    /// Prerequisite: the TXT RRset is made of exactly the records required (RFC 2136 section 2.4.2).
    pub fn require_txt(&mut self, name: &Fqdn, chunks: &[Vec<u8>]) {
        self.head_name(name);
        fixed(&mut self.head, TXT, IN, 0, &rdata(chunks));
        self.prerequisites += 1;
    }

    /// Adds one record (RFC 2136 section 2.5.1).
    pub fn add(&mut self, name: &Fqdn, ttl: u32, chunks: &[Vec<u8>]) {
        self.tail_name(name);
        fixed(&mut self.tail, TXT, IN, ttl, &rdata(chunks));
        self.updates += 1;
    }

    /// Deletes one record, by its exact chunks (RFC 2136 section 2.5.4).
    pub fn delete(&mut self, name: &Fqdn, chunks: &[Vec<u8>]) {
        self.tail_name(name);
        fixed(&mut self.tail, TXT, NONE, 0, &rdata(chunks));
        self.updates += 1;
    }

    /// Whether it changes anything, or only asks by its prerequisites.
    pub fn changes(&self) -> bool {
        self.updates > 0
    }

    pub fn fits(&self) -> bool {
        self.head.len() + self.tail.len() <= ROOM
    }

    pub fn mark(&self) -> Mark {
        Mark(self.head.len(), self.prerequisites, self.tail.len(), self.updates)
    }

    pub fn back_to(&mut self, mark: &Mark) {
        self.head.truncate(mark.0);
        self.tail.truncate(mark.2);
        (self.prerequisites, self.updates) = (mark.1, mark.3);
        self.places.retain(|_, place| usize::from(*place) < mark.0);
    }

    pub fn finish(self, id: u16) -> Vec<u8> {
        let mut message = self.head;
        let opcode = u16::from(u8::from(OpCode::Update)) << 11;
        for (at, field) in [id, opcode, 1, self.prerequisites, self.updates, 0].into_iter().enumerate() {
            message[at * 2..at * 2 + 2].copy_from_slice(&field.to_be_bytes());
        }
        message.extend(self.tail);
        message
    }

    fn head_name(&mut self, name: &Fqdn) {
        let Update { head, places, .. } = self;
        let mut learnt = Vec::new();
        write_name(head, name, places, |suffix, at| learnt.push((suffix.into(), at)));
        places.extend(learnt);
    }

    fn tail_name(&mut self, name: &Fqdn) {
        write_name(&mut self.tail, name, &self.places, |_, _| {});
    }
}

/// Writes labels until the rest of the name is known, then a pointer (RFC 1035 section 4.1.4).
fn write_name(out: &mut Vec<u8>, name: &Fqdn, places: &HashMap<Box<str>, u16>, mut learn: impl FnMut(&str, u16)) {
    let mut rest = name.as_str();
    loop {
        if let Some(place) = places.get(rest) {
            out.extend((0xC000 | place).to_be_bytes());
            return;
        }
        if out.len() < 0x4000 {
            learn(rest, out.len() as u16);
        }
        let (label, parent) = rest.split_once('.').map_or((rest, None), |(label, parent)| (label, Some(parent)));
        out.push(label.len() as u8); // at most 63, as every Fqdn
        out.extend(label.bytes());
        let Some(parent) = parent else {
            out.push(0);
            return;
        };
        rest = parent;
    }
}

fn fixed(out: &mut Vec<u8>, rtype: u16, class: u16, ttl: u32, rdata: &[u8]) {
    out.extend(rtype.to_be_bytes());
    out.extend(class.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    out.extend((rdata.len().min(0xFFFF) as u16).to_be_bytes());
    out.extend(rdata);
}

fn rdata(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(chunks.iter().map(|chunk| chunk.len() + 1).sum());
    for chunk in chunks {
        let chunk = &chunk[..chunk.len().min(255)];
        out.push(chunk.len() as u8);
        out.extend(chunk);
    }
    out
}

/// A TSIG key. Its secret is wiped when dropped and never printed.
#[derive(Clone)]
pub struct Key {
    pub name: Fqdn,
    pub algorithm: Algorithm,
    pub secret: Zeroizing<Vec<u8>>,
}

/// The algorithms that RFC 8945 section 6 does not advise against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

/// Why an answer is no proof, or what the server says of our signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Distrust {
    BadKey,
    BadSignature,
    /// The server's time by its own clock, in seconds since 1970.
    BadTime(u64),
    Unsigned(Box<Message>),
    Untrue(String),
}

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "the TSIG algorithm `{0}` is not one of hmac-sha256, hmac-sha384, hmac-sha512; RFC 8945 section 6 advises \
         against the older ones: make a new key with `tsig-keygen -a hmac-sha256`"
    )]
    Algorithm(String),
    #[error("the TSIG secret is not base64; copy it again, without the quotes (it is not shown here)")]
    Secret,
}

impl Key {
    /// From the three fields of a `key` statement; the secret is base64.
    pub fn new(name: Fqdn, algorithm: &str, secret: &str) -> Result<Self, KeyError> {
        use base64::Engine;
        let algorithm = algorithm.parse()?;
        let secret = base64::engine::general_purpose::STANDARD.decode(secret.trim()).map_err(|_| KeyError::Secret)?;
        let secret = Zeroizing::new(secret);
        if secret.is_empty() { Err(KeyError::Secret) } else { Ok(Key { name, algorithm, secret }) }
    }

    /// Signs a finished message at `now` (seconds since 1970) and returns the MAC, which the answer's one covers.
    pub(super) fn sign(&self, message: &mut Vec<u8>, now: u64) -> Result<Vec<u8>, String> {
        let id = message.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
        let algorithm = TsigAlgorithm::from(self.algorithm);
        let name = to_name(&self.name);
        let tsig = TSIG::new(algorithm.clone(), now, FUDGE, Vec::new(), id, None, Vec::new());
        let mut signed = message.clone();
        encode(&mut signed, |encoder| tsig.emit_tsig_for_mac(encoder, &name))?;
        let mac = algorithm.mac_data(&self.secret, &signed).map_err(|error| error.to_string())?;
        let record = make_tsig_record(name, tsig.set_mac(mac.clone()));
        encode(message, |encoder| record.emit(encoder))?;
        message[11] += 1; // ARCOUNT, which was zero
        Ok(mac)
    }

    /// Reads the answer to a message that was signed with `mac` and returns it with the server's time.
    pub(super) fn open(&self, answer: &[u8], mac: &[u8], id: u16) -> Result<(Message, u64), Distrust> {
        let untrue = |what: &str| Distrust::Untrue(what.to_owned());
        let message = Message::from_vec(answer).map_err(|error| Distrust::Untrue(format!("not DNS: {error}")))?;
        if message.message_type != MessageType::Response || message.id != id {
            return Err(untrue("not the answer to our message"));
        }
        let Some(record) = &message.signature else { return Err(Distrust::Unsigned(Box::new(message))) };
        let tsig = &record.data;
        // These two come unsigned, for there is no key in common to sign with (RFC 8945 section 5.2).
        match tsig.error {
            Some(TsigError::BadKey) => return Err(Distrust::BadKey),
            Some(TsigError::BadSig) => return Err(Distrust::BadSignature),
            _ => {}
        }
        let algorithm = TsigAlgorithm::from(self.algorithm);
        if record.name != to_name(&self.name) || tsig.algorithm != algorithm {
            return Err(untrue("signed with another key"));
        }
        let (signed, _) =
            signed_bitmessage_to_buf(answer, Some(mac), true).map_err(|_| untrue("its signature cannot be read"))?;
        algorithm.verify_mac(&self.secret, &signed, &tsig.mac).map_err(|_| untrue("its signature does not verify"))?;
        match (tsig.error, tsig.other.as_slice()) {
            // The server's own clock, 48 bits (RFC 8945 section 5.2.3).
            (Some(TsigError::BadTime), other) => {
                Err(Distrust::BadTime(other.iter().take(6).fold(0, |time, byte| time << 8 | u64::from(*byte))))
            }
            _ => {
                let time = tsig.time;
                Ok((message, time))
            }
        }
    }
}

fn encode<E: fmt::Display>(
    out: &mut Vec<u8>,
    emit: impl FnOnce(&mut BinEncoder<'_>) -> Result<(), E>,
) -> Result<(), String> {
    let mut buffer = Vec::new();
    let mut encoder = BinEncoder::new(&mut buffer);
    // Offsets in this buffer mean nothing in the message.
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    emit(&mut encoder).map_err(|error| error.to_string())?;
    out.extend(buffer);
    Ok(())
}

impl From<Algorithm> for TsigAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
            Algorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
            Algorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
        }
    }
}

impl std::str::FromStr for Algorithm {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.trim().trim_end_matches('.').to_ascii_lowercase().as_str() {
            "hmac-sha256" => Ok(Algorithm::HmacSha256),
            "hmac-sha384" => Ok(Algorithm::HmacSha384),
            "hmac-sha512" => Ok(Algorithm::HmacSha512),
            _ => Err(KeyError::Algorithm(text.to_owned())),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::HmacSha256 => "hmac-sha256",
            Algorithm::HmacSha384 => "hmac-sha384",
            Algorithm::HmacSha512 => "hmac-sha512",
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {}, secret not shown)", self.name, self.algorithm)
    }
}

/// The name that the protocol wants for a domain name of ours.
pub(super) fn wildcard_of(parent: &Fqdn) -> Name {
    to_name(parent).prepend_label("*").unwrap_or_default()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
