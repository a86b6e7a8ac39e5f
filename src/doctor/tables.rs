//! KEY006 and DKIM006: the signer's tables and headers, as they are written and as the container has them.

use std::io;
use std::path::{Path, PathBuf};

use super::container::Container;
use super::files::Files;
use super::finding::{Findings, Place, Tier};
use super::patient::Patient;
use super::rspamd;
use super::signer::Kind;
use crate::command::CommandError;
use crate::report::doctor::tables as said;
use crate::signers::opendkim::conf::{Conf, ConfError, TableFile};
use crate::signers::opendkim::tables::{KeyTable, Lookup, SigningTable, TableError};
use crate::signers::replace::FileError;
use crate::signers::rspamd::shadowed;

const TABLES: &str = "tables";
const HEADERS: &str = "signed headers";
/// Where Debian's OpenDKIM looks.
const CONF: &str = "/etc/opendkim.conf";

pub fn examine(patient: &Patient, findings: &mut Findings) {
    if let Some(files) = &patient.files {
        written(files, findings);
        headers_written(patient, files, findings);
    }
    if let Some(container) = patient.container.there().filter(|container| container.is_running()) {
        in_force(patient, container, findings);
    }
}

/// A table where it was found: what it is called in a finding, and its octets.
struct Found {
    file: String,
    bytes: Vec<u8>,
    lookup: Lookup,
}

/// The tables of a signer.
struct Both {
    kind: Kind,
    keys: Found,
    signing: Found,
}

fn written(files: &Files, findings: &mut Findings) {
    for conf_path in files.named(|name| name.eq_ignore_ascii_case("opendkim.conf")) {
        let Ok(conf) = Conf::read(&files.root.join(conf_path)) else { continue };
        let near = |table: Result<TableFile, ConfError>| {
            let table = table.ok()?;
            let path = like(files, conf_path, &table.path)?;
            Some(Found { file: path.display().to_string(), bytes: files.bytes(&path)?, lookup: table.lookup })
        };
        if let (Some(keys), Some(signing)) = (near(conf.key_table()), near(conf.signing_table())) {
            cross_check(&Both { kind: Kind::OpenDkim, keys, signing }, Tier::Files, findings);
        }
    }
}

/// The file of the tree that most likely becomes `path` in the container: the same name, the nearest directory.
fn like(files: &Files, beside: &Path, path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let here = beside.parent().unwrap_or(Path::new(""));
    let shared = |other: &Path| other.components().zip(here.components()).take_while(|(a, b)| a == b).count();
    let same_end =
        |other: &Path| other.components().rev().zip(path.components().rev()).take_while(|(a, b)| a == b).count();
    files.named(|other| other == name).max_by_key(|other| (same_end(other), shared(other))).map(Path::to_owned)
}

/// The two tables against each other: nobody else does that before mail is refused.
fn cross_check(tables: &Both, tier: Tier, findings: &mut Findings) -> Option<KeyTable> {
    let Both { kind, keys, signing } = tables;
    let place = |found: &Found, line: usize| Place::line(&found.file, u32::try_from(line).unwrap_or(0));
    let key_table = match KeyTable::parse(&keys.bytes) {
        Ok(table) => table,
        Err(error) => {
            let line = line_of(&error).unwrap_or(1);
            findings.found("KEY006", tier, TABLES, said::broken_table(&error)).at(place(keys, line));
            return None;
        }
    };
    let signing_table = match SigningTable::parse(&signing.bytes, signing.lookup) {
        Ok(table) => table,
        Err(error) => {
            let line = line_of(&error).unwrap_or(1);
            findings.found("KEY006", tier, TABLES, said::broken_table(&error)).at(place(signing, line));
            return None;
        }
    };
    let mut well = true;
    for (line, name) in signing_table.named().filter(|(_, name)| key_table.get(name).is_none()) {
        well = false;
        findings.found("KEY006", tier, TABLES, said::no_such_key(*kind, name, &keys.file)).at(place(signing, line));
    }
    for line in signing_table.dead_wildcards() {
        well = false;
        findings.found("KEY006", tier, TABLES, said::dead_wildcard()).at(place(signing, line));
    }
    if *kind == Kind::Rspamd {
        for (short, long) in shadowed(&signing_table, &key_table) {
            well = false;
            findings.found("KEY006", tier, TABLES, said::shadowed(&short, &long)).at(Place::file(&signing.file));
        }
    }
    if well {
        let rows = key_table.rows().count();
        findings.ok("KEY006", tier, TABLES, said::tables_agree(rows));
    }
    Some(key_table)
}

