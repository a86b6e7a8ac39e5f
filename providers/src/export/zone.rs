//! A zone file fragment.

use std::fmt::Write;

use dkimctl_state::name::Fqdn;

use super::Record;

pub(super) fn write(zone: &Fqdn, records: &[&Record]) -> String {
    let mut out = format!(
        "; DKIM records of {zone} as they ought to stand now.\n\
         ; Take this file in with $INCLUDE, and raise the zone's SOA serial whenever it changes. Where dkimctl writes the\n\
         ; zone itself (provider rfc2136 or zonefile), do not load this as well.\n"
    );
    for Record { name, ttl, text } in records {
        let _ = writeln!(out, "{name}. {ttl} IN TXT {}", text.quoted());
    }
    out
}
