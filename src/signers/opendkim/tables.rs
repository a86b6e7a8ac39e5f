//! KeyTable and SigningTable (opendkim.conf(5)): read, edited by row, written back with everything foreign as it was.
//!
//! Two rules hold the pair together, because two files cannot be swapped in one instant:
//!
//! - the KeyTable is always a superset: a key is added before a SigningTable row names it, and a key that a
//!   SigningTable row names is never removed;
//! - a domain's SigningTable row is *replaced*, never appended to: OpenDKIM takes the first match, so an appended row
//!   would go on signing with the old key. An empty SigningTable is never written: with it, mail leaves unsigned.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use dkimctl_state::name::SigningDomain;

use super::lines::Lines;
use crate::signers::{KeyName, LoadedKey, probe};

/// Names of keys, and where each key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTable {
    lines: Lines,
    by_name: BTreeMap<String, usize>,
}

/// One row of a KeyTable: `name domain:selector:key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRow<'a> {
    pub name: &'a str,
    /// The `d=`; `%` stands for the sender's own domain.
    pub domain: &'a str,
    /// The `s=`.
    pub selector: &'a str,
    /// A path, or a key itself: then `None`, because a private key is not carried around.
    pub path: Option<&'a Path>,
}

/// Which key signs for which address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningTable {
    lines: Lines,
    lookup: Lookup,
}

/// How OpenDKIM looks into a SigningTable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// `file:`: literal keys, asked from the most specific address to the least. A `*@` in a row is two literal
    /// characters that match nothing.
    Exact,
    /// `refile:`: wildcard patterns over the address, in the order of the lines.
    Pattern,
}

/// Why a table is not understood, or an edit is not made. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error(
        "KeyTable line {line}: `{name}` has {fields} fields where `name domain:selector:path` is wanted; \
             OpenDKIM answers 451 to all mail of such a row: correct the line"
    )]
    Fields { line: usize, name: String, fields: usize },
    #[error(
        "KeyTable line {line}: the name `{name}` stands in line {first} already, so one of the two keys is \
             never used: remove or rename one"
    )]
    Duplicate { line: usize, first: usize, name: String },
    #[error("{table} line {line} is not UTF-8, so no name in it can be compared: correct the line")]
    NotText { table: &'static str, line: usize },
    #[error(
        "KeyTable line {line}: `{name}` is another key already ({seen}); a key's name is never used again: \
             remove that line if it is not in use"
    )]
    NameTaken { line: usize, name: String, seen: String },
    #[error(
        "the key path `{0}` has a character that a KeyTable cannot carry (white space, `#`, `:` or `%`), or is \
             not absolute: choose another key directory"
    )]
    Path(String),
    #[error(
        "SigningTable line {line}: `{row}` comes first for mail of {domain}, so the row for {domain} would never \
             be used: move line {line} below it or remove it"
    )]
    Shadowed { line: usize, row: String, domain: SigningDomain },
    #[error("`{name}` is not in the KeyTable; a SigningTable row that names it makes OpenDKIM answer 451 to {domain}")]
    NoSuchKey { name: KeyName, domain: SigningDomain },
    #[error("SigningTable line {line} still signs with `{name}`, so the key stays: switch that row first")]
    InUse { line: usize, name: KeyName },
    #[error("the SigningTable would be left without a row, and all mail would leave unsigned: it is left as it is")]
    WouldBeEmpty,
    #[error(
        "{count} keys are to sign for {domain}, but OpenDKIM applies only the first match: \
             set `MultipleSignatures yes`"
    )]
    SingleSignature { domain: SigningDomain, count: usize },
}

impl KeyTable {
    pub fn parse(bytes: &[u8]) -> Result<KeyTable, TableError> {
        let lines = Lines::parse(bytes);
        let mut by_name = BTreeMap::new();
        for (index, row) in lines.rows() {
            let line = index + 1;
            let not_text = |_| TableError::NotText { table: "KeyTable", line };
            let name = std::str::from_utf8(row.key()).map_err(not_text)?.to_owned();
            let fields: Vec<&[u8]> = row.fields().collect();
            if fields.len() != 3 || fields.iter().any(|field| field.trim_ascii().is_empty()) {
                return Err(TableError::Fields { line, name, fields: fields.len() });
            }
            for field in fields {
                std::str::from_utf8(field).map_err(not_text)?;
            }
            if let Some(first) = by_name.insert(name.clone(), index) {
                return Err(TableError::Duplicate { line, first: first + 1, name });
            }
        }
        Ok(KeyTable { lines, by_name })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.to_bytes()
    }

