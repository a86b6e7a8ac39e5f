//! Messages with reports in them, one by one or in an mbox.

use std::io::{BufRead, Read};

use mail_parser::decoders::base64::base64_decode;
use mail_parser::{Encoding, Message, MessageParser, MimeHeaders, PartType};

use super::{Kind, Visitor, inside, kind};
use crate::dmarc::limits;

/// The message that a report came in.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    pub raw: &'a [u8],
}

pub(super) fn message(name: &str, raw: &[u8], nesting: usize, to: &mut dyn Visitor) {
    if let Err(why) = look_at_lines(raw) {
        return to.refused(name, why);
    }
    let Some(parsed) = MessageParser::default().parse(raw) else {
        return to.refused(name, "it looks like a message, but cannot be read as one".to_owned());
    };
    let envelope = Envelope { raw };
    let mut parts = Parts { name, envelope, nesting, seen: 0, found: 0, to };
    parts.of(&parsed, 0);
    let (seen, found) = (parts.seen, parts.found);
    if seen > limits::MEMBERS {
        let most = limits::MEMBERS;
        to.refused(name, format!("the message has {seen} parts, and those after the first {most} were not read"));
    } else if found == 0 {
        let subject: String =
            parsed.subject().unwrap_or_default().chars().filter(|c| !c.is_control()).take(80).collect();
        let kind = parsed.content_type().filter(|kind| kind.ctype().eq_ignore_ascii_case("multipart"));
        let why = match kind.and_then(|kind| kind.attribute("report-type")) {
            Some("feedback-report") => "this is a failure report about one message (RFC 9991), and no aggregate report",
            Some("tlsrpt") => "this is a report about TLS (RFC 8460), and not about DMARC",
            _ => "there is no report in this message",
        };
        to.refused(name, format!("{why} (its subject: `{subject}`)"));
    }
}

/// Parsers hold every header field and every part, and text twice; a message of nothing else would fill the memory.
fn look_at_lines(raw: &[u8]) -> Result<(), String> {
    let (mut fields, mut parts, mut text) = (0usize, 0usize, 0usize);
    // What does not say what it is, is text (RFC 2045 section 5.2).
    let (mut is_text, mut folded) = (true, false);
    for line in raw.split(|byte| *byte == b'\n') {
        if line.starts_with(b"--") {
            parts += 1;
            // The end of an XML comment is no boundary.
            is_text |= !line.starts_with(b"-->");
        }
        let named = line.first().is_some_and(u8::is_ascii_alphanumeric);
        let is_field = named && super::is_header(&line[..line.len().min(80)]);
        fields += usize::from(is_field);
        let value = match strip_name(line, b"content-type:") {
            Some(value) if is_field => Some(value),
            _ if folded => Some(line.trim_ascii_start()),
            _ => None,
        };
        folded = value.is_some_and(|value| value.trim_ascii().is_empty());
        if let Some(value) = value.filter(|_| !folded) {
            is_text = strip_name(value, b"text/").is_some();
        }
        text += if is_text { line.len() + 1 } else { 0 };
    }
    match () {
        () if text > limits::TEXT => {
            Err(format!("more than {} MiB of the message are text; reports are sent packed", limits::TEXT >> 20))
        }
        () if parts > MOST_BOUNDARIES => {
            Err(format!("the message has more than {MOST_BOUNDARIES} lines that begin a part"))
        }
        () if fields > MOST_FIELDS => Err(format!("the message has more than {MOST_FIELDS} lines like header fields")),
        () => Ok(()),
    }
}

/// What follows `name`, in any case, at the beginning of a line.
fn strip_name<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = line.split_at_checked(name.len())?;
    head.eq_ignore_ascii_case(name).then(|| rest.trim_ascii_start())
}

const MOST_BOUNDARIES: usize = 4096;
const MOST_FIELDS: usize = 50_000;

struct Parts<'a> {
    name: &'a str,
    envelope: Envelope<'a>,
    nesting: usize,
    seen: usize,
    found: usize,
    to: &'a mut dyn Visitor,
}

