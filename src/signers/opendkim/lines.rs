//! The lines of a flat-file data set (opendkim(8), DATA SETS): every octet is kept, and rows are looked into.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A whole file, line by line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lines(Vec<Line>);

/// One line with its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    bytes: Vec<u8>,
    row: Option<Row>,
}

/// Where the key and the value stand in a line that is a row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    key: Range<usize>,
    value: Range<usize>,
}

impl Lines {
    pub fn parse(bytes: &[u8]) -> Lines {
        Lines(bytes.split_inclusive(|&byte| byte == b'\n').map(|line| Line::new(line.to_vec())).collect())
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|line| &line.bytes).copied().collect()
    }

    pub fn get(&self, index: usize) -> &Line {
        &self.0[index]
    }

    /// The lines that are rows, with their index from 0.
    pub fn rows(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.0.iter().enumerate().filter(|(_, line)| line.row.is_some())
    }

    /// Drops the lines in `gone`, and puts new rows in front of the lines they are filed under; what is filed under
    /// the number of lines comes last. Line ends are the file's own.
    pub fn edit(&mut self, gone: &BTreeSet<usize>, mut inserts: BTreeMap<usize, Vec<String>>) {
        let end = if self.0.iter().any(|line| line.bytes.ends_with(b"\r\n")) { "\r\n" } else { "\n" };
        let mut edited: Vec<Line> = Vec::with_capacity(self.0.len());
        let add = |edited: &mut Vec<Line>, rows: Option<Vec<String>>| {
            for row in rows.into_iter().flatten() {
                if let Some(last) = edited.last_mut().filter(|last| !last.bytes.ends_with(b"\n")) {
                    last.bytes.extend_from_slice(end.as_bytes());
                }
                edited.push(Line::new(format!("{row}{end}").into_bytes()));
            }
        };
        for (index, line) in std::mem::take(&mut self.0).into_iter().enumerate() {
            add(&mut edited, inserts.remove(&index));
            if !gone.contains(&index) {
                edited.push(line);
            }
        }
        inserts.into_values().for_each(|rows| add(&mut edited, Some(rows)));
        self.0 = edited;
    }

    /// The number of lines, rows or not.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts `text` in place of the first field of a row's value; pattern, second field and comment stay.
    pub fn replace_first_field(&mut self, index: usize, text: &str) {
        let line = &mut self.0[index];
        if let Some(row) = &line.row {
            let field = row.value.start..row.value.start + line.field(0).len();
            let mut bytes = line.bytes.clone();
            bytes.splice(field, text.bytes());
            *line = Line::new(bytes);
        }
    }
}

impl Line {
    fn new(bytes: Vec<u8>) -> Line {
        let row = find_row(&bytes);
        Line { bytes, row }
    }

    /// What the row is found by; empty for a line that is no row.
    pub fn key(&self) -> &[u8] {
        self.row.as_ref().map_or(&[], |row| &self.bytes[row.key.clone()])
    }

    /// The fields of the value: separated by colons.
    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let value = self.row.as_ref().map_or(&self.bytes[..0], |row| &self.bytes[row.value.clone()]);
        value.split(|&byte| byte == b':')
    }

    /// A field of the value without white space around it.
    pub fn field(&self, index: usize) -> &[u8] {
        self.fields().nth(index).unwrap_or_default().trim_ascii()
    }

    /// The line for people: without its line end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).trim_end().to_owned()
    }
}

/// A row is `key white-space value`; a `#` anywhere starts a comment, blank lines count for nothing.
fn find_row(line: &[u8]) -> Option<Row> {
    let end = line.iter().position(|&byte| byte == b'#').unwrap_or(line.len());
    let start = line[..end].iter().position(|byte| !is_space(*byte))?;
    let end = line[..end].iter().rposition(|byte| !is_space(*byte))? + 1;
    let key_end = line[start..end].iter().position(|byte| is_space(*byte)).map_or(end, |length| start + length);
    let value = line[key_end..end].iter().position(|byte| !is_space(*byte)).map_or(end, |gap| key_end + gap);
    Some(Row { key: start..key_end, value: value..end })
}

/// isspace(3) in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}
