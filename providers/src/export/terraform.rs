//! Terraform and OpenTofu: the records as a local value, and how to make resources of it.

use std::collections::BTreeMap;
use std::fmt::Write;

use dkimctl_state::name::Fqdn;

use super::{Record, literal};

pub(super) fn write(zone: &Fqdn, records: &[&Record]) -> String {
    let mut out = format!(
        "# DKIM records of {zone} as they ought to stand now.\n\
         #\n\
         # Terraform leaves alone what it has no resource for, so where dkimctl writes the zone itself, make no resources\n\
         # of these, and `terraform state rm` those that there are. Should a name be shared all the same:\n\
         #\n\
         #   lifecycle {{\n\
         #     ignore_changes = [records]   # aws_route53_record; [content] for cloudflare_dns_record\n\
         #   }}\n\
         #\n\
         # Route 53 (a set a name; strings of 255 octets, joined by \\\"\\\"):\n\
         #\n\
         #   resource \"aws_route53_record\" \"dkimctl\" {{\n\
         #     for_each = local.dkimctl_records\n\
         #     zone_id  = var.zone_id\n\
         #     name     = each.key\n\
         #     type     = \"TXT\"\n\
         #     ttl      = each.value.ttl\n\
         #     records  = [for strings in each.value.texts : join(\"\\\"\\\"\", strings)]\n\
         #   }}\n\
         #\n\
         # Cloudflare (a record a value; quoted strings, or the plan never comes to rest):\n\
         #\n\
         #   resource \"cloudflare_dns_record\" \"dkimctl\" {{\n\
         #     for_each = merge([for name, set in local.dkimctl_records : {{ for i, strings in set.texts :\n\
         #       \"${{name}}/${{i}}\" => {{ name = name, ttl = set.ttl, strings = strings }} }}]...)\n\
         #     zone_id  = var.zone_id\n\
         #     name     = each.value.name\n\
         #     type     = \"TXT\"\n\
         #     ttl      = each.value.ttl\n\
         #     content  = join(\" \", [for string in each.value.strings : \"\\\"${{string}}\\\"\"])\n\
         #   }}\n\
         locals {{\n  dkimctl_records = {{\n"
    );
    let mut names: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        names.entry(record.name.as_str()).or_default().push(record);
    }
    for (name, records) in names {
        let ttl = records.iter().map(|record| record.ttl).min().unwrap_or_default();
        let _ = writeln!(out, "    {} = {{\n      ttl = {ttl}\n      texts = [", literal(name));
        for record in records {
            let strings: Vec<String> = record.text.chunks().into_iter().map(string).collect();
            let _ = writeln!(out, "        [{}],", strings.join(", "));
        }
        out.push_str("      ]\n    }\n");
    }
    out + "  }\n}\n"
}

/// A literal without interpolation.
fn string(octets: &[u8]) -> String {
    literal(&String::from_utf8_lossy(octets)).replace("${", "$${").replace("%{", "%%{")
}
