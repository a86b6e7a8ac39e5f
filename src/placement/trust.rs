//! Which results of a message its mailbox provider wrote.
//!
//! Everything that a sender hands over stands below the `Received` field with which the provider took the message: the
//! *boundary*. It is found from the top, by what only the provider can write: the host in `by` and the address that the
//! connection came from. A result counts if it stands where the provider writes, under a name that the provider uses;
//! one under that name elsewhere is named as forged. A border server should remove those (RFC 8601 section 5); not all do.

use super::family::{Family, ICLOUD, Layout};
use crate::mail::authres::{self, AuthRes, MethodResult};
use crate::mail::header::{Field, harmless};
use crate::mail::received::{self, Received};

/// What the provider itself says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    pub family: Family,
    /// The host with which the provider took the message.
    pub host: Option<String>,
    /// The hop across the boundary.
    pub boundary: Option<Received>,
    /// Fields above this are the provider's.
    pub above: usize,
    pub results: Vec<MethodResult>,
    /// Results under the provider's name that it did not write.
    pub forged: Vec<String>,
}

const RESULTS: &str = "Authentication-Results";

/// Reads the fields from the top.
pub fn trusted(fields: &[Field]) -> Trusted {
    let mut family = None;
    let mut boundary = None;
    for (at, field) in fields.iter().enumerate().filter(|(_, field)| field.is("Received")) {
        let hop = received::parse(&field.value);
        let here = hop.by.as_deref().and_then(Family::of_host);
        family = family.or(here);
        if !family.unwrap_or(Family::Other).is_inner(&hop) {
            boundary = Some((at, hop));
            break;
        }
    }
    let family = family.unwrap_or(Family::Other);
    let Some((at, hop)) = boundary else {
        // Nobody took the message from anybody: it is a draft, a copy, or torn. Nothing in it is anybody's word.
        return Trusted { family, host: None, boundary: None, above: 0, results: Vec::new(), forged: Vec::new() };
    };
    let by = hop.by.clone().unwrap_or_default();
    let mut believed = vec![false; fields.len()];
    match family.layout() {
        Layout::Above | Layout::ArcAbove => mark_above(family, &by, &fields[..at], &mut believed),
        Layout::Below => mark_below(family, &by, at, fields, &mut believed),
    }
    let mut results: Vec<MethodResult> = Vec::new();
    for (field, _) in fields.iter().zip(&believed).filter(|(_, believed)| **believed) {
        results.extend(read(field).results);
    }
    let twin = |read: &AuthRes| {
        let same =
            |one: &MethodResult, other: &MethodResult| one.method == other.method && one.verdict == other.verdict;
        let found = |one: &MethodResult| results.iter().any(|other| same(one, other));
        family.layout() == Layout::ArcAbove && !results.is_empty() && read.results.iter().all(found)
    };
    let forged = fields.iter().zip(&believed).filter(|(field, believed)| field.is(RESULTS) && !**believed);
    let forged = forged.filter_map(|(field, _)| {
        let read = read(field);
        let claims = family.writes_as(read.id.as_deref(), &by) && !twin(&read);
        claims.then(|| harmless(&field.value, 200).into_owned())
    });
    let forged = forged.collect();
    Trusted { family, host: Some(by), boundary: Some(hop), above: at, results, forged }
}

fn read(field: &Field) -> AuthRes {
    if !field.begins("ARC-") {
        return authres::parse(&field.value);
    }
    // `i=2; mx.google.com; ...` (RFC 8617 section 4.1.1)
    let (instance, rest) = field.value.split_once(';').unwrap_or_default();
    match instance.trim().strip_prefix("i=") {
        Some(_) => authres::parse(rest),
        None => AuthRes::default(),
    }
}

fn mark_above(family: Family, by: &str, above: &[Field], believed: &mut [bool]) {
    for (field, believed) in above.iter().zip(believed) {
        let is_arc = family.layout() == Layout::ArcAbove && field.is("ARC-Authentication-Results");
        if is_arc || field.is(RESULTS) {
            *believed = family.writes_as(read(field).id.as_deref(), by);
        }
    }
}

/// The provider's block right below its `Received`: it ends with the first field that the provider does not write, and
/// each authserv-id counts once, in the provider's order. What a sender appends comes after it.
fn mark_below(family: Family, by: &str, at: usize, fields: &[Field], believed: &mut [bool]) {
    let mut last = None;
    for (index, field) in fields.iter().enumerate().skip(at + 1) {
        if field.is(RESULTS) {
            let read = read(field);
            let rank = match family {
                Family::Icloud => read.id.as_deref().and_then(|id| ICLOUD.iter().position(|known| *known == id)),
                _ => family.writes_as(read.id.as_deref(), by).then_some(0),
            };
            match rank {
                Some(rank) if last.is_none_or(|last| last < rank) => last = Some(rank),
                _ => return,
            }
            believed[index] = true;
        } else if !family.writes_below(&field.name) {
            // iCloud's block ends with its Received-SPF.
            return;
        }
    }
}
