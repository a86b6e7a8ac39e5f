//! Selectors that an image speaks of: in the paths of its keys, in key tables, in the records that key makers print.
//! A hint is only a name to ask DNS for; a key is live if the record there holds its public half.

use dkimctl_state::name::{Selector, SigningDomain};

/// A selector of a domain, and the key file that a table gives for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hint {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub path: Option<String>,
}

/// Octets of a table that are looked at, and hints that are kept of one.
pub const TEXT: usize = 256 << 10;
const MOST: usize = 2_000;

/// Whether a path looks like a place of DKIM keys or of tables about them.
pub fn is_about_dkim(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["dkim", "domainkey", "rspamd", "keytable", "signingtable"].iter().any(|word| path.contains(word))
        || path.ends_with(".private")
}

/// What the path of a key says, in the ways that signers and their guides lay keys out.
pub fn of_path(path: &str) -> Vec<Hint> {
    let mut found = Vec::new();
    let mut hint = |domain: &str, selector: &str| found.extend(named(domain, selector, None));
    // `!` stands between an archive and what is in it.
    let segments: Vec<&str> = path.split(['/', '!']).filter(|segment| !segment.is_empty()).collect();
    for segment in &segments {
        if let Some((selector, domain)) = without_ending(segment).split_once("._domainkey.") {
            hint(domain, selector);
        }
    }
    let Some((file, parents)) = segments.split_last() else { return found };
    let stem = without_ending(file);
    if let Some(parent) = parents.last().filter(|parent| parent.contains('.')) {
        // <domain>/<selector>.private, and ours: <domain>/<selector>-<fingerprint>.private
        hint(parent, stem);
        if let Some((selector, short)) = stem.rsplit_once('-')
            && short.len() == 16
            && short.bytes().all(|octet| octet.is_ascii_hexdigit())
        {
            hint(parent, selector);
        }
    }
    // rspamd: <domain>.<selector>.key; others the other way round.
    if let Some((domain, selector)) = stem.rsplit_once('.').filter(|(domain, _)| domain.contains('.')) {
        hint(domain, selector);
    }
    if let Some((selector, domain)) = stem.split_once('.').filter(|(_, domain)| domain.contains('.')) {
        hint(domain, selector);
    }
    // docker-mailserver: rsa-2048-<selector>-<domain>.private.txt
    if let [_, bits, selector, domain] = stem.splitn(4, '-').collect::<Vec<_>>()[..]
        && bits.bytes().all(|octet| octet.is_ascii_digit())
    {
        hint(without_ending(domain), selector);
    }
    found
}

/// What a table or a record in a file says: `domain:selector:path` of a KeyTable, `selector._domainkey.domain`,
/// and the comment that opendkim-genkey writes.
pub fn of_text(text: &str) -> Vec<Hint> {
    let mut found = Vec::new();
    for line in text.lines() {
        if found.len() >= MOST {
            break;
        }
        let line = line.get(..line.len().min(1024)).unwrap_or_default();
        for word in line.split(|c: char| c.is_whitespace() || "\"'=,;()".contains(c)) {
            if let Some((selector, domain)) = word.split_once("._domainkey.") {
                found.extend(named(domain.trim_end_matches('.'), selector, None));
            } else if let [domain, selector, key] = word.splitn(3, ':').collect::<Vec<_>>()[..] {
                // A key may stand in the table itself: base64 of a SEQUENCE begins with M.
                match key.chars().next() {
                    Some('/') => found.extend(named(domain, selector, Some(key))),
                    Some('M') => found.extend(named(domain, selector, None)),
                    _ => {}
                }
            }
        }
        if let Some((_, rest)) = line.split_once("DKIM key ")
            && let Some((selector, domain)) = rest.split_once(" for ")
        {
            found.extend(named(domain.split_whitespace().next().unwrap_or_default(), selector, None));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn named(domain: &str, selector: &str, path: Option<&str>) -> Option<Hint> {
    // `%` stands for the sender's own domain; a domain of one label has no mail. RFC 3696 section 2: no domain ends in a
    // number, but the versions of libraries do, and some of them hold a key for their own tests.
    let top = domain.rsplit_once('.').map(|(_, top)| top)?;
    let domain: SigningDomain = domain.parse().ok().filter(|_| !top.bytes().all(|octet| octet.is_ascii_digit()))?;
    Some(Hint { domain, selector: selector.parse().ok()?, path: path.map(str::to_owned) })
}

fn without_ending(file: &str) -> &str {
    let endings = [".txt", ".pem", ".key", ".private", ".priv", ".der", ".rsa", ".bak", ".old"];
    let mut stem = file;
    while let Some(shorter) = endings.iter().find_map(|ending| stem.strip_suffix(ending)) {
        stem = shorter;
    }
    stem
}

#[cfg(test)]
#[path = "hints_tests.rs"]
mod tests;
