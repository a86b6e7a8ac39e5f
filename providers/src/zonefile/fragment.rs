//! A zone file fragment as a list of entries whose octets are kept (RFC 1035 section 5.1).
//!
//! Only what is changed is written anew; comments, blank lines and everybody else's records stay as they are, octet
//! for octet. What cannot be understood (a wildcard, a `$GENERATE`) is carried along and never touched.

use std::collections::HashMap;
use std::ops::Range;

use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;

use crate::{AtName, Entry, Op};

/// A fragment in memory.
pub(super) struct Fragment {
    items: Vec<Item>,
    /// The items that hold something at a name.
    names: HashMap<Fqdn, Vec<usize>>,
    /// Whether `$TTL` stands before everything that leaves its TTL out; then no line leans on an earlier one's.
    default_ttl: Option<u32>,
}

/// One entry: a line, or several within parentheses. Empty octets mean that it was removed.
struct Item {
    octets: Vec<u8>,
    record: Option<Record>,
    owner_left_out: bool,
    ttl_left_out: bool,
}

struct Record {
    ttl: u32,
    data: Data,
}

enum Data {
    Txt(Entry),
    Cname(Option<Fqdn>),
    /// Some other type: its owner counts for the lines that leave theirs out.
    Other,
}

impl Fragment {
    /// Reads a fragment of `zone`; records without any TTL have `ttl` (seconds).
    pub fn read(zone: &Fqdn, octets: &[u8], ttl: u32) -> Self {
        let mut fragment = Fragment { items: Vec::new(), names: HashMap::new(), default_ttl: None };
        let mut origin = Some(zone.clone());
        let mut owner: Option<Fqdn> = None;
        let mut last_ttl = None;
        let mut at = 0;
        while at < octets.len() {
            let (end, tokens) = tokens(octets, at);
            let mut item =
                Item { octets: octets[at..end].to_vec(), record: None, owner_left_out: false, ttl_left_out: false };
            let blank_start = matches!(octets[at], b' ' | b'\t');
            at = end;
            match tokens.first().map(|token| token.value.to_ascii_uppercase()).as_deref() {
                None => {}
                Some(b"$ORIGIN") => origin = tokens.get(1).and_then(|token| token.name(origin.as_ref())),
                Some(b"$TTL") => fragment.default_ttl = tokens.get(1).and_then(Token::ttl),
                Some([b'$', ..]) => {}
                Some(_) => {
                    item.owner_left_out = blank_start;
                    if !blank_start {
                        owner = tokens[0].name(origin.as_ref());
                    }
                    let fields = &tokens[usize::from(!blank_start)..];
                    let (stated, data) = read_fields(fields, origin.as_ref());
                    item.ttl_left_out = stated.is_none();
                    last_ttl = stated.or(last_ttl);
                    // RFC 2308 section 4 puts $TTL before the last stated one of RFC 1035.
                    let ttl = stated.or(fragment.default_ttl).or(last_ttl).unwrap_or(ttl);
                    item.record = Some(Record { ttl, data });
                    if let Some(owner) = &owner {
                        fragment.names.entry(owner.clone()).or_default().push(fragment.items.len());
                    }
                }
            }
            fragment.items.push(item);
        }
        fragment
    }

    pub fn names_with_text(&self) -> Vec<Fqdn> {
        let mut names: Vec<Fqdn> =
            self.names.keys().filter(|name| matches!(self.at(name), AtName::Txt { .. })).cloned().collect();
        names.sort();
        names
    }

    pub fn at(&self, name: &Fqdn) -> AtName {
        let (mut ttl, mut entries) = (None, Vec::new());
        for record in self.items_at(name).filter_map(|(_, item)| item.record.as_ref()) {
            match &record.data {
                Data::Txt(entry) => {
                    ttl = ttl.or(Some(record.ttl));
                    entries.push(entry.clone());
                }
                Data::Cname(Some(target)) => return AtName::Cname { target: target.clone(), ttl: record.ttl },
                Data::Cname(None) => return AtName::Unsupported("the name is an alias that cannot be read".into()),
                Data::Other => {}
            }
        }
        ttl.map_or(AtName::Absent, |ttl| AtName::Txt { ttl, entries })
    }