impl Parts<'_> {
    fn of(&mut self, message: &Message<'_>, depth: usize) {
        for part in &message.parts {
            let body: &[u8] = match &part.body {
                PartType::Multipart(_) => continue,
                PartType::Message(inner) if depth < limits::NESTING => {
                    self.of(inner, depth + 1);
                    continue;
                }
                PartType::Message(_) => continue,
                PartType::Text(text) | PartType::Html(text) => text.as_bytes(),
                PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes,
            };
            self.seen += 1;
            if self.seen > limits::MEMBERS {
                continue;
            }
            // An archive under a text type was taken for characters; its octets are in the message still. What is XML
            // as it is, is not held a second time.
            let raw = message.raw_message.get(part.offset_body as usize..part.offset_end as usize);
            let is_xml = kind(&body[..body.len().min(super::HEAD)]) == Kind::Xml;
            let decoded = match (&part.body, part.encoding, raw) {
                (PartType::Text(_) | PartType::Html(_), Encoding::Base64, Some(raw)) if !is_xml => base64_decode(raw),
                _ => None,
            };
            let body = decoded.as_deref().unwrap_or(body);
            let head = &body[..body.len().min(super::HEAD)];
            let title = part.attachment_name().map(|name| name.escape_debug().to_string());
            let claims = title.as_deref().is_some_and(|title| {
                let title = title.to_ascii_lowercase();
                [".xml", ".gz", ".zip"].iter().any(|end| title.ends_with(end))
            });
            let is_report = match kind(head) {
                Kind::Gzip | Kind::Zip => true,
                Kind::Zlib => claims,
                // A page that a reporter writes for people may well speak of feedback.
                Kind::Xml => claims || has_feedback(&body[..body.len().min(4096)]),
                _ => claims,
            };
            if is_report {
                self.found += 1;
                let name = match title {
                    Some(title) => format!("{}!{title}", self.name),
                    None => format!("{}!{}", self.name, self.seen),
                };
                match kind(head) {
                    // A message or a mailbox under the name of an archive is not opened again.
                    Kind::Message | Kind::Mbox => {
                        self.to.refused(&name, "by its name it is a report, but it is not one".to_owned());
                    }
                    // In memory already; its directory can be looked at there.
                    Kind::Zip => {
                        let (envelope, mut bytes) = (Some(&self.envelope), std::io::Cursor::new(body));
                        super::archive::zip(&name, &mut bytes, self.nesting + 1, envelope, self.to);
                    }
                    _ => inside(&name, &mut { body }, self.nesting + 1, Some(&self.envelope), self.to),
                }
            }
        }
    }
}

/// Whether an element `<feedback>` begins there, in any namespace.
fn has_feedback(head: &[u8]) -> bool {
    // UTF-16 has a zero between.
    let letters: Vec<u8> = head.iter().filter(|b| **b != 0).map(u8::to_ascii_lowercase).collect();
    letters.split(|byte| *byte == b'<').skip(1).any(|tag| {
        let name = tag.iter().take_while(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(b)).count();
        tag[..name].rsplit(|byte| *byte == b':').next() == Some(b"feedback".as_slice())
    })
}

/// One message after another, never more than one in memory. A line `From ` begins the next one after an empty line;
/// `>From ` inside is unescaped (mboxrd).
pub(super) fn mbox(name: &str, input: &mut dyn BufRead, nesting: usize, to: &mut dyn Visitor) {
    const LINE: u64 = 64 << 10;
    let (mut raw, mut line) = (Vec::new(), Vec::new());
    let (mut number, mut too_large) = (0u64, false);
    let (mut at_start, mut after_empty) = (true, true);
    let mut done = |raw: &mut Vec<u8>, number: u64, too_large: bool| {
        let name = format!("{name}#{number}");
        if too_large {
            to.refused(&name, format!("the message is larger than {} MiB", limits::MESSAGE >> 20));
        } else if number > 0 {
            message(&name, raw, nesting, to);
        }
        raw.clear();
        // What one large message took is given back.
        raw.shrink_to(1 << 20);
    };
    loop {
        line.clear();
        match input.take(LINE).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                done(&mut raw, number, too_large);
                return to.refused(name, format!("it cannot be read to its end: {error}"));
            }
        }
        if at_start && after_empty && line.starts_with(b"From ") {
            done(&mut raw, number, too_large);
            (number, too_large) = (number + 1, false);
        } else {
            let arrows = line.iter().take_while(|b| **b == b'>').count();
            let quoted = at_start && arrows > 0 && line[arrows..].starts_with(b"From ");
            if raw.len() + line.len() > limits::MESSAGE as usize {
                too_large = true;
            } else {
                if raw.capacity() - raw.len() < line.len() {
                    raw.reserve_exact(super::STEP);
                }
                raw.extend_from_slice(&line[usize::from(quoted)..]);
            }
        }
        after_empty = at_start && line.trim_ascii().is_empty();
        at_start = line.ends_with(b"\n");
    }
    done(&mut raw, number, too_large);
}
