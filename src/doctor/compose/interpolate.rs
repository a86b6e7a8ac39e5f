//! `${VARIABLE:-default}` in Compose files. A variable that nobody sets here may well be set where the project runs,
//! so what depends on it is not known: that is a value of its own.

use std::collections::BTreeMap;

/// A text after interpolation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Text {
    /// What is known of it; [`UNKNOWN`] stands where something is not.
    pub text: String,
    /// The variables that nobody sets.
    pub unresolved: Vec<String>,
}

/// Stands for a part that is not known.
pub const UNKNOWN: char = '\u{fffd}';

/// Deeper than anybody nests defaults.
const DEEPEST: usize = 16;

impl Text {
    /// The text, if all of it is known.
    pub fn known(&self) -> Option<&str> {
        self.unresolved.is_empty().then_some(self.text.as_str())
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut unresolved = self.unresolved.iter();
        for c in self.text.chars() {
            match c {
                UNKNOWN => write!(f, "${{{}}}", unresolved.next().map_or("?", String::as_str))?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// What Compose makes of a text with these variables.
pub fn interpolate(text: &str, variables: &BTreeMap<String, String>) -> Text {
    let mut out = Text::default();
    expand(text, variables, &mut out, 0);
    out
}

fn expand(text: &str, variables: &BTreeMap<String, String>, out: &mut Text, depth: usize) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.text.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let Some(end) = closing(inner) else {
                out.text.push('$');
                continue;
            };
            braced(&inner[..end], variables, out, depth);
            rest = &inner[end + 1..];
        } else {
            let end = name_end(rest);
            if end == 0 {
                out.text.push('$');
            } else {
                value(&rest[..end], variables, out);
                rest = &rest[end..];
            }
        }
    }
    out.text.push_str(rest);
}

/// `NAME`, `NAME:-default`, `NAME-default`, `NAME:?error`, `NAME?error`, `NAME:+other`, `NAME+other`.
fn braced(inner: &str, variables: &BTreeMap<String, String>, out: &mut Text, depth: usize) {
    let end = name_end(inner);
    let (name, operation) = inner.split_at(end);
    let set = variables.get(name);
    let not_empty = set.filter(|value| !value.is_empty());
    // A default is taken where the variable is not set in any file: it is what the author meant.
    let (known, word, other) = if let Some(word) = operation.strip_prefix(":-") {
        (not_empty, word, false)
    } else if let Some(word) = operation.strip_prefix('-') {
        (set, word, false)
    } else if let Some(word) = operation.strip_prefix(":+") {
        (not_empty, word, true)
    } else if let Some(word) = operation.strip_prefix('+') {
        (set, word, true)
    } else {
        return value(name, variables, out);
    };
    match (known, other) {
        (Some(value), false) => out.text.push_str(value),
        (Some(_), true) | (None, false) if depth < DEEPEST => expand(word, variables, out, depth + 1),
        _ => unknown(name, out),
    }
}

fn value(name: &str, variables: &BTreeMap<String, String>, out: &mut Text) {
    match variables.get(name) {
        Some(value) => out.text.push_str(value),
        None => unknown(name, out),
    }
}

fn unknown(name: &str, out: &mut Text) {
    out.text.push(UNKNOWN);
    out.unresolved.push(name.to_owned());
}

fn name_end(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// The brace that closes, with those between balanced.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// The variables of a `.env` file.
pub fn variables(text: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        if line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim();
        if !name.is_empty() && name_end(name) == name.len() {
            variables.insert(name.to_owned(), unquoted(value.trim()).to_owned());
        }
    }
    variables
}

/// Without quotes, or without the comment that follows.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote)
            && let Some(end) = inner.find(quote)
        {
            return &inner[..end];
        }
    }
    value.find(" #").map_or(value, |comment| value[..comment].trim_end())
}

#[cfg(test)]
#[path = "interpolate_tests.rs"]
mod tests;
