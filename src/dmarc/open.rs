//! Finds the reports in whatever is given: XML, gzip, zip, messages, mailboxes, directories, standard input.
//!
//! What something is, its first octets say; names and media types lie too often.

use std::fs::{self, File, FileType};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::bufread;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::limits;

mod archive;
mod mail;

pub use mail::Envelope;

/// Who is told of what was found.
pub trait Visitor {
    /// The XML of one report. `envelope` is the message that it came in.
    fn report(&mut self, name: &str, envelope: Option<&Envelope<'_>>, xml: &mut dyn Read);

    /// Something that holds no report that can be read, and why.
    fn refused(&mut self, name: &str, why: String);
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Xml,
    Gzip,
    /// Deflate in the clothes of RFC 1950, which some reporters send under the name of gzip.
    Zlib,
    Zip,
    Mbox,
    Message,
    Refused(&'static str),
}

const HEAD: usize = 1024;

fn kind(head: &[u8]) -> Kind {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = text.trim_ascii_start();
    match head {
        [0x1f, 0x8b, ..] => Kind::Gzip,
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Kind::Zlib,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Kind::Zip,
        [0xd0, 0xcf, 0x11, 0xe0, ..] => {
            Kind::Refused("it is an Outlook message (.msg), which is not read; save it as .eml")
        }
        [0xff, 0xfe, b'<', 0, ..] | [0xfe, 0xff, 0, b'<', ..] | [b'<', 0, ..] | [0, b'<', ..] => Kind::Xml,
        _ if text.is_empty() => Kind::Refused("it is empty"),
        _ if text[0] == b'<' => Kind::Xml,
        _ if text.trim_ascii() == b"unused" => {
            Kind::Refused("the reporter sent the word `unused` in place of a report, a mistake that some make")
        }
        _ if head.starts_with(b"From ") => Kind::Mbox,
        _ if text[0] == b'{' && text.windows(17).any(|window| window == b"organization-name") => {
            Kind::Refused("it is a report about TLS (RFC 8460), and not about DMARC")
        }
        _ if is_header(text) => Kind::Message,
        [0x78, 0x9f, 0x3e, 0x22, ..] => {
            Kind::Refused("it is a TNEF container (winmail.dat), which is not read; let the sender send MIME")
        }
        _ if head.get(257..262) == Some(b"ustar") => Kind::Refused("it is a tar archive; unpack it first"),
        _ => Kind::Refused("it is neither XML, gzip, zip nor a message"),
    }
}

/// `Name: value`, the first line of a message (RFC 5322 section 2.2).
fn is_header(head: &[u8]) -> bool {
    let name = head.iter().take_while(|b| b.is_ascii_graphic() && **b != b':').count();
    name > 0 && name < 78 && head.get(name) == Some(&b':')
}

/// Walks over a path and everything below it.
pub fn path(path: &Path, visitor: &mut dyn Visitor) {
    match fs::metadata(path) {
        Ok(found) => walk(path, found.file_type(), visitor),
        Err(error) => visitor.refused(&path.display().to_string(), format!("it cannot be opened: {error}")),
    }
}

/// Of thousands of small files, what each is was said by its directory: to ask again would cost as much as to read it.
fn walk(path: &Path, is: FileType, visitor: &mut dyn Visitor) {
    if is.is_dir() {
        return directory(path, visitor);
    }
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) if is.is_file() => file_at(&name, file, visitor),
        Ok(file) => stream(&name, file, visitor),
        Err(error) => visitor.refused(&name, format!("it cannot be opened: {error}")),
    }
}

/// Standard input, or anything else that flows.
pub fn stream(name: &str, input: impl Read, visitor: &mut dyn Visitor) {
    inside(name, &mut BufReader::new(input), 0, None, visitor);
}

/// So many names are held and sorted at a time.
const NAMES: usize = 50_000;

