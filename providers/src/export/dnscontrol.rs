//! DNSControl: an extension of the zone's D().

use std::fmt::Write;

use dkimctl_state::name::Fqdn;

use super::{Record, literal, relative};

pub(super) fn write(zone: &Fqdn, records: &[&Record]) -> String {
    let mut out = format!(
        "// DKIM records of {zone} as they ought to stand now; require() this from dnsconfig.js.\n\
         //\n\
         // Where dkimctl writes the zone itself, leave this out and keep DNSControl from deleting the records:\n\
         //\n\
         //   D_EXTEND({0},\n\
         //     IGNORE(\"**._domainkey\", \"TXT\"),\n\
         //     IGNORE(\"**._domainkey.**\", \"TXT\"),\n\
         //     IGNORE(\"_dmarc\", \"TXT\")\n\
         //   );\n\
         D_EXTEND({0}",
        literal(zone.as_str())
    );
    for record in records {
        let (name, text) = (relative(record, zone, "@"), record.text.to_str_lossy());
        let _ = write!(out, ",\n  TXT({}, {}, TTL({}))", literal(name), literal(&text), record.ttl);
    }
    out + "\n);\n"
}