fn line_of(error: &TableError) -> Option<usize> {
    match error {
        TableError::Fields { line, .. } | TableError::Duplicate { line, .. } | TableError::NotText { line, .. } => {
            Some(*line)
        }
        _ => None,
    }
}

fn in_force(patient: &Patient, container: &Container, findings: &mut Findings) {
    let read = |path: &Path| {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file in the container");
        let failed = |source| FileError::Read { path: path.to_owned(), source };
        let text = path.to_str().ok_or_else(|| failed(io::Error::other("its name is no text")))?;
        match container.read(text) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(failed(missing())),
            Err(error) => Err(failed(io::Error::other(error.to_string()))),
        }
    };
    match container.read(CONF) {
        Ok(Some(_)) => {}
        // No OpenDKIM here, or one that is configured elsewhere.
        Ok(None) => return of_rspamd(patient, container, &read, findings),
        Err(CommandError::Refused { .. }) => return,
        Err(error) => {
            findings.unknown("KEY006", Tier::Effective, TABLES, said::not_asked(&error.to_string()));
            return;
        }
    }
    let conf = match Conf::read_by(Path::new(CONF), &read) {
        Ok(conf) => conf,
        Err(error) => {
            findings.unknown("KEY006", Tier::Effective, TABLES, said::not_asked(&error.to_string()));
            return;
        }
    };
    headers(patient, Kind::OpenDkim, &|header| signs(&conf, header), findings);
    let (Ok(keys), Ok(signing)) = (conf.key_table(), conf.signing_table()) else {
        return findings.skip("KEY006", TABLES, said::no_tables());
    };
    check_in(container, Kind::OpenDkim, [&keys, &signing], &read, findings);
}

/// rspamd's tables and headers.
fn of_rspamd(patient: &Patient, container: &Container, read: &Reads<'_>, findings: &mut Findings) {
    if !matches!(container.read(rspamd::CONF), Ok(Some(_))) {
        return;
    }
    let dump = container.ask(&rspamd::DUMP).map_err(|error| error.to_string());
    let conf = match dump.and_then(|dump| rspamd::Conf::read(&dump)) {
        Ok(conf) => conf,
        Err(why) => {
            findings.unknown("KEY006", Tier::Effective, TABLES, said::not_asked(&why));
            return;
        }
    };
    headers(patient, Kind::Rspamd, &|header| conf.signs(header), findings);
    let Some((keys, signing)) = conf.tables else {
        return findings.skip("KEY006", TABLES, said::no_tables());
    };
    // Both are globs to it, as `refile:` is.
    let [keys, signing] = [keys, signing].map(|path| TableFile { path, lookup: Lookup::Pattern });
    check_in(container, Kind::Rspamd, [&keys, &signing], read, findings);
}

type Reads<'a> = dyn Fn(&Path) -> Result<Vec<u8>, FileError> + 'a;

