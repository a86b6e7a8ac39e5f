//! Finds private keys in octets that flow by. Only a window of them is held, and wiped.
//!
//! Everything that is found costs time in proportion to its length, and what was looked at as one key is not looked
//! at again as another: a hostile file cannot make the search quadratic.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::Finder;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Form, Kind, key};

/// The longest text of one key: an RSA key of 8192 bits, as PEM, in base64 once more, fits.
const REACH: usize = 24 << 10;
/// Octets that begin before the needle they are found by.
const BACK: usize = 16;
const WINDOW: usize = 256 << 10;
/// A file of one line that may be a bare Ed25519 key.
const ONE_LINE: usize = 128;

/// A key in what was fed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Where it begins.
    pub offset: u64,
    pub form: Form,
    pub kind: Kind,
}

/// One file's search.
#[derive(Debug)]
pub struct Scanner {
    buffer: Zeroizing<Vec<u8>>,
    /// The offset of the buffer's first octet.
    base: u64,
    /// What stands before this index was looked at.
    from: usize,
    hits: Vec<Hit>,
    nested: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needle {
    Pem,
    /// base64 of `-----BEGIN `
    Base64Pem,
    /// base64 of a SEQUENCE with a length of two octets.
    Base64Der,
    /// base64 of an Ed25519 key in PKCS#8.
    Base64Ed25519,
    /// The version and what follows it, so many octets after the SEQUENCE began.
    Der {
        before: usize,
    },
    Age,
}

const NEEDLES: &[(Needle, &[u8])] = &[
    (Needle::Pem, b"-----BEGIN "),
    (Needle::Base64Pem, b"LS0tLS1CRUdJTi"),
    (Needle::Base64Der, b"MII"),
    (Needle::Base64Ed25519, b"MC4CAQAwBQYDK2VwBCIEI"),
    (Needle::Base64Ed25519, b"MFECAQEwBQYDK2VwBCIEI"),
    (Needle::Base64Ed25519, b"MFMCAQEwBQYDK2VwBCIEI"),
    (Needle::Der { before: 4 }, &[2, 1, 0, 2, 0x82]),
    (Needle::Der { before: 4 }, &[2, 1, 0, 2, 0x81]),
    (Needle::Der { before: 4 }, &[2, 1, 0, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]),
    (Needle::Der { before: 2 }, &[2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]),
    (Needle::Der { before: 2 }, &[2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]),
    (Needle::Age, b"AGE-SECRET-KEY-1"),
];

fn finders() -> &'static [Finder<'static>] {
    static FINDERS: OnceLock<Vec<Finder<'static>>> = OnceLock::new();
    FINDERS.get_or_init(|| NEEDLES.iter().map(|(_, needle)| Finder::new(*needle)).collect())
}

/// All keys in a text that is at hand.
pub fn scan(octets: &[u8]) -> Vec<Hit> {
    let mut scanner = Scanner::default();
    scanner.feed(octets);
    scanner.finish()
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner { buffer: Zeroizing::default(), base: 0, from: 0, hits: Vec::new(), nested: false }
    }
}

impl Scanner {
    pub fn feed(&mut self, octets: &[u8]) {
        for octets in octets.chunks(WINDOW) {
            self.buffer.extend_from_slice(octets);
            if self.buffer.len() >= WINDOW {
                let end = self.buffer.len() - REACH;
                self.look(end);
                let done = end.max(self.from).min(self.buffer.len()).saturating_sub(BACK);
                self.buffer.drain(..done);
                self.base += done as u64;
                self.from = self.from.max(end) - done;
            }
        }
    }

    pub fn finish(mut self) -> Vec<Hit> {
        self.look(self.buffer.len());
        if self.base == 0 && self.buffer.len() <= ONE_LINE && self.hits.is_empty() {
            let decoded = STANDARD.decode(self.buffer.trim_ascii()).map(Zeroizing::new);
            if let Some(kind) = decoded.ok().and_then(|octets| key::from_seed(&octets)) {
                self.hits.push(Hit { offset: 0, form: Form::Seed, kind });
            }
        }
        std::mem::take(&mut self.hits)
    }

