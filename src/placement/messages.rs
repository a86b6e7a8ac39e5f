//! Messages from files: `.eml`, mbox, maildir, directories, standard input. Of each, the header alone is kept.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::mail::header::MOST_OCTETS;

/// The header of a message, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub name: String,
    /// The folder, where the place tells.
    pub folder: Option<String>,
    pub header: Vec<u8>,
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {why}")]
pub struct Unreadable {
    pub name: String,
    pub why: String,
}

pub type Found = Result<Message, Unreadable>;

/// So many messages are read in one go.
const MOST_MESSAGES: usize = 100_000;

/// Everything in a file or a directory.
pub fn at(path: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    if path.is_dir() {
        directory(path, None, &mut found)
    } else {
        file(path, None, &mut found)
    }
    found
}

/// Standard input, or anything else that flows.
pub fn stream(name: &str, input: impl Read) -> Vec<Found> {
    let mut found = Vec::new();
    split(name, None, &mut BufReader::new(input), &mut found);
    found
}

/// A maildir's folders are directories that begin with a dot (Maildir++); what lies in `tmp` was not delivered yet.
fn directory(dir: &Path, folder: Option<&str>, found: &mut Vec<Found>) {
    let name = dir.display().to_string();
    let mut entries: Vec<_> = match fs::read_dir(dir) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(error) => return found.push(Err(Unreadable { name, why: format!("it cannot be listed: {error}") })),
    };
    entries.sort();
    let is_maildir = dir.join("cur").is_dir();
    let folder = folder.or(is_maildir.then_some("INBOX"));
    for entry in entries {
        let file_name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_link = fs::symlink_metadata(&entry).is_ok_and(|seen| seen.is_symlink());
        match file_name.strip_prefix('.') {
            Some(below) if is_maildir && entry.is_dir() && !is_link => directory(&entry, Some(below), found),
            Some(_) => {}
            None if is_maildir && !matches!(file_name.as_str(), "cur" | "new") => {}
            // A link to a directory may lead in a circle.
            None if entry.is_dir() && is_link => {}
            None if entry.is_dir() => directory(&entry, folder, found),
            None => file(&entry, folder, found),
        }
    }
}

fn file(path: &Path, folder: Option<&str>, found: &mut Vec<Found>) {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => split(&name, folder, &mut BufReader::new(file), found),
        Err(error) => found.push(Err(Unreadable { name, why: format!("it cannot be opened: {error}") })),
    }
}

/// One message, or an mbox: there a line `From ` after an empty line begins the next one.
fn split(name: &str, folder: Option<&str>, input: &mut dyn BufRead, found: &mut Vec<Found>) {
    const LINE: u64 = 64 << 10;
    let mut line = Vec::new();
    let mut header: Vec<u8> = Vec::new();
    let (mut in_header, mut after_empty, mut at_start) = (true, true, true);
    let (mut is_mbox, mut number) = (false, 0usize);
    let mut keep = |header: &mut Vec<u8>, number: usize, is_mbox: bool| {
        let name = if is_mbox { format!("{name}#{number}") } else { name.to_owned() };
        let header = std::mem::take(header);
        let has_fields = header.contains(&b':');
        found.push(match has_fields {
            true => Ok(Message { name, folder: folder.map(str::to_owned), header }),
            false => Err(Unreadable { name, why: "it has no header fields, so it is no message".to_owned() }),
        });
    };
    loop {
        line.clear();
        match read_line(input, LINE, &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                let name = name.to_owned();
                return found.push(Err(Unreadable { name, why: format!("it cannot be read: {error}") }));
            }
        }
        if at_start && after_empty && line.starts_with(b"From ") && (is_mbox || number == 0) {
            if number > 0 {
                keep(&mut header, number, true);
            }
            if number == MOST_MESSAGES {
                let why = format!("what comes after the first {MOST_MESSAGES} messages was not read");
                return found.push(Err(Unreadable { name: name.to_owned(), why }));
            }
            (is_mbox, in_header, number) = (true, true, number + 1);
        } else {
            number = number.max(1);
            if at_start && line.trim_ascii().is_empty() {
                // An empty line before any field is what a paste begins with.
                in_header &= header.is_empty();
            } else if in_header && header.len() < MOST_OCTETS {
                header.extend_from_slice(&line);
            }
        }
        after_empty = at_start && line.trim_ascii().is_empty();
        at_start = line.ends_with(b"\n");
    }
    keep(&mut header, number, is_mbox);
}

fn read_line(input: &mut dyn BufRead, most: u64, line: &mut Vec<u8>) -> io::Result<usize> {
    input.take(most).read_until(b'\n', line)
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