/// A container's tables against each other and its key files.
fn check_in(
    container: &Container,
    kind: Kind,
    [keys, signing]: [&TableFile; 2],
    read: &Reads<'_>,
    findings: &mut Findings,
) {
    let found = |table: &TableFile| {
        let file = format!("{}:{}", container.name, table.path.display());
        read(&table.path).map(|bytes| Found { file, bytes, lookup: table.lookup })
    };
    match (found(keys), found(signing)) {
        (Ok(keys), Ok(signing)) => {
            let tables = Both { kind, keys, signing };
            if let Some(table) = cross_check(&tables, Tier::Effective, findings) {
                key_files(container, kind, &table, &tables.keys.file, findings);
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            findings.found("KEY006", Tier::Effective, TABLES, said::table_missing(&error));
        }
    }
}

/// Whether the files that the KeyTable names are there; at most a few hundred are asked for.
fn key_files(container: &Container, kind: Kind, table: &KeyTable, file: &str, findings: &mut Findings) {
    const MOST: usize = 300;
    let paths: Vec<String> = table
        .rows()
        .filter_map(|row| Some(row.path?.to_str()?.to_owned()))
        .filter(|path| path.starts_with('/'))
        .take(MOST)
        .collect();
    if paths.is_empty() {
        return;
    }
    let script = "for path; do [ -f \"$path\" ] || echo \"$path\"; done";
    let mut argv = vec!["sh", "-c", script, "sh"];
    argv.extend(paths.iter().map(String::as_str));
    match container.ask(&argv) {
        Ok(missing) => {
            for path in missing.lines().filter(|line| !line.is_empty()) {
                findings.found("KEY006", Tier::Effective, TABLES, said::key_missing(kind, path)).at(Place::file(file));
            }
        }
        Err(error) => {
            findings.unknown("KEY006", Tier::Effective, TABLES, said::not_asked(&error.to_string()));
        }
    }
}

fn headers_written(patient: &Patient, files: &Files, findings: &mut Findings) {
    let relay = patient.written().main_cfs.iter().find_map(|(path, main)| {
        let relay = main.expanded("relayhost")?;
        rewrites(&relay).then_some((path, relay))
    });
    let Some((_, relay)) = relay else { return };
    for path in files.named(|name| name.eq_ignore_ascii_case("opendkim.conf")) {
        let Ok(conf) = Conf::read(&files.root.join(path)) else { continue };
        let file = path.display().to_string();
        let line = conf.line("SignHeaders").and_then(|line| u32::try_from(line).ok());
        let place = Place { file, line, column: None };
        judge(Kind::OpenDkim, &|header| signs(&conf, header), &relay, Tier::Files, Some(place), findings);
    }
}

fn headers(patient: &Patient, kind: Kind, signs: &dyn Fn(&str) -> bool, findings: &mut Findings) {
    let Ok(Some(postfix)) = patient.postfix() else { return };
    let relay = postfix.value("relayhost");
    if rewrites(relay) {
        judge(kind, signs, relay, Tier::Effective, None, findings);
    } else {
        findings.skip("DKIM006", HEADERS, said::no_rewriting_relay(relay));
    }
}

/// Amazon SES puts in a Date and a Message-ID of its own.
fn rewrites(relay: &str) -> bool {
    let relay = relay.to_ascii_lowercase();
    relay.contains(".amazonaws.com") || relay.contains(".awsapps.com")
}

fn judge(
    kind: Kind,
    signs: &dyn Fn(&str) -> bool,
    relay: &str,
    tier: Tier,
    place: Option<Place>,
    findings: &mut Findings,
) {
    let signed: Vec<&str> = ["Date", "Message-ID"].into_iter().filter(|header| signs(header)).collect();
    if signed.is_empty() {
        return findings.ok("DKIM006", tier, HEADERS, said::leaves_out(relay));
    }
    let finding = findings.found("DKIM006", tier, HEADERS, said::signs_rewritten(kind, relay, &signed));
    if let Some(place) = place {
        finding.at(place);
    }
}

/// Whether a header is signed where it is there (opendkim.conf(5), SignHeaders and OmitHeaders). Without either,
/// those that RFC 6376 section 5.4.1 advises: Date among them, Message-ID not.
fn signs(conf: &Conf, header: &str) -> bool {
    let words = |setting: &str| -> Vec<String> {
        let text = conf.get(setting).unwrap_or_default().to_ascii_lowercase();
        text.split([',', ' ', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let name = header.to_ascii_lowercase();
    let (sign, omit) = (words("SignHeaders"), words("OmitHeaders"));
    let advised = header == "Date";
    let chosen = match sign.as_slice() {
        [] => advised,
        list if list.contains(&format!("-{name}")) => false,
        list if list.contains(&name) || list.contains(&format!("+{name}")) => true,
        // `*` stands for the advised ones, with more or fewer behind it.
        list => advised && list.iter().any(|word| word == "*" || word.starts_with(['+', '-'])),
    };
    chosen && !omit.contains(&name) && !omit.contains(&format!("+{name}"))
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