    /// Performs `op`, which the caller has found possible upon what stands.
    pub fn perform(&mut self, op: &Op) -> Result<(), String> {
        let (gone, new) = match op {
            Op::Add { text, ttl, .. } => (vec![text], Some((text, *ttl))),
            Op::Replace { old, new, ttl, .. } => (vec![old, new], Some((new, *ttl))),
            Op::Remove { text, .. } => (vec![text], None),
        };
        let name = op.name();
        let holds = |item: &Item| match &item.record {
            Some(Record { ttl, data: Data::Txt(entry) }) => Some((*ttl, gone.contains(&&entry.text))),
            _ => None,
        };
        let ours: Vec<usize> =
            self.items_at(name).filter(|(_, item)| matches!(holds(item), Some((_, true)))).map(|(at, _)| at).collect();
        let foreign = self.items_at(name).filter_map(|(_, item)| holds(item)).find(|(_, ours)| !ours);
        if let (Some((_, wanted)), Some((stands, _))) = (new, foreign)
            && stands != wanted
        {
            return Err(format!(
                "`{name}` holds other values under a TTL of {stands} s, and all TXT records of a name share one (RFC \
                 2181 section 5.2); those lines are not ours to change: plan this one with {stands} s"
            ));
        }
        // A new line takes the place of the first old one, so that a comment above it stays with it.
        let kept = new.and(ours.first().copied());
        for &at in &ours {
            self.refuse_if_leaned_on(at, new.filter(|_| Some(at) == kept).map(|(_, ttl)| ttl))?;
        }
        for at in ours {
            self.items[at].octets.clear();
            self.items[at].record = None;
        }
        if let Some((text, ttl)) = new {
            let item = Item {
                octets: line(name, ttl, text).into_bytes(),
                record: Some(Record { ttl, data: Data::Txt(Entry::new(text.clone())) }),
                owner_left_out: false,
                ttl_left_out: false,
            };
            match kept {
                Some(at) => self.items[at] = item,
                None => {
                    self.end_last_line();
                    self.names.entry(name.clone()).or_default().push(self.items.len());
                    self.items.push(item);
                }
            }
        }
        Ok(())
    }

    pub fn write(&self) -> Vec<u8> {
        self.items.iter().flat_map(|item| item.octets.iter().copied()).collect()
    }

    /// A line that leaves out its name or TTL has those of the line before, so it must not lose that one, nor find
    /// another TTL there. `stays_with` is the TTL of the line that takes the place.
    fn refuse_if_leaned_on(&self, at: usize, stays_with: Option<u32>) -> Result<(), String> {
        let Some(next) = self.items[at + 1..].iter().find(|item| item.record.is_some()) else { return Ok(()) };
        let ttl_differs = match (stays_with, &self.items[at].record) {
            (Some(ttl), Some(record)) => ttl != record.ttl,
            _ => !self.items[at].ttl_left_out,
        };
        if next.owner_left_out && stays_with.is_none() {
            return Err("the line below leaves out its name, so it would move to another; write the name there".into());
        }
        if next.ttl_left_out && self.default_ttl.is_none() && ttl_differs {
            return Err("the line below leaves out its TTL, so it would change; write a TTL there, or a $TTL".into());
        }
        Ok(())
    }

    fn items_at(&self, name: &Fqdn) -> impl Iterator<Item = (usize, &Item)> {
        self.names.get(name).into_iter().flatten().map(|&at| (at, &self.items[at]))
    }

    fn end_last_line(&mut self) {
        if let Some(last) = self.items.last_mut()
            && !last.octets.is_empty()
            && !last.octets.ends_with(b"\n")
        {
            last.octets.push(b'\n');
        }
    }
}

/// Our own line: the name in full, so that it means the same wherever it stands.
fn line(name: &Fqdn, ttl: u32, text: &TxtText) -> String {
    let what = match name.as_str() {
        name if name.contains("._domainkey.") => "DKIM key (RFC 6376 section 3.6.1)",
        name if name.starts_with("_dmarc.") => "DMARC policy (RFC 7489 section 6.3)",
        _ if text.as_bytes().starts_with(b"v=spf1") => "SPF (RFC 7208 section 4.5)",
        _ => "TXT",
    };
    format!("{name}. {ttl} IN TXT {} ; dkimctl: {what}\n", text.quoted())
}

