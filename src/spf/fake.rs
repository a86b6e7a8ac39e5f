//! DNS as a table, for tests.

use std::collections::BTreeMap;

use super::resolver::{Data, Kind, QueryName, Reply, Resolver};

#[derive(Debug, Default)]
pub struct Fake(BTreeMap<String, Vec<(Kind, Data)>>);

impl Fake {
    /// Lines of `name TYPE data`; `|` in a text marks where two strings meet; `name FAIL` is a failure.
    pub fn new(lines: &str) -> Fake {
        let mut fake = Fake::default();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, rest) = line.split_once(' ').unwrap();
            let (kind, data) = rest.split_once(' ').unwrap_or((rest, ""));
            let entry = match kind {
                "TXT" | "SPF" => {
                    let cuts = data.match_indices('|').enumerate().map(|(n, (at, _))| at - n).collect();
                    let kind = if kind == "TXT" { Kind::Txt } else { Kind::Spf };
                    (kind, Data::Txt { text: data.replace('|', "").into(), cuts })
                }
                "A" => (Kind::A, Data::Address(data.parse().unwrap())),
                "AAAA" => (Kind::Aaaa, Data::Address(data.parse().unwrap())),
                "MX" => (Kind::Mx, Data::Name(data.to_owned())),
                "PTR" => (Kind::Ptr, Data::Name(data.to_owned())),
                "FAIL" => (Kind::Txt, Data::Name("fail".to_owned())),
                _ => panic!("{line}"),
            };
            fake.0.entry(name.to_ascii_lowercase()).or_default().push(entry);
        }
        fake
    }
}

impl Resolver for Fake {
    fn ask(&self, name: &QueryName, kind: Kind) -> Reply {
        let Some(entries) = self.0.get(&name.as_str().to_ascii_lowercase()) else {
            return Reply::Nothing { exists: false };
        };
        if entries.iter().any(|(kind, data)| *kind == Kind::Txt && *data == Data::Name("fail".to_owned())) {
            return Reply::Failed(format!("no answer for {name}"));
        }
        let found: Vec<Data> = entries.iter().filter(|(k, _)| *k == kind).map(|(_, data)| data.clone()).collect();
        if found.is_empty() { Reply::Nothing { exists: true } } else { Reply::Found(found) }
    }
}