    /// Looks at everything that begins before `end`.
    fn look(&mut self, end: usize) {
        let mut next: Vec<Option<usize>> = vec![Some(0); NEEDLES.len()];
        let mut fresh = vec![false; NEEDLES.len()];
        loop {
            for (index, finder) in finders().iter().enumerate() {
                let stale = !fresh[index] || next[index].is_some_and(|at| at < self.from);
                if stale && next[index].is_some() {
                    let from = self.from.min(self.buffer.len());
                    next[index] = finder.find(&self.buffer[from..]).map(|at| from + at);
                    fresh[index] = true;
                }
            }
            let first = next.iter().enumerate().filter_map(|(index, at)| Some(((*at)?, index))).min();
            let Some((at, index)) = first.filter(|(at, _)| *at < end) else { break };
            let (needle, text) = NEEDLES[index];
            self.from = match self.key_at(needle, at) {
                Some((hit, used)) => {
                    self.hits.extend(hit);
                    // A needle may lie behind the start of what it found.
                    used.max(at + 1)
                }
                None => at + if text.len() > 3 { text.len() } else { 1 },
            };
        }
    }

    /// What begins here, and the index after it.
    fn key_at(&self, needle: Needle, at: usize) -> Option<(Vec<Hit>, usize)> {
        let hit = |at: usize, form, kind| vec![Hit { offset: self.base + at as u64, form, kind }];
        match needle {
            Needle::Pem => {
                let (kind, used) = pem(&self.buffer[at..])?;
                Some((hit(at, Form::Pem, kind), at + used))
            }
            Needle::Base64Pem if self.nested => None,
            Needle::Base64Pem => {
                let body = Body::gather(&self.buffer[at..], REACH);
                let inner = Scanner { nested: true, ..Scanner::default() }.of(&body.decoded());
                let hits = inner.into_iter().map(|found| Hit {
                    offset: self.base + at as u64,
                    form: Form::Base64Pem,
                    ..found
                });
                Some((hits.collect(), at + body.used))
            }
            Needle::Base64Der | Needle::Base64Ed25519 => {
                let text = &self.buffer[at..];
                // The version, INTEGER 0 or 1, behind the length: what most candidates lack.
                if needle == Needle::Base64Der && text.get(6..9) != Some(b"IBA") {
                    return None;
                }
                let start = Body::gather(text, 24).decoded();
                let length = key::whole_length(&start).filter(|_| key::begins_like_a_key(&start))?;
                if length > REACH / 4 * 3 {
                    return None;
                }
                let body = Body::gather(text, length.div_ceil(3) * 4);
                let octets = body.decoded();
                let kind = match key::from_der(&octets) {
                    Some(kind) => kind,
                    None if octets.len() >= 48 => Kind::CutShort,
                    None => return None,
                };
                Some((hit(at, Form::Base64Der, kind), at + body.used))
            }
            Needle::Der { before } => {
                let start = at.checked_sub(before)?;
                let octets = &self.buffer[start..];
                let kind = key::from_der(octets)?;
                Some((hit(start, Form::Der, kind), start + key::whole_length(octets)?))
            }
            Needle::Age => {
                let text = &self.buffer[at + "AGE-SECRET-KEY-1".len()..];
                let bech32 = |octet: &&u8| b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".contains(octet);
                let length = text.iter().take(59).take_while(bech32).count();
                (length == 58).then(|| (hit(at, Form::Age, Kind::AgeIdentity), at + 74))
            }
        }
    }

    fn of(mut self, octets: &[u8]) -> Vec<Hit> {
        self.feed(octets);
        self.finish()
    }
}