/// A directory, a maildir too: what is in `tmp` beside `cur` was not delivered yet. Hidden files are no reports.
fn directory(dir: &Path, visitor: &mut dyn Visitor) {
    let name = dir.display().to_string();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => return visitor.refused(&name, format!("it cannot be listed: {error}")),
    };
    let maildir = dir.join("cur").is_dir();
    let mut found: Vec<(PathBuf, FileType)> = Vec::new();
    let visit = |found: &mut Vec<(PathBuf, FileType)>, visitor: &mut dyn Visitor| {
        found.sort_by(|(one, _), (other, _)| one.as_os_str().cmp(other.as_os_str()));
        for (entry, is) in found.drain(..) {
            // A link to a directory may lead in a circle; a link to a file may not.
            if is.is_symlink() && entry.is_dir() {
                visitor
                    .refused(&entry.display().to_string(), "it is a link to a directory, and not followed".to_owned());
            } else if is.is_symlink() {
                path(&entry, visitor);
            } else {
                walk(&entry, is, visitor);
            }
        }
    };
    for entry in entries {
        match entry.and_then(|entry| Ok((entry.file_type()?, entry))) {
            Ok((is, entry)) => {
                let file = entry.file_name();
                let hidden = file.as_encoded_bytes().starts_with(b".");
                // Folders of a maildir begin with a dot (Maildir++).
                let folder = maildir && is.is_dir();
                if (hidden && !folder) || (maildir && file == "tmp") {
                    continue;
                }
                found.push((entry.path(), is));
                if found.len() == NAMES {
                    visit(&mut found, visitor);
                }
            }
            Err(error) => visitor.refused(&name, format!("it cannot be listed to its end: {error}")),
        }
    }
    visit(&mut found, visitor);
}

/// A file on a disk: its first octets and the rest of a small one come with one call.
fn file_at(name: &str, file: File, visitor: &mut dyn Visitor) {
    let mut input = BufReader::with_capacity(32 << 10, file);
    let kind = match input.fill_buf() {
        Ok(head) => kind(&head[..head.len().min(HEAD)]),
        Err(error) => return visitor.refused(name, format!("it cannot be read: {error}")),
    };
    match kind {
        // The directory of a zip stands at its end.
        Kind::Zip => archive::zip(name, input.get_mut(), 0, None, visitor),
        Kind::Gzip => inside(name, &mut bufread::MultiGzDecoder::new(input), 1, None, visitor),
        kind => known(name, kind, &mut input, 0, None, visitor),
    }
}

/// One thing in a container, or what flows.
fn inside(name: &str, input: &mut dyn Read, nesting: usize, envelope: Option<&Envelope<'_>>, to: &mut dyn Visitor) {
    match head_of(input) {
        Err(error) => to.refused(name, format!("it cannot be read: {error}")),
        Ok((head, error)) => {
            let rest = Rest { error, input };
            known(name, kind(&head), &mut Cursor::new(head).chain(rest), nesting, envelope, to);
        }
    }
}

fn known(
    name: &str,
    kind: Kind,
    input: &mut dyn Read,
    nesting: usize,
    envelope: Option<&Envelope<'_>>,
    to: &mut dyn Visitor,
) {
    if nesting > limits::NESTING {
        return to.refused(name, format!("it is packed more than {} times", limits::NESTING));
    }
    match kind {
        Kind::Xml => to.report(name, envelope, input),
        Kind::Gzip => inside(name, &mut MultiGzDecoder::new(input), nesting + 1, envelope, to),
        Kind::Zlib => inside(name, &mut ZlibDecoder::new(input), nesting + 1, envelope, to),
        Kind::Zip => match whole(input, limits::MESSAGE) {
            Ok(bytes) => archive::zip(name, &mut Cursor::new(bytes), nesting, envelope, to),
            Err(why) => to.refused(name, why),
        },
        Kind::Message => match whole(input, limits::MESSAGE) {
            Ok(bytes) => mail::message(name, &bytes, nesting, to),
            Err(why) => to.refused(name, why),
        },
        Kind::Mbox => mail::mbox(name, &mut BufReader::new(input), nesting, to),
        Kind::Refused(why) => to.refused(name, why.to_owned()),
    }
}

/// The first octets, and the error that ended them: a small report may be whole in an archive whose end is damaged.
fn head_of(input: &mut (impl Read + ?Sized)) -> io::Result<(Vec<u8>, Option<io::Error>)> {
    let mut head = Vec::new();
    match input.take(HEAD as u64).read_to_end(&mut head) {
        Ok(_) => Ok((head, None)),
        Err(error) if head.is_empty() => Err(error),
        Err(error) => Ok((head, Some(error))),
    }
}

/// What follows the head, and first the error that was met there.
struct Rest<R> {
    error: Option<io::Error>,
    input: R,
}

impl<R: Read> Read for Rest<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.input.read(out),
        }
    }
}

fn whole(input: &mut dyn Read, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut input = input.take(most + 1);
    loop {
        // Growing by doubling would hold twice of what is there.
        bytes.reserve_exact(STEP);
        match input.by_ref().take(STEP as u64).read_to_end(&mut bytes) {
            Err(error) => return Err(format!("it cannot be read: {error}")),
            Ok(0) => return Ok(bytes),
            Ok(_) if bytes.len() as u64 > most => return Err(format!("it is larger than {} MiB", most >> 20)),
            Ok(_) => {}
        }
    }
}

const STEP: usize = 1 << 20;

#[cfg(test)]
#[path = "open_tests.rs"]
pub(crate) mod tests;
