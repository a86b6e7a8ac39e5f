//! A script for nsupdate(1), or knsupdate(1).

use std::fmt::Write;

use dkimctl_state::name::Fqdn;

use super::Record;

/// As many changes as surely fit one message of 64 KiB; RFC 2136 does each message whole or not at all.
const PER_MESSAGE: usize = 50;

pub(super) fn write(zone: &Fqdn, records: &[&Record]) -> String {
    let mut out = format!(
        "; DKIM records of {zone} as they ought to stand now. Run:  nsupdate -k KEYFILE THIS\n\
         ; It only adds. A zone file that is reloaded over a dynamic zone loses these records: freeze and\n\
         ; thaw (rndc) around edits, and let update-policy grant the key no more than\n\
         ;   wildcard *._domainkey.{zone}. TXT;  name _dmarc.{zone}. TXT;\n\
         zone {zone}.\n"
    );
    for batch in records.chunks(PER_MESSAGE) {
        for Record { name, ttl, text } in batch {
            let _ = writeln!(out, "update add {name}. {ttl} IN TXT {}", text.quoted());
        }
        out.push_str("send\n");
    }
    out
}