struct Token {
    /// Unescaped.
    value: Vec<u8>,
    quoted: bool,
    escaped: bool,
}

impl Token {
    fn name(&self, origin: Option<&Fqdn>) -> Option<Fqdn> {
        let text = std::str::from_utf8(&self.value).ok()?;
        // An escape in a name may hide a dot; such a name is none of ours.
        if self.quoted || self.escaped || !text.is_ascii() {
            return None;
        }
        match text {
            "@" => origin.cloned(),
            _ if text.ends_with('.') => text.parse().ok(),
            _ => format!("{text}.{}", origin?).parse().ok(),
        }
    }

    /// `3600`, or `1h30m` as BIND and Knot take it.
    fn ttl(&self) -> Option<u32> {
        let (mut total, mut number, mut open) = (0u32, None::<u32>, false);
        for byte in self.value.to_ascii_lowercase() {
            let unit = match byte {
                b'0'..=b'9' => {
                    number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u32::from(byte - b'0'))?);
                    open = true;
                    continue;
                }
                b's' => 1,
                b'm' => 60,
                b'h' => 3600,
                b'd' => 86_400,
                b'w' => 604_800,
                _ => return None,
            };
            total = total.checked_add(number.take()?.checked_mul(unit)?)?;
            open = false;
        }
        if self.quoted || self.value.is_empty() { None } else { total.checked_add(if open { number? } else { 0 }) }
    }
}

/// Reads `[ttl] [class] type rdata`, where TTL and class come in any order.
fn read_fields(mut fields: &[Token], origin: Option<&Fqdn>) -> (Option<u32>, Data) {
    let mut ttl = None;
    while let Some((field, rest)) = fields.split_first() {
        match field.value.to_ascii_uppercase().as_slice() {
            b"IN" => {}
            b"TXT" if !field.quoted && !rest.is_empty() => {
                let fits = rest.iter().all(|token| token.value.len() <= 255);
                let entry = Entry::from_chunks(rest.iter().map(|token| token.value.as_slice()));
                return (ttl, if fits { Data::Txt(entry) } else { Data::Other });
            }
            b"CNAME" => return (ttl, Data::Cname(rest.first().and_then(|token| token.name(origin)))),
            _ if ttl.is_none() && field.ttl().is_some() => ttl = field.ttl(),
            _ => break,
        }
        fields = rest;
    }
    (ttl, Data::Other)
}

/// The tokens of the entry that starts at `at`, and where it ends.
fn tokens(octets: &[u8], mut at: usize) -> (usize, Vec<Token>) {
    let (mut tokens, mut depth) = (Vec::new(), 0usize);
    while at < octets.len() {
        match octets[at] {
            b'\n' if depth == 0 => return (at + 1, tokens),
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b';' => at += octets[at..].iter().position(|&b| b == b'\n').unwrap_or(octets.len() - at),
            b'(' => (depth, at) = (depth + 1, at + 1),
            b')' => (depth, at) = (depth.saturating_sub(1), at + 1),
            b'"' => {
                // An open quote ends with the line, as it does for name servers.
                let (inside, token) = token(octets, at + 1, |byte| matches!(byte, b'"' | b'\n'), true);
                at = if octets.get(inside.end) == Some(&b'"') { inside.end + 1 } else { inside.end };
                tokens.push(token);
            }
            _ => {
                let ends = |byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'"' | b'(' | b')');
                let (inside, token) = token(octets, at, ends, false);
                at = inside.end;
                tokens.push(token);
            }
        }
    }
    (at, tokens)
}

fn token(octets: &[u8], start: usize, ends: impl Fn(u8) -> bool, quoted: bool) -> (Range<usize>, Token) {
    let (mut value, mut escaped, mut at) = (Vec::new(), false, start);
    while at < octets.len() && !ends(octets[at]) {
        match &octets[at..] {
            [b'\\', a @ b'0'..=b'2', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
                let number = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
                value.push(number.min(255) as u8);
                (escaped, at) = (true, at + 4);
            }
            [b'\\', next, ..] if *next != b'\n' => {
                value.push(*next);
                (escaped, at) = (true, at + 2);
            }
            _ => {
                value.push(octets[at]);
                at += 1;
            }
        }
    }
    (start..at, Token { value, quoted, escaped })
}
