//! octoDNS: a zone's YAML for the YamlProvider.

use std::collections::BTreeMap;
use std::fmt::Write;

use dkimctl_state::name::Fqdn;

use super::{Record, relative};

pub(super) fn write(zone: &Fqdn, records: &[&Record]) -> String {
    let mut out = format!(
        "---\n\
         # DKIM records of {zone} as they ought to stand now: for a YamlProvider with escaped_semicolons: true.\n\
         #\n\
         # Where dkimctl writes the zone itself, leave this out and keep octoDNS from deleting the records:\n\
         #\n\
         #   processors:\n\
         #     dkimctl:\n\
         #       class: octodns.processor.filter.NameRejectlistFilter\n\
         #       rejectlist:\n\
         #         - /(^|\\.)_domainkey(\\.|$)/\n\
         #         - /^_dmarc(\\.|$)/\n\
         #   zones:\n\
         #     {zone}.:\n\
         #       processors: [dkimctl]\n"
    );
    let mut names: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        names.entry(relative(record, zone, "")).or_default().push(record);
    }
    for (name, records) in names {
        let ttl = records.iter().map(|record| record.ttl).min().unwrap_or_default();
        let _ = writeln!(out, "{}:\n  type: TXT\n  ttl: {ttl}\n  values:", single_quoted(name));
        for record in records {
            let text = record.text.to_str_lossy().replace('\\', "\\\\").replace(';', "\\;");
            let _ = writeln!(out, "    - {}", single_quoted(&text));
        }
    }
    out
}

fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
