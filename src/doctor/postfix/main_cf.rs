//! main.cf and master.cf as they are written (postconf(5), master(5)).

/// A main.cf, line by logical line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MainCf {
    pub entries: Vec<Entry>,
    /// Lines that Postfix refuses to start with: no `=`, or a continuation of nothing.
    pub broken: Vec<(u32, String)>,
}

/// `name = value`; the last one of a name counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub value: String,
    pub line: u32,
}

impl MainCf {
    pub fn parse(text: &str) -> MainCf {
        let mut main = MainCf::default();
        for (line, text) in logical_lines(text) {
            match text.split_once('=') {
                Some((name, value)) if !name.trim().is_empty() && !text.starts_with(char::is_whitespace) => {
                    let entry = Entry { name: name.trim().to_owned(), value: value.trim().to_owned(), line };
                    main.entries.push(entry);
                }
                _ => main.broken.push((line, text.trim().to_owned())),
            }
        }
        main
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().rfind(|entry| entry.name == name)
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(|entry| entry.value.as_str())
    }

    /// A value with the parameters of this file put in; `None` where one of them is not here.
    pub fn expanded(&self, name: &str) -> Option<String> {
        self.expand(self.value(name)?, 0)
    }

    fn expand(&self, value: &str, depth: usize) -> Option<String> {
        let mut out = String::new();
        let mut rest = value;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let (name, after) = reference(&rest[at..])?;
            // `${name?text}` and the like are conditions.
            if depth >= 8 || name.contains(['?', ':', '=', '<', '>', '!']) {
                return None;
            }
            out.push_str(&self.expand(self.value(name)?, depth + 1)?);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    /// References that only an environment could fill: `${SMTP_USER}`. Every parameter of Postfix itself is written
    /// small, so a name in capitals is one of its own only if this file defines it.
    pub fn from_environment(&self) -> Vec<(&Entry, String)> {
        let mut found = Vec::new();
        for entry in &self.entries {
            for name in references(&entry.value) {
                let capitals = name.chars().any(|c| c.is_ascii_uppercase());
                let shouts = capitals && !name.chars().any(|c| c.is_ascii_lowercase());
                if shouts && self.get(&name).is_none() {
                    found.push((entry, name));
                }
            }
        }
        found
    }
}

/// The names that a value refers to.
pub fn references(value: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        rest = &rest[at..];
        // `$$` is a dollar.
        if let Some(after) = rest.strip_prefix("$$") {
            rest = after;
            continue;
        }
        match reference(rest) {
            Some((inner, after)) => {
                let name: &str = inner.split(['?', ':']).next().unwrap_or(inner).trim();
                if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    names.push(name.to_owned());
                }
                // Inside a condition there may be more.
                names.extend(references(inner));
                rest = after;
            }
            None => rest = &rest[1..],
        }
    }
    names
}

/// `$name`, `${name}` or `$(name)` at the beginning: what stands inside, and what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('$')?;
    for (open, close) in [('{', '}'), ('(', ')')] {
        if let Some(inner) = rest.strip_prefix(open) {
            let mut depth = 0usize;
            for (at, c) in inner.char_indices() {
                if c == open {
                    depth += 1;
                } else if c == close && depth == 0 {
                    return Some((&inner[..at], &inner[at + close.len_utf8()..]));
                } else if c == close {
                    depth -= 1;
                }
            }
            return None;
        }
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    (end > 0).then(|| rest.split_at(end))
}

/// Lines with what continues them: a line that begins with white space goes on with the one before, comments and
/// empty lines between do not end it.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut lines: Vec<(u32, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        match lines.last_mut() {
            Some((_, before)) if line.starts_with([' ', '\t']) => {
                before.push(' ');
                before.push_str(trimmed);
            }
            // A continuation of nothing is kept as it is, to be found broken.
            _ => lines.push((number, line.trim_end().to_owned())),
        }
    }
    lines
}

/// One service of a master.cf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterService {
    pub name: String,
    pub kind: String,
    /// The fifth column: `y`, `n`, or `-` for the default.
    pub chroot: String,
    pub command: String,
    pub line: u32,
}

/// The services that a master.cf starts.
pub fn master_cf(text: &str) -> Vec<MasterService> {
    let service = |(line, text): (u32, String)| {
        let mut words = text.split_whitespace();
        let (name, kind) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (_private, _unprivileged, chroot) = (words.next()?, words.next()?, words.next()?.to_owned());
        let (_wakeup, _most) = (words.next()?, words.next()?);
        let command = words.collect::<Vec<_>>().join(" ");
        (!command.is_empty()).then_some(MasterService { name, kind, chroot, command, line })
    };
    logical_lines(text).into_iter().filter_map(service).collect()
}

#[cfg(test)]
#[path = "main_cf_tests.rs"]
mod tests;
