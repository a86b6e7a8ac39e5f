//! Finds private keys in octets that flow by. Only a window of them is held, and wiped.
//!
//! Everything that a key can begin with is looked for in one pass. What is found costs time in proportion to its length,
//! and what was looked at as one key is not looked at again as another: a hostile file cannot make the search quadratic.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Form, Kind, hints, key};

/// The longest text of one key: an RSA key of 8192 bits, as PEM, in base64 once more, fits. So many octets behind the
/// beginning of a key are at hand when it is looked at.
const REACH: usize = 24 << 10;
/// Octets of it that are gathered: what leads up to them is within reach too.
const BODY: usize = REACH - 256;
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

/// The search of one file after the other.
pub struct Scanner {
    /// Of one size, so that no copy of what it holds is left behind where it grew.
    window: Zeroizing<Vec<u8>>,
    /// Octets in the window, and the most that there were of this file.
    held: usize,
    most: usize,
    /// The offset of the window's first octet.
    base: u64,
    /// What stands before this index was looked at.
    from: usize,
    hits: Vec<Hit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needle {
    /// The end of `-----BEGIN `, without most of its dashes: lines of them are common.
    Pem,
    /// base64 of `-----BEGIN `, in one of its three places in a group of four. What it says for certain is `known`; the
    /// first group behind that begins after `skip` characters.
    Base64Pem {
        known: &'static [u8],
        skip: usize,
    },
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

const DASHES: &[u8] = b"-----BEGIN ";
const NEEDLES: &[(Needle, &[u8])] = &[
    (Needle::Pem, b"-BEGIN "),
    (Needle::Base64Pem { known: b"-----B", skip: 4 }, b"LS1CRUdJTi"),
    (Needle::Base64Pem { known: DASHES, skip: 8 }, b"QkVHSU4g"),
    (Needle::Base64Pem { known: b"-----BE", skip: 4 }, b"LUJFR0lOI"),
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
/// Longer than any of them.
const LONGEST: usize = 32;

fn needles() -> &'static AhoCorasick {
    static NEEDLE: OnceLock<AhoCorasick> = OnceLock::new();
    NEEDLE.get_or_init(|| {
        let texts = NEEDLES.iter().map(|(_, text)| text);
        AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(texts).expect("a few short needles")
    })
}

/// All keys in a text that is at hand.
pub fn scan(octets: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    look(octets, 0..octets.len(), 0, &mut hits);
    if hits.is_empty() {
        hits.extend(seed(octets));
    }
    hits
}

/// All keys in a file that is at hand.
pub fn scan_file(path: &str, octets: &[u8]) -> Vec<Hit> {
    of_file(path, scan(octets))
}

/// A line of 44 characters is a key only where keys are kept, and a header alone is mostly a program's own text.
pub fn of_file(path: &str, mut hits: Vec<Hit>) -> Vec<Hit> {
    let about_dkim = hints::is_about_dkim(path);
    hits.retain(|hit| about_dkim || (hit.form != Form::Seed && hit.kind != Kind::HeaderAlone));
    hits
}

impl Default for Scanner {
    fn default() -> Self {
        let window = Zeroizing::new(vec![0; WINDOW]);
        Scanner { window, held: 0, most: 0, base: 0, from: 0, hits: Vec::new() }
    }
}

impl Scanner {
    /// Reads once from a file, at most so much, and returns what came: nothing at its end.
    pub fn read(&mut self, input: &mut dyn Read, most: usize) -> io::Result<&[u8]> {
        let room = self.room();
        let most = room.len().min(most);
        let read = loop {
            match input.read(&mut room[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.held += read;
        Ok(&self.window[self.held - read..self.held])
    }

    pub fn feed(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let room = self.room();
            let (now, later) = octets.split_at(room.len().min(octets.len()));
            room[..now.len()].copy_from_slice(now);
            self.held += now.len();
            octets = later;
        }
    }

    /// What was found. The scanner is ready for the next file, and has forgotten this one.
    pub fn finish(&mut self) -> Vec<Hit> {
        look(&self.window[..self.held], self.from..self.held, self.base, &mut self.hits);
        if self.base == 0 && self.hits.is_empty() {
            self.hits.extend(seed(&self.window[..self.held]));
        }
        self.window[..self.most.max(self.held)].zeroize();
        (self.held, self.most, self.base, self.from) = (0, 0, 0, 0);
        std::mem::take(&mut self.hits)
    }

    /// The free end of the window; never empty.
    fn room(&mut self) -> &mut [u8] {
        if self.held == self.window.len() {
            let end = self.held - REACH;
            self.from = look(&self.window, self.from..end, self.base, &mut self.hits);
            let done = self.from.min(self.held).saturating_sub(BACK);
            self.window.copy_within(done.., 0);
            self.most = self.held;
            self.held -= done;
            self.from -= done;
            self.base += done as u64;
        }
        &mut self.window[self.held..]
    }
}

fn seed(octets: &[u8]) -> Option<Hit> {
    if octets.len() > ONE_LINE {
        return None;
    }
    let decoded = STANDARD.decode(octets.trim_ascii()).map(Zeroizing::new).ok()?;
    key::from_seed(&decoded).map(|kind| Hit { offset: 0, form: Form::Seed, kind })
}

/// Looks at everything that begins within; returns the index behind what was looked at.
fn look(octets: &[u8], within: Range<usize>, base: u64, hits: &mut Vec<Hit>) -> usize {
    let mut from = within.start;
    let end = within.end.saturating_add(LONGEST).min(octets.len());
    while from < within.end {
        let Some(found) = needles().find(Input::new(octets).span(from..end)) else { break };
        let at = found.start();
        if at >= within.end {
            break;
        }
        let (needle, text) = NEEDLES[found.pattern().as_usize()];
        from = match key_at(octets, needle, at) {
            Some((found, used)) => {
                hits.extend(found.into_iter().map(|hit| Hit { offset: base + hit.offset, ..hit }));
                // A needle may lie behind the start of what it found.
                used.max(at + 1)
            }
            None => at + if text.len() > 3 { text.len() } else { 1 },
        };
    }
    from.max(within.end)
}

/// What begins here, and the index after it.
fn key_at(octets: &[u8], needle: Needle, at: usize) -> Option<(Vec<Hit>, usize)> {
    let hit = |at: usize, form, kind| vec![Hit { offset: at as u64, form, kind }];
    match needle {
        Needle::Pem => {
            let start = at.checked_sub(4)?;
            let (kind, used) = pem(&octets[start..])?;
            Some((hit(start, Form::Pem, kind), start + used))
        }
        Needle::Base64Pem { known, skip } => {
            let start = at + skip;
            let body = Body::gather(&octets[start..], BODY);
            let mut text = Zeroizing::new(Vec::with_capacity(BODY));
            text.extend_from_slice(known);
            text.extend_from_slice(&body.decoded());
            let mut inner = Vec::new();
            pems(&text, &mut inner);
            let hits = inner.into_iter().map(|kind| Hit { offset: at as u64, form: Form::Base64Pem, kind });
            Some((hits.collect(), start + body.used))
        }
        Needle::Base64Der | Needle::Base64Ed25519 => {
            let text = &octets[at..];
            // The version, INTEGER 0 or 1, behind the length: what most candidates lack.
            if needle == Needle::Base64Der && text.get(6..9) != Some(b"IBA") {
                return None;
            }
            let start = Body::gather(text, 24).decoded();
            let length = key::whole_length(&start).filter(|_| key::begins_like_a_key(&start))?;
            if length > BODY / 4 * 3 {
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
            let octets = &octets[start..];
            let length = key::whole_length(octets).filter(|length| *length <= BODY)?;
            Some((hit(start, Form::Der, key::from_der(octets)?), start + length))
        }
        Needle::Age => {
            let text = &octets[at + "AGE-SECRET-KEY-1".len()..];
            let bech32 = |octet: &&u8| b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".contains(octet);
            let length = text.iter().take(59).take_while(bech32).count();
            (length == 58).then(|| (hit(at, Form::Age, Kind::AgeIdentity), at + 74))
        }
    }
}

/// Every PEM in a text that was itself in base64.
fn pems(text: &[u8], found: &mut Vec<Kind>) {
    let mut from = 0;
    while let Some(at) = memmem::find(&text[from..], DASHES).map(|at| from + at) {
        from = match pem(&text[at..]) {
            Some((kind, used)) => {
                found.push(kind);
                at + used
            }
            None => at + DASHES.len(),
        };
    }
}

/// A PEM (RFC 7468) whose first line begins here, in whatever it was wrapped: escaped, quoted, indented.
fn pem(text: &[u8]) -> Option<(Kind, usize)> {
    let rest = text.strip_prefix(DASHES)?;
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
    let encrypted = label.starts_with(b"ENCRYPTED") || memmem::find(window, b"4,ENCRYPTED").is_some();
    // `Version: GnuPG v2` and the like, up to an empty line.
    let armor = if *foreign == Some("OpenPGP key") { memmem::find(window, b"\n\n").unwrap_or(0) } else { 0 };
    let body = Body::gather(&after[armor..], BODY);
    let used = begun + armor + body.used;
    if body.text.is_empty() && !encrypted {
        return Some((Kind::HeaderAlone, used));
    }
    // Words in place of a key are no key: documentation, or the code of a parser.
    let begins = |start: &[u8]| body.text.len() >= 40 && body.decoded().starts_with(start);
    if encrypted {
        let is_key = !label.starts_with(b"ENCRYPTED") || begins(&[0x30]);
        return is_key.then_some((Kind::Encrypted, used));
    }
    match foreign {
        Some(what @ "OpenSSH key") => return begins(b"openssh-key-v1").then_some((Kind::Foreign(what), used)),
        // A packet of the old or the new format: a secret key (RFC 9580 section 4.2).
        Some(what @ "OpenPGP key") => {
            let is_key = begins(&[0x94]) || begins(&[0x95]) || begins(&[0xc5]);
            return is_key.then_some((Kind::Foreign(what), used));
        }
        Some(what) => return begins(&[0x30]).then_some((Kind::Foreign(what), used)),
        None => {}
    }
    let octets = body.decoded();
    match key::from_der(&octets) {
        Some(kind) => Some((kind, used)),
        None if key::begins_like_a_key(&octets) => Some((Kind::CutShort, used)),
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
        while at < octets.len() && text.len() < most && at < BODY {
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
