//! One aggregate report (RFC 9990 section 3 and appendix A; RFC 7489 appendix C), read as a stream.
//!
//! Reporters differ in namespaces, prefixes, encodings, the order of elements and the case of words; all that is
//! taken. An element that nobody knows is skipped, with what is in it. What cannot be read is never passed over in
//! silence and never taken for zero: the report is then partial, and its errors say what is missing.

use std::io::Read;

use dkimctl_state::lifecycle::staging::evidence::{Published, clean};
use dkimctl_state::name::Fqdn;
use dkimctl_state::time::Time;
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::Event;
use sha2::{Digest, Sha256};

use super::limits;
use super::source::Source;

mod element;
mod nesting;
mod record;
mod rows;
mod values;

pub use rows::{Rows, Texts};

use element::El;
use record::Draft;

/// What was read of a report.
#[derive(Debug, Default)]
pub struct Parsed {
    pub org: String,
    pub email: String,
    pub id: String,
    pub begin: Option<Time>,
    pub end: Option<Time>,
    pub domain: Option<Fqdn>,
    pub published: Published,
    pub rows: Rows,
    /// Records that were read.
    pub records: u64,
    pub messages: u64,
    /// Messages that passed DMARC.
    pub aligned: u64,
    /// What is missing; with one of these the report is partial.
    pub errors: Vec<String>,
    /// What was odd, and changes nothing.
    pub notes: Vec<String>,
    /// SHA-256 over what the report says, however it is written.
    pub hash: [u8; 32],
}

/// Why nothing of a report was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it has a DOCTYPE, which no report needs and attacks do; nothing was read")]
    Doctype,
    #[error("it is no aggregate report: its outermost element is <{0}>, not <feedback>")]
    Root(String),
    #[error("it is empty")]
    Empty,
    #[error("it is no XML: {0}")]
    NotXml(String),
}

pub fn parse(input: impl Read) -> Result<Parsed, Refused> {
    let source = Source::new(input);
    let (token, repaired) = (source.token(), std::rc::Rc::clone(&source.repaired));
    let mut reader = Reader::from_reader(source);
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.allow_dangling_amp = true;
    // Which end belongs to which start is seen to here: an address in angle brackets (`<a@b>`) costs an error, and not
    // the rest of the report.
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    let mut run = Run::default();
    let mut buffer = Vec::with_capacity(512);
    loop {
        buffer.clear();
        token.set(0);
        let step = match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) => break,
            Ok(event) => run.take(event),
            Err(error) => Err(Stop::Broken(error.to_string())),
        };
        match step {
            Ok(()) => {}
            Err(Stop::Refused(refused)) => return Err(refused),
            Err(Stop::Broken(why)) => {
                if run.stack.is_empty() && !run.closed {
                    return Err(Refused::NotXml(clean(&why, 200).into_owned()));
                }
                run.broke(&why, reader.buffer_position());
                break;
            }
        }
    }
    if repaired.get() {
        run.note(|| "it is not UTF-8; other octets were read as Latin-1".to_owned());
    }
    run.finish()
}

/// Why reading stops before the end.
enum Stop {
    Refused(Refused),
    Broken(String),
}

#[derive(Default)]
struct Run {
    parsed: Parsed,
    stack: Vec<El>,
    /// Depth inside an element that nobody knows.
    skipping: usize,
    /// The names of all open elements, one behind the other, and where each begins.
    names: String,
    begins: Vec<usize>,
    /// Elements around the report that only wrap it.
    wrappers: usize,
    /// The text of the innermost element.
    text: String,
    cut: bool,
    draft: Draft,
    /// Records that could not be read.
    lost: u64,
    any: bool,
    /// <feedback> was seen.
    began: bool,
    closed: bool,
    hasher: Sha256,
}

impl Run {
    fn take(&mut self, event: Event<'_>) -> Result<(), Stop> {
        match event {
            Event::Start(start) => {
                self.any = true;
                self.open(start.local_name().as_ref())
            }
            Event::End(end) => {
                let name = end.local_name();
                self.end(name.as_ref());
                Ok(())
            }
            Event::Text(text) => {
                self.add(&text.xml_content(XmlVersion::Implicit1_0));
                Ok(())
            }
            Event::CData(text) => {
                self.add(&text.xml_content(XmlVersion::Implicit1_0));
                Ok(())
            }
            Event::GeneralRef(reference) => {
                match reference.resolve_char_ref() {
                    Ok(Some(c)) => self.add(c.encode_utf8(&mut [0; 4])),
                    _ => match &*reference.xml_content(XmlVersion::Implicit1_0) {
                        "amp" => self.add("&"),
                        "lt" => self.add("<"),
                        "gt" => self.add(">"),
                        "quot" => self.add("\""),
                        "apos" => self.add("'"),
                        // Without a DOCTYPE there are no others: keep it as it stands.
                        other => self.add(&format!("&{other};")),
                    },
                }
                Ok(())
            }
            Event::DocType(_) => Err(Stop::Refused(Refused::Doctype)),
            _ => Ok(()),
        }
    }

    fn broke(&mut self, why: &str, at: u64) {
        let why = clean(why, 200);
        let inside = self.stack.contains(&El::Record);
        let also = if inside {
            format!("; record {} was cut off", self.parsed.records + self.lost + 1)
        } else {
            String::new()
        };
        // Padding behind an archive is no harm; an archive that is not what was packed is.
        let harmless = !why.contains("corrupt") || why.contains("invalid gzip header");
        if self.closed && harmless {
            self.note(|| format!("after the end of the report: {why}"));
        } else if self.closed {
            self.error(format!("it was read to its end, but it is damaged: {why}"));
        } else {
            self.error(format!("it breaks off at octet {at}: {why}{also}; what follows was not read"));
            self.stack.clear();
            // Said already.
            self.closed = true;
        }
    }

    fn finish(mut self) -> Result<Parsed, Refused> {
        if !self.any {
            return Err(Refused::Empty);
        }
        if !self.closed && !self.began {
            return Err(Refused::Root("schema".to_owned()));
        }
        if !self.closed {
            let inside = self.stack.contains(&El::Record);
            let also = if inside { "; the last record was cut off" } else { "" };
            self.error(format!("it ends before </feedback>{also}; what was to follow is missing"));
        }
        let Parsed { org, id, domain, begin, end, published, .. } = &self.parsed;
        self.hasher.update(format!("{org}\n{id}\n{domain:?}\n{begin:?}\n{end:?}\n{published}\n{}", self.lost));
        self.parsed.hash = self.hasher.finalize().into();
        Ok(self.parsed)
    }

    fn error(&mut self, sentence: String) {
        let errors = &mut self.parsed.errors;
        match errors.len() {
            n if n < limits::SENTENCES => errors.push(sentence),
            n if n == limits::SENTENCES => errors.push("and more".to_owned()),
            _ => {}
        }
    }

    fn note(&mut self, sentence: impl FnOnce() -> String) {
        if self.parsed.notes.len() < limits::SENTENCES {
            self.parsed.notes.push(sentence());
        }
    }
}

#[cfg(test)]
#[path = "xml_tests.rs"]
mod tests;
