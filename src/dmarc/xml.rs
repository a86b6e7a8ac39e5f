//! One aggregate report (RFC 9990 section 3 and appendix A; RFC 7489 appendix C), read as a stream.
//!
//! Reporters differ in namespaces, prefixes, encodings, the order of elements and the case of words; all that is
//! taken. An element that nobody knows is skipped, with what is in it. What cannot be read is never passed over in
//! silence and never taken for zero: the report is then partial, and its errors say what is missing.

use std::io::Read;

use dkimctl_state::lifecycle::staging::evidence::{Published, clean};
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::dmarc::Policy;
use dkimctl_state::time::Time;
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::Event;
use sha2::{Digest, Sha256};

use super::limits;
use super::source::Source;

mod record;
mod rows;

pub use rows::{Rows, Texts};

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

/// The elements of the schema, by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum El {
    Feedback,
    Metadata,
    OrgName,
    Email,
    ReportId,
    ReporterError,
    Range,
    Begin,
    End,
    Policy,
    Domain,
    P,
    Sp,
    Np,
    Pct,
    Testing,
    Record,
    /// Anything inside a record.
    In(record::Part),
    /// A leaf that is known and not kept.
    Ignored,
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

    fn open(&mut self, name: &str) -> Result<(), Stop> {
        if self.begins.len() >= limits::DEPTH {
            return Err(Stop::Broken(format!("elements are nested deeper than {}", limits::DEPTH)));
        }
        let name = &*lower(name);
        self.begins.push(self.names.len());
        self.names.push_str(name);
        if self.closed {
            if name == "feedback" {
                self.error("a second report follows in the same document, and was not read".to_owned());
            }
            self.skipping += 1;
            return Ok(());
        }
        if self.skipping > 0 {
            if name == "record" {
                self.lost += 1;
                let inside = clean(self.name_at(self.begins.len() - 1 - self.skipping), 60).into_owned();
                self.error(format!("a record inside <{inside}>, where none belongs, was not read"));
            }
            self.skipping += 1;
            return Ok(());
        }
        let known = match self.stack.last() {
            None if name == "feedback" => {
                self.began = true;
                Some(El::Feedback)
            }
            // Some reporters put the schema's element around the report, and never close it.
            None if name == "schema" => {
                self.wrappers += 1;
                return Ok(());
            }
            None if self.wrappers > 0 => None,
            None => return Err(Stop::Refused(Refused::Root(clean(name, 60).into_owned()))),
            Some(parent) => child(*parent, name),
        };
        match known {
            Some(el) => {
                if el == El::Record {
                    self.draft.clear();
                } else if let El::In(part) = el {
                    self.draft.open(part);
                }
                self.stack.push(el);
                self.text.clear();
                self.cut = false;
            }
            None => self.skipping = 1,
        }
        Ok(())
    }

    fn name_at(&self, index: usize) -> &str {
        let end = self.begins.get(index + 1).copied().unwrap_or(self.names.len());
        &self.names[self.begins[index]..end]
    }

    fn forget_name(&mut self) {
        if let Some(begin) = self.begins.pop() {
            self.names.truncate(begin);
        }
    }

    /// Closes the innermost element of this name. What is open inside it was never closed, and that is told.
    fn end(&mut self, name: &str) {
        let name = &*lower(name);
        let Some(place) = (0..self.begins.len()).rev().find(|index| self.name_at(*index) == name) else {
            let name = clean(name, 60).into_owned();
            return match self.closed {
                true => self.note(|| format!("after the end of the report: a stray </{name}>")),
                false => self.error(format!("a stray </{name}>")),
            };
        };
        while self.begins.len() > place + 1 {
            let inner = clean(self.name_at(self.begins.len() - 1), 60).into_owned();
            self.error(format!("<{inner}> is never closed"));
            self.forget_name();
            if self.skipping > 0 {
                self.skipping -= 1;
            } else {
                match self.stack.pop() {
                    Some(El::In(_)) => self.draft.refuse(format!("<{inner}> in it is never closed")),
                    Some(El::Record) => self.lost += 1,
                    Some(_) => {}
                    None => self.wrappers -= 1,
                }
            }
        }
        self.forget_name();
        self.close();
    }

    fn add(&mut self, text: &str) {
        if self.skipping > 0 || self.closed {
            return;
        }
        if self.text.len() + text.len() > limits::VALUE {
            self.cut = true;
        } else {
            self.text.push_str(text);
        }
    }

    fn close(&mut self) {
        if self.skipping > 0 {
            self.skipping -= 1;
            return;
        }
        let Some(el) = self.stack.pop() else {
            self.wrappers = self.wrappers.saturating_sub(1);
            return;
        };
        let text = std::mem::take(&mut self.text);
        if self.cut {
            self.error(format!("a value of more than {} octets was not read", limits::VALUE));
            self.cut = false;
        }
        self.leaf(el, text.trim());
        self.text = text;
        self.text.clear();
    }

    fn leaf(&mut self, el: El, text: &str) {
        let parsed = &mut self.parsed;
        match el {
            El::OrgName => first(&mut parsed.org, text, 255),
            El::Email => first(&mut parsed.email, text, 320),
            El::ReportId => first(&mut parsed.id, text, 255),
            El::ReporterError => {
                let text = clean(text, 200).into_owned();
                self.note(|| format!("the reporter says: {text}"));
            }
            El::Begin => self.time("begin", text),
            El::End => self.time("end", text),
            El::Domain => match text.parse() {
                Ok(domain) if parsed.domain.is_none() => parsed.domain = Some(domain),
                Ok(domain) if parsed.domain.as_ref() == Some(&domain) => {}
                Ok(domain) => self.error(format!("it is about {domain} as well, which cannot be")),
                Err(error) => self.error(format!("the domain of the policy: {error}")),
            },
            El::P => parsed.published.policy = parsed.published.policy.or(policy(text)),
            El::Sp => parsed.published.subdomains = policy(text),
            El::Np => parsed.published.nonexistent = policy(text),
            El::Pct => parsed.published.percent = text.parse().ok().filter(|percent| *percent <= 100),
            El::Testing => parsed.published.testing = Some(text.eq_ignore_ascii_case("y")),
            El::In(part) => self.draft.close(part, text),
            El::Record => self.record(),
            El::Feedback => self.closed = true,
            El::Metadata | El::Range | El::Policy | El::Ignored => {}
        }
    }

    fn record(&mut self) {
        let number = self.parsed.records + self.lost + 1;
        match self.draft.finish() {
            Ok((outcome, count)) => {
                let parsed = &mut self.parsed;
                if !parsed.rows.add(&self.draft, outcome, count) {
                    self.lost += 1;
                    return self.error(format!("record {number}: the report has more different rows than are kept"));
                }
                parsed.records += 1;
                parsed.messages = parsed.messages.saturating_add(count);
                if outcome.aligned() {
                    parsed.aligned = parsed.aligned.saturating_add(count);
                }
                self.draft.digest(outcome, count, &mut self.hasher);
                if let Some(odd) = self.draft.odd.take() {
                    self.error(format!("record {number}: {odd}"));
                }
            }
            Err(why) => {
                self.lost += 1;
                self.error(format!("record {number} was not read: {why}"));
            }
        }
    }

    fn time(&mut self, what: &'static str, text: &str) {
        let place = if what == "begin" { &mut self.parsed.begin } else { &mut self.parsed.end };
        match (whole_number(text, LATEST).filter(|at| *at >= EARLIEST), &place) {
            (Some(at), None) => *place = Some(Time::from_unix(at as i64)),
            (Some(at), Some(before)) if before.unix() == at as i64 => {}
            (Some(_), Some(_)) => self.error(format!("it names two different times for <{what}>")),
            (None, _) => {
                let seen = clean(text, 40).into_owned();
                self.error(format!("<{what}> is `{seen}`, not whole seconds since 1970, up to 2100"));
            }
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

/// A second after 1970-01-01, since zero is what becomes of a time that nobody read, and 2100-01-01. The report that
/// RFC 9990 shows is of 1975.
const EARLIEST: u64 = 1;
const LATEST: u64 = 4_102_444_800;

/// ASCII digits alone, and no more than `most`: `1.0`, `-1`, `1e3` and `0x1` are no numbers.
fn whole_number(text: &str, most: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= most)
}

/// A name without its case, and without more of it than anybody compares.
fn lower(name: &str) -> std::borrow::Cow<'_, str> {
    const LONGEST: usize = 255;
    let name = if name.len() <= LONGEST { name } else { &name[..name.floor_char_boundary(LONGEST)] };
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}

