//! tests/spf/cases.txt, read.

use std::net::IpAddr;

#[derive(Debug, Default)]
pub struct Table {
    /// Lines of a zone file.
    pub zone: Vec<String>,
    pub servfail: Vec<String>,
    pub silent: Vec<String>,
    pub cases: Vec<Case>,
}

#[derive(Debug)]
pub struct Case {
    pub line: usize,
    pub section: String,
    pub text: String,
    pub ip: IpAddr,
    pub from: String,
    pub helo: String,
    pub result: String,
    pub lookups: Option<u32>,
    pub voids: Option<u32>,
    pub says: Option<String>,
    /// `case!`: pyspf says something else; the comment above says why ours is right.
    pub pyspf_differs: bool,
}

impl Table {
    pub fn read() -> Table {
        let mut table = Table::default();
        let mut section = String::new();
        for (index, line) in include_str!("cases.txt").lines().enumerate() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "" | "#" => {}
                "==" => section = rest.to_owned(),
                "zone" => table.zone.push(rest.to_owned()),
                "servfail" => table.servfail.push(rest.to_owned()),
                "silent" => table.silent.push(rest.to_owned()),
                "case" | "case!" => table.cases.push(case(index + 1, &section, rest, word == "case!")),
                _ => panic!("line {}: {line}", index + 1),
            }
        }
        table
    }
}

fn case(line: usize, section: &str, text: &str, pyspf_differs: bool) -> Case {
    let (head, says) = match text.split_once(" says=") {
        Some((head, says)) => (head, Some(says.to_owned())),
        None => (text, None),
    };
    let words: Vec<&str> = head.split(' ').collect();
    let number = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)).map(|n| n.parse().unwrap());
    Case {
        line,
        section: section.to_owned(),
        text: text.to_owned(),
        ip: words[0].parse().unwrap_or_else(|_| panic!("line {line}")),
        from: if words[1] == "<>" { String::new() } else { words[1].to_owned() },
        helo: words[2].to_owned(),
        result: words[3].to_owned(),
        lookups: number("lookups="),
        voids: number("voids="),
        says,
        pyspf_differs,
    }
}