/// A PEM (RFC 7468) whose first line begins here, in whatever it was wrapped: escaped, quoted, indented.
fn pem(text: &[u8]) -> Option<(Kind, usize)> {
    let rest = text.strip_prefix(b"-----BEGIN ")?;
    let length = rest.iter().take(48).position(|&octet| octet == b'-')?;
    let label = &rest[..length];
    let after = rest[length..].strip_prefix(b"-----")?;
    let known: &[(&[u8], Option<&'static str>)] = &[
        (b"PRIVATE KEY", None),
        (b"RSA PRIVATE KEY", None),
        (b"ENCRYPTED PRIVATE KEY", None),
        (b"EC PRIVATE KEY", Some("EC key")),
        (b"DSA PRIVATE KEY", Some("DSA key")),
        (b"OPENSSH PRIVATE KEY", Some("OpenSSH key")),
        (b"PGP PRIVATE KEY BLOCK", Some("OpenPGP key")),
    ];
    let (_, foreign) = known.iter().find(|(known, _)| *known == label)?;
    let begun = text.len() - after.len();
    let window = &after[..after.len().min(160)];
    let encrypted = label.starts_with(b"ENCRYPTED") || Finder::new(b"4,ENCRYPTED").find(window).is_some();
    let body = Body::gather(after, REACH);
    let used = begun + body.used;
    if encrypted && (!body.text.is_empty() || !label.starts_with(b"ENCRYPTED")) {
        return Some((Kind::Encrypted, used));
    }
    if body.text.is_empty() {
        return Some((Kind::HeaderAlone, used));
    }
    if let Some(what) = foreign {
        return (body.text.len() >= 40).then_some((Kind::Foreign(what), used));
    }
    let octets = body.decoded();
    match key::from_der(&octets) {
        Some(kind) => Some((kind, used)),
        None if key::begins_like_a_key(&octets) => Some((Kind::CutShort, used)),
        // Words, not a key: documentation, or the code of a parser.
        None => None,
    }
}

/// Base64 as it stands in files: with line ends, escaped line ends, quotes and indentation in between.
struct Body {
    text: Zeroizing<Vec<u8>>,
    /// Octets of the file that it took.
    used: usize,
}

impl Body {
    fn gather(octets: &[u8], most: usize) -> Body {
        let mut text = Zeroizing::new(Vec::with_capacity(most.min(4096)));
        let mut at = 0;
        // Where the last character of the key ended: quotes and line ends after it are not the key's.
        let mut used = 0;
        while at < octets.len() && text.len() < most && at < REACH {
            match octets[at] {
                octet if octet.is_ascii_alphanumeric() || b"+/=".contains(&octet) => {
                    if text.len() == text.capacity() {
                        grow(&mut text);
                    }
                    text.push(octet);
                    at += 1;
                    used = at;
                }
                b'\\' => {
                    at += octets[at..].iter().take_while(|&&octet| octet == b'\\').count();
                    match octets.get(at) {
                        Some(b'n' | b'r' | b't') => at += 1,
                        // JSON writers escape what they like (RFC 8259 section 7).
                        Some(b'u') => {
                            let digits = octets.get(at + 1..at + 5).and_then(|hex| std::str::from_utf8(hex).ok());
                            let code = digits.and_then(|hex| u8::from_str_radix(hex, 16).ok());
                            let Some(code) = code else { break };
                            if code.is_ascii_alphanumeric() || b"+/=".contains(&code) {
                                text.push(code);
                            } else if !code.is_ascii_whitespace() {
                                break;
                            }
                            at += 5;
                            used = at;
                        }
                        _ => {}
                    }
                }
                octet if octet.is_ascii_whitespace() || b"\"',".contains(&octet) => at += 1,
                _ => break,
            }
        }
        Body { text, used }
    }

    /// As far as it is base64: what is cut short inside a group of four loses that group.
    fn decoded(&self) -> Zeroizing<Vec<u8>> {
        let end = self.text.iter().position(|&octet| octet == b'=').unwrap_or(self.text.len());
        let mut groups = Zeroizing::new(self.text[..end].to_vec());
        let padding = (4 - end % 4) % 4;
        let is_padded = self.text.len() - end >= padding;
        match padding {
            1 | 2 if is_padded => groups.extend(std::iter::repeat_n(b'=', padding)),
            _ => groups.truncate(end / 4 * 4),
        }
        Zeroizing::new(STANDARD.decode(&*groups).unwrap_or_default())
    }
}

/// Makes room without leaving a copy behind.
fn grow(text: &mut Zeroizing<Vec<u8>>) {
    let mut larger = Vec::with_capacity(text.capacity() * 2);
    larger.extend_from_slice(text);
    text.zeroize();
    **text = larger;
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