    pub fn get(&self, name: &str) -> Option<KeyRow<'_>> {
        self.by_name.get(name).map(|&index| self.row(index))
    }

    pub fn rows(&self) -> impl Iterator<Item = KeyRow<'_>> {
        self.by_name.values().map(|&index| self.row(index))
    }

    /// Adds the keys that are not there yet, as one block at the end.
    pub fn add(&mut self, keys: &[LoadedKey]) -> Result<(), TableError> {
        let known: HashSet<(String, String, &Path)> = self
            .rows()
            .filter_map(|row| Some((row.domain.to_ascii_lowercase(), row.selector.to_ascii_lowercase(), row.path?)))
            .collect();
        let mut added = BTreeMap::new();
        for key in keys {
            let name = own_name(key);
            let path = writable_path(&key.path)?;
            if known.contains(&(key.domain.as_str().into(), key.selector.as_str().into(), &*key.path)) {
                continue;
            }
            if let Some(row) = self.get(name.as_str()) {
                let seen = format!("{}:{}", row.domain, row.selector);
                let line = self.by_name[name.as_str()] + 1;
                return Err(TableError::NameTaken { line, name: name.to_string(), seen });
            }
            added.insert(name.to_string(), format!("{name} {}:{}:{path}", key.domain, key.selector));
        }
        drop(known);
        let end = self.lines.len();
        for (offset, name) in added.keys().enumerate() {
            self.by_name.insert(name.clone(), end + offset);
        }
        self.lines.edit(&BTreeSet::new(), BTreeMap::from([(end, added.into_values().collect())]));
        Ok(())
    }

    /// Removes rows, unless `signing` still names one of them. Names that are not there are no error.
    pub fn remove(&mut self, names: &[KeyName], signing: &SigningTable) -> Result<(), TableError> {
        let used = signing.used();
        if let Some((name, line)) = names.iter().find_map(|name| Some((name, *used.get(name.as_str())?))) {
            return Err(TableError::InUse { line: line + 1, name: name.clone() });
        }
        let gone = names.iter().filter_map(|name| self.by_name.get(name.as_str()).copied()).collect();
        self.lines.edit(&gone, BTreeMap::new());
        *self = KeyTable::parse(&self.to_bytes())?;
        Ok(())
    }

    fn row(&self, index: usize) -> KeyRow<'_> {
        let line = self.lines.get(index);
        // `parse` and `add` let only UTF-8 in.
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        let key = text(line.field(2));
        let is_path = ["/", "./", "../"].iter().any(|start| key.starts_with(start));
        KeyRow {
            name: text(line.key()),
            domain: text(line.field(0)),
            selector: text(line.field(1)),
            path: is_path.then(|| Path::new(key)),
        }
    }
}

impl SigningTable {
    pub fn parse(bytes: &[u8], lookup: Lookup) -> Result<SigningTable, TableError> {
        let lines = Lines::parse(bytes);
        for (index, row) in lines.rows() {
            if std::str::from_utf8(row.key()).is_err() || std::str::from_utf8(row.field(0)).is_err() {
                return Err(TableError::NotText { table: "SigningTable", line: index + 1 });
            }
        }
        Ok(SigningTable { lines, lookup })
    }