fn policy(text: &str) -> Option<Policy> {
    Policy::ALL.into_iter().find(|policy| text.eq_ignore_ascii_case(policy.as_str()))
}

fn first(place: &mut String, text: &str, longest: usize) {
    if place.is_empty() {
        place.push_str(&clean(text, longest));
    }
}

fn child(parent: El, name: &str) -> Option<El> {
    Some(match (parent, name) {
        (El::Feedback, "report_metadata") => El::Metadata,
        (El::Feedback, "policy_published") => El::Policy,
        (El::Feedback, "record") => El::Record,
        (El::Feedback, "version") => El::Ignored,
        (El::Metadata, "org_name") => El::OrgName,
        (El::Metadata, "email") => El::Email,
        (El::Metadata, "report_id") => El::ReportId,
        (El::Metadata, "date_range") => El::Range,
        (El::Metadata, "error") => El::ReporterError,
        (El::Range, "begin") => El::Begin,
        (El::Range, "end") => El::End,
        (El::Policy, "domain") => El::Domain,
        (El::Policy, "p") => El::P,
        (El::Policy, "sp") => El::Sp,
        (El::Policy, "np") => El::Np,
        (El::Policy, "pct") => El::Pct,
        (El::Policy, "testing" | "t") => El::Testing,
        (El::Record, name) => El::In(record::Part::below(None, name)?),
        (El::In(part), name) => El::In(record::Part::below(Some(part), name)?),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "xml_tests.rs"]
mod tests;
