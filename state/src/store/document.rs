//! A ledger as it is written down: JSON that names its version and refuses what it does not know.
//!
//! A field that this program does not know was written by a newer one, or by a hand that slipped. To drop it silently
//! would lose a fact, so it is an error. Every version that was ever released is kept here and read for ever; a ledger
//! of each lies in `tests/fixtures`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lifecycle::ledger::{Ledger, Line, Maxima};
use crate::lifecycle::request::Hold;
use crate::name::{Selector, SigningDomain};
use crate::record::dkim::Algorithm;
use crate::time::Time;

/// What is written today.
pub const VERSION: u32 = 1;

/// The document of a ledger: the same ledger gives the same text, byte for byte.
pub fn write(ledger: &Ledger) -> String {
    let Ledger { domain, lines, maxima, hold, newest } = ledger;
    let document = Written { v: VERSION, domain, lines, maxima, hold, newest };
    serde_json::to_string(&document).expect("names, times and numbers are JSON")
}

/// The ledger in a document of any version; the error says what is wrong with the text.
pub fn read(text: &str) -> Result<Ledger, String> {
    let Version { v } = serde_json::from_str(text).map_err(|e| e.to_string())?;
    match v {
        1 => serde_json::from_str::<Version1>(text).map(Ledger::from).map_err(|e| e.to_string()),
        newer => Err(format!("it is of version {newer}, but this dkimctl knows up to {VERSION}; use a newer one")),
    }
}

/// Checks that no type can state; cheap enough for every commit.
pub(super) fn sound(ledger: &Ledger) -> Result<(), String> {
    for (algorithm, line) in &ledger.lines {
        if let Some((_, key)) = line.keys().find(|(_, key)| key.algorithm != *algorithm) {
            return Err(format!("the {} key {} stands among the {algorithm} keys", key.algorithm, key.fingerprint));
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    domain: &'a SigningDomain,
    lines: &'a BTreeMap<Algorithm, Line>,
    maxima: &'a BTreeMap<Selector, Maxima>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: &'a Option<Hold>,
    newest: &'a Option<Time>,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Version1 {
    #[serde(rename = "v")]
    _v: u32,
    domain: SigningDomain,
    lines: BTreeMap<Algorithm, Line>,
    maxima: BTreeMap<Selector, Maxima>,
    #[serde(default)]
    hold: Option<Hold>,
    newest: Option<Time>,
}

impl From<Version1> for Ledger {
    fn from(Version1 { _v, domain, lines, maxima, hold, newest }: Version1) -> Ledger {
        Ledger { domain, lines, maxima, hold, newest }
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