    /// The table as it is to be written. Never empty.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TableError> {
        if self.lines.rows().next().is_none() {
            return Err(TableError::WouldBeEmpty);
        }
        Ok(self.lines.to_bytes())
    }

    /// The names of the keys that each domain's own rows point at, in the order of the lines: what `point` replaces.
    pub fn signing(&self, keys: &KeyTable) -> BTreeMap<SigningDomain, Vec<KeyName>> {
        let mut signing: BTreeMap<SigningDomain, Vec<KeyName>> = BTreeMap::new();
        for (_, line) in self.lines.rows() {
            if let Some(domain) = self.own_domain(text(line.key())) {
                let name = text(line.field(0));
                if signs_for(&domain, name, keys) {
                    signing.entry(domain).or_default().push(KeyName::new(name));
                }
            }
        }
        signing
    }

    /// The key that every row names, with the row's line from 1.
    pub fn named(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.rows().map(|(index, line)| (index + 1, text(line.field(0))))
    }

    /// Rows with `*` in a table whose rows are literal: they match nothing, and mail leaves unsigned.
    pub fn dead_wildcards(&self) -> Vec<usize> {
        let dead = |key: &[u8]| self.lookup == Lookup::Exact && key.starts_with(b"*@");
        self.lines.rows().filter(|(_, line)| dead(line.key())).map(|(index, _)| index + 1).collect()
    }

    /// Points every domain's rows at these keys; no keys at all takes the domain's rows away.
    ///
    /// A row that exists is changed in place: its pattern, its second field (`i=`) and its comment stay. A row that
    /// does not exist is put at the end, or in front of the first row that would otherwise come first. Rows of
    /// other domains, and rows whose key signs for another `d=`, are left alone.
    pub fn point(
        &mut self,
        wanted: &[(SigningDomain, Vec<KeyName>)],
        keys: &KeyTable,
        multiple: bool,
    ) -> Result<(), TableError> {
        let mut own: HashMap<SigningDomain, Vec<usize>> = HashMap::new();
        // Patterns that are not one whole domain may cover any domain; there are few of them.
        let mut broad: Vec<(usize, &str)> = Vec::new();
        for (index, line) in self.lines.rows() {
            let key = text(line.key());
            match self.own_domain(key) {
                Some(domain) => own.entry(domain).or_default().push(index),
                None => broad.push((index, key)),
            }
        }

        let mut renames: Vec<(usize, &KeyName)> = Vec::new();
        let mut gone: BTreeSet<usize> = BTreeSet::new();
        let mut inserts: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (domain, names) in wanted {
            if names.len() > 1 && !multiple {
                return Err(TableError::SingleSignature { domain: domain.clone(), count: names.len() });
            }
            if let Some(name) = names.iter().find(|name| keys.get(name.as_str()).is_none()) {
                return Err(TableError::NoSuchKey { name: name.clone(), domain: domain.clone() });
            }
            let all = own.get(domain).map(Vec::as_slice).unwrap_or_default();
            let (ours, others): (Vec<usize>, Vec<usize>) =
                all.iter().copied().partition(|&index| signs_for(domain, text(self.lines.get(index).field(0)), keys));
            let covering = broad.iter().filter(|(_, key)| self.covers(key, domain)).map(|&(index, _)| index);
            let first_covering = if multiple { None } else { others.into_iter().chain(covering).min() };

            if let (Some(covering), Some(&row)) = (first_covering, ours.first())
                && covering < row
                && !names.is_empty()
            {
                let row = self.lines.get(covering).text();
                return Err(TableError::Shadowed { line: covering + 1, row, domain: domain.clone() });
            }
            renames.extend(ours.iter().copied().zip(names));
            gone.extend(ours.iter().skip(names.len()));
            let after_last = ours.last().map(|last| last + 1);
            let place = after_last.or(first_covering).unwrap_or(self.lines.len());
            let new = names.iter().skip(ours.len()).map(|name| format!("{} {name}", self.pattern(domain)));
            inserts.entry(place).or_default().extend(new);
        }

        for (index, name) in renames {
            self.lines.replace_first_field(index, name.as_str());
        }
        self.lines.edit(&gone, inserts);
        Ok(())
    }

    /// Every key name that any row points at, and the first line that does.
    fn used(&self) -> HashMap<&str, usize> {
        let mut used = HashMap::new();
        for (index, line) in self.lines.rows() {
            used.entry(text(line.field(0))).or_insert(index);
        }
        used
    }

    /// The domain, if this row's key covers exactly one whole domain in this kind of table.
    fn own_domain(&self, key: &str) -> Option<SigningDomain> {
        let name = match self.lookup {
            Lookup::Exact => key,
            Lookup::Pattern => key.strip_prefix("*@")?,
        };
        name.parse().ok().filter(|domain: &SigningDomain| domain.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether mail of any mailbox at `domain` falls to this row before it reaches a row of the domain's own.
    fn covers(&self, key: &str, domain: &SigningDomain) -> bool {
        match self.lookup {
            // `file:` asks user@host, then host: only rows for single mailboxes come before a domain's own row.
            Lookup::Exact => false,
            Lookup::Pattern => key == "%" || matches(key, &format!("{}@{domain}", probe::MAILBOX)),
        }
    }

    fn pattern(&self, domain: &SigningDomain) -> String {
        match self.lookup {
            Lookup::Exact => domain.to_string(),
            Lookup::Pattern => format!("*@{domain}"),
        }
    }
}

/// The name that we give a key: its fingerprint first, because a selector serves again one day and a name never does.
pub fn own_name(key: &LoadedKey) -> KeyName {
    KeyName::new(format!("{}.{}._domainkey.{}", key.fingerprint.short(), key.selector, key.domain))
}

/// What `plan` shows: the lines that go and the lines that come, in the order of the file.
pub fn diff(old: &[u8], new: &[u8]) -> Vec<String> {
    let split = |bytes: &[u8]| -> Vec<String> { String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect() };
    let (old, new) = (split(old), split(new));
    let (in_old, in_new): (HashSet<&String>, HashSet<&String>) = (old.iter().collect(), new.iter().collect());
    let mut out = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => (i, j) = (i + 1, j + 1),
            (Some(a), b) if b.is_none() || !in_new.contains(a) => {
                out.push(format!("-{a}"));
                i += 1;
            }
            (a, Some(b)) if a.is_none() || !in_old.contains(b) => {
                out.push(format!("+{b}"));
                j += 1;
            }
            (Some(a), Some(b)) => {
                out.extend([format!("-{a}"), format!("+{b}")]);
                (i, j) = (i + 1, j + 1);
            }
            _ => break,
        }
    }
    out
}

/// A row is the domain's own if its key signs with the domain as `d=`, or is in no KeyTable (then it only breaks mail).
fn signs_for(domain: &SigningDomain, name: &str, keys: &KeyTable) -> bool {
    keys.get(name).is_none_or(|row| row.domain == "%" || row.domain.eq_ignore_ascii_case(domain.as_str()))
}

/// `*` stands for any text, everything else for itself, whatever the case.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn writable_path(path: &Path) -> Result<&str, TableError> {
    let refused = || TableError::Path(path.display().to_string());
    let text = path.to_str().ok_or_else(refused)?;
    let bad = |c: char| c.is_whitespace() || c.is_control() || "#:%".contains(c);
    if !path.is_absolute() || text.contains(bad) { Err(refused()) } else { Ok(text) }
}

/// `parse` let only UTF-8 in.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
