//! YAML as far as Compose files use it: a tree in which every node knows where it stands.

use std::fmt;
use std::thread;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Spanned, Tagged};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub value: Value,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    /// Numbers and Booleans too: Compose itself makes texts of nearly all of them.
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    /// `!reset`: what the files before said of it does not hold.
    Reset,
    /// `!override`: replaces, where a merge would add.
    Override(Box<Value>),
}

/// Which file of a project, and where in it, from 1; line 0 is "somewhere".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Origin {
    pub file: u16,
    pub line: u32,
    pub column: u32,
}

/// Text that is no YAML, or more than anybody writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    pub line: Option<u32>,
    pub column: Option<u32>,
    pub why: String,
}

/// Deeper than any Compose file.
const DEEPEST: usize = 48;
/// The parser goes down with the text: what it needs for that does not depend on who calls.
const STACK: usize = 32 << 20;

/// Reads the first document of a text, as the `file`th of a project.
pub fn parse(text: &str, file: u16) -> Result<Node, YamlError> {
    thread::scope(|scope| {
        let reader = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || parse_here(text, file));
        let read = reader.ok().and_then(|reader| reader.join().ok());
        read.unwrap_or_else(|| Err(YamlError { line: None, column: None, why: "the parser gave up".to_owned() }))
    })
}

fn parse_here(text: &str, file: u16) -> Result<Node, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEEPEST,
            flow_nesting_limit: DEEPEST,
            max_documents: 8,
            // Real files repeat one anchor in every service.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
        },
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        // `on` and `yes` are words to Compose.
        strict_booleans: true,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    };
    let raw: Vec<Raw> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let at = error.location();
        let number = |number: u64| u32::try_from(number).ok().filter(|&number| number > 0);
        YamlError {
            line: at.and_then(|at| number(at.line())),
            column: at.and_then(|at| number(at.column())),
            why: one_line(&error.to_string()),
        }
    })?;
    let nothing = Node { value: Value::Null, origin: Origin { file, line: 1, column: 1 } };
    Ok(raw.into_iter().next().map_or(nothing, |raw| raw.into_node(file)))
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().find(|(name, _)| *name == key).map(|(_, node)| node)
    }

    /// The entries of a map; none of anything else.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
        let map = match self.plain() {
            Value::Map(map) => map.as_slice(),
            _ => &[],
        };
        map.iter().map(|(name, node)| (name.as_str(), node))
    }

    /// The elements of a list; none of anything else.
    pub fn elements(&self) -> &[Node] {
        match self.plain() {
            Value::List(list) => list,
            _ => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self.plain() {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_map(&self) -> bool {
        matches!(self.plain(), Value::Map(_))
    }

    /// A list's texts, or a single one.
    pub fn texts(&self) -> Vec<&str> {
        match self.text() {
            Some(text) => vec![text],
            None => self.elements().iter().filter_map(Node::text).collect(),
        }
    }

    fn plain(&self) -> &Value {
        match &self.value {
            Value::Override(value) => value,
            value => value,
        }
    }

    /// What a later file says on top of this one: maps are merged, lists are joined, everything else is replaced.
    pub fn merge(&mut self, over: Node) {
        match (&mut self.value, over.value) {
            (Value::Map(map), Value::Map(others)) => {
                for (key, other) in others {
                    match map.iter_mut().find(|(known, _)| *known == key) {
                        Some(_) if other.value == Value::Reset => map.retain(|(known, _)| *known != key),
                        Some((_, node)) => node.merge(other),
                        None if other.value == Value::Reset => {}
                        None => map.push((key, other)),
                    }
                }
            }
            (Value::List(list), Value::List(others)) => list.extend(others),
            (value, other) => {
                *value = other;
                self.origin = over.origin;
            }
        }
    }

    /// Takes over from `written` where each value stands, as far as the two have the same shape.
    pub fn placed_like(&mut self, written: &Node) {
        self.origin = written.origin;
        match &mut self.value {
            Value::Map(map) => {
                for (key, node) in map {
                    match written.get(key) {
                        Some(same) => node.placed_like(same),
                        None => node.placed_at(written.origin),
                    }
                }
            }
            Value::List(list) => {
                for (index, node) in list.iter_mut().enumerate() {
                    match written.elements().get(index) {
                        Some(same) => node.placed_like(same),
                        None => node.placed_at(written.origin),
                    }
                }
            }
            _ => {}
        }
    }

    /// Writes paths below `directory` as they are seen from there.
    pub fn relative_to(&mut self, directory: &str) {
        match &mut self.value {
            Value::Text(text) => {
                if let Some(rest) = text.strip_prefix(directory) {
                    match rest.strip_prefix('/') {
                        Some(below) => *text = format!("./{below}"),
                        None if rest.is_empty() => *text = ".".to_owned(),
                        None => {}
                    }
                }
            }
            Value::Map(map) => map.iter_mut().for_each(|(_, node)| node.relative_to(directory)),
            Value::List(list) => list.iter_mut().for_each(|node| node.relative_to(directory)),
            Value::Null | Value::Reset | Value::Override(_) => {}
        }
    }

    fn placed_at(&mut self, origin: Origin) {
        self.origin = origin;
        match &mut self.value {
            Value::Map(map) => map.iter_mut().for_each(|(_, node)| node.placed_at(origin)),
            Value::List(list) => list.iter_mut().for_each(|node| node.placed_at(origin)),
            _ => {}
        }
    }
}

/// A node as the parser gives it.
struct Raw {
    value: RawValue,
    tag: Option<String>,
    line: u64,
    column: u64,
}

enum RawValue {
    Null,
    Text(String),
    List(Vec<Raw>),
    Map(Vec<(String, Raw)>),
}

impl Raw {
    fn into_node(self, file: u16) -> Node {
        let small = |number: u64| u32::try_from(number).unwrap_or(0);
        let origin = Origin { file, line: small(self.line), column: small(self.column) };
        let value = match self.value {
            RawValue::Null => Value::Null,
            RawValue::Text(text) => Value::Text(text),
            RawValue::List(list) => Value::List(list.into_iter().map(|raw| raw.into_node(file)).collect()),
            RawValue::Map(map) => Value::Map(map.into_iter().map(|(key, raw)| (key, raw.into_node(file))).collect()),
        };
        let value = match self.tag.as_deref() {
            Some("!reset") => Value::Reset,
            Some("!override") => Value::Override(Box::new(value)),
            _ => value,
        };
        Node { value, origin }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Tagged(value, tag), referenced, defined } =
            Spanned::<Tagged<RawValue>>::deserialize(deserializer)?;
        let at = if defined.line() > 0 { defined } else { referenced };
        Ok(Raw { value, tag, line: at.line(), column: at.column() })
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

macro_rules! as_text {
    ($($visit:ident: $kind:ty),*) => {$(
        fn $visit<E: de::Error>(self, value: $kind) -> Result<RawValue, E> {
            Ok(RawValue::Text(value.to_string()))
        }
    )*};
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    as_text!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64, visit_str: &str);

    fn visit_unit<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawValue, D::Error> {
        RawValue::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawValue, A::Error> {
        let mut list = Vec::new();
        while let Some(raw) = seq.next_element()? {
            list.push(raw);
        }
        Ok(RawValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<RawValue>()? {
            let value = map.next_value()?;
            // A list or a map as a key is nothing that Compose knows.
            if let RawValue::Text(key) = key {
                entries.push((key, value));
            }
        }
        Ok(RawValue::Map(entries))
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
