//! Whatever a stranger sends: no panic, nothing counted that is not there, nothing lost in silence.
//!
//! A thousand rounds by default. `DKIMCTL_FUZZ_SECONDS=600 cargo test --test dmarc_fuzz -- --nocapture` goes on for that
//! long, from a seed that it prints (`DKIMCTL_FUZZ_SEED` sets it).

use std::io::{Cursor, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dkimctl::dmarc::authentic::Authenticator;
use dkimctl::dmarc::ingest::{Entry, Ingest, Status};
use dkimctl::dmarc::xml;
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::dmarc::lint::{Context, lint};
use dkimctl_state::record::dmarc::read;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::Time;

/// xorshift64*: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// Pieces that parsers trip over.
const PIECES: &[&str] = &[
    "<record>",
    "</record>",
    "<row>",
    "</row>",
    "<feedback>",
    "</feedback>",
    "<count>",
    "</count>",
    "-1",
    "1.5",
    "1e9",
    "0x1",
    "99999999999999999999",
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "<!DOCTYPE a>",
    "<?xml version='1.0' encoding='UTF-16'?>",
    "&#0;",
    "&#x110000;",
    "&lt;",
    "&nothing;",
    "&",
    "<",
    ">",
    "\0",
    "\u{feff}",
    "<a:b xmlns:a='c'/>",
    "<source_ip>::ffff:1.2.3.4</source_ip>",
    "pass",
    "PASS",
    "<policy_evaluated>",
    "<auth_results>",
    "<dkim>",
    "</dkim>",
    "<begin>1700006400.0</begin>",
    "From x\n",
    "\r\n\r\n",
    "Content-Type: multipart/mixed; boundary=b\r\n",
    "--b\r\n",
    "--b--",
    "Content-Transfer-Encoding: base64\r\n",
    "PK\u{3}\u{4}",
];

fn report(dice: &mut Dice) -> (Vec<u8>, u64) {
    let mut sum = 0;
    let mut text = String::from(
        "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>o</org_name><email>a@b.example</email><report_id>7</report_id>\
         <date_range><begin>1700006400</begin><end>1700092799</end></date_range></report_metadata><policy_published>\
         <domain>example.com</domain><p>none</p></policy_published>",
    );
    for _ in 0..dice.below(5) {
        let count = dice.below(1000) as u64;
        sum += count;
        text += &format!(
            "<record><row><source_ip>192.0.2.{}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>\
             <dkim>{}</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>example.com</header_from></identifiers>\
             <auth_results><spf><domain>example.com</domain><result>fail</result></spf></auth_results></record>",
            dice.below(250),
            dice.one(&["pass", "fail"])
        );
    }
    ((text + "</feedback>").into_bytes(), sum)
}

fn spoil(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.next() as u8),
            2 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            3 => drop(bytes.splice(at..at, dice.one(PIECES).bytes())),
            4 => {
                let end = (at + dice.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let end = (at + dice.below(200)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes.extend((0..dice.below(9)).map(|_| 0xff)),
        }
    }
}

fn dress(dice: &mut Dice, xml: Vec<u8>) -> Vec<u8> {
    match dice.below(6) {
        0 => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(&xml).unwrap();
            out.finish().unwrap()
        }
        1 => {
            let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
            for n in 0..=dice.below(3) {
                out.start_file(format!("{n}.xml"), zip::write::SimpleFileOptions::default()).unwrap();
                out.write_all(&xml).unwrap();
            }
            out.finish().unwrap().into_inner()
        }
        2 => {
            let head = "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
                        Content-Type: text/xml; name=r.xml\r\n\r\n";
            [head.as_bytes(), &xml, b"\r\n--b--\r\n"].concat()
        }
        3 => [b"From x\nSubject: a\nContent-Type: text/xml\n\n".as_slice(), &xml, b"\n\nFrom y\nSubject: b\n\n", &xml]
            .concat(),
        _ => xml,
    }
}

fn take(bytes: &[u8]) -> Vec<Entry> {
    let nobody = |_: &Fqdn| Ok::<Vec<TxtText>, String>(Vec::new());
    let mut entries = Vec::new();
    let mut say = |entry: &Entry| entries.push(entry.clone());
    let mut run = Ingest::new(None, Authenticator::new(&nobody), Time::from_unix(1_700_100_000), false, &mut say);
    run.stream("f", bytes);
    let (totals, _) = run.finish().unwrap();
    let counted: u64 =
        entries.iter().filter(|e| matches!(e.status, Status::Ok | Status::Partial)).map(|e| e.messages).sum();
    assert_eq!(totals.messages, counted);
    entries
}

fn round(dice: &mut Dice) {
    let (xml, sum) = report(dice);
    // Whole: every message is counted.
    let whole = xml::parse(xml.as_slice()).unwrap();
    assert_eq!((whole.messages, whole.errors.len()), (sum, 0));
    // Cut short: never ok.
    let cut = dice.below(xml.len());
    if cut > 0
        && let Ok(parsed) = xml::parse(&xml[..cut])
    {
        assert!(!parsed.errors.is_empty(), "cut at {cut} unnoticed: {}", String::from_utf8_lossy(&xml[..cut]));
        assert!(parsed.messages <= sum);
    }
    // Spoilt inside, dressed, spoilt outside: always an entry for it, and an ok or partial one has a domain and dates.
    let mut inner = xml;
    if dice.below(2) == 0 {
        spoil(dice, &mut inner);
    }
    let mut outer = dress(dice, inner);
    if dice.below(2) == 0 {
        spoil(dice, &mut outer);
    }
    let entries = take(&outer);
    assert!(!entries.is_empty(), "lost in silence: {}", String::from_utf8_lossy(&outer));
    for entry in &entries {
        match entry.status {
            Status::Ok | Status::Partial => {
                assert!(entry.domain.is_some() && entry.begin.is_some() && entry.end >= entry.begin)
            }
            _ => {}
        }
        match entry.status {
            Status::Ok => assert!(entry.errors.is_empty(), "{entry:?}"),
            Status::Partial | Status::Rejected => assert!(!entry.errors.is_empty(), "{entry:?}"),
            Status::Duplicate => {}
        }
        assert!(entry.aligned <= entry.messages, "{entry:?}");
    }
    // The record too.
    let mut text =
        b"v=DMARC1; p=reject; sp=none; rua=mailto:a@example.com!10m,mailto:b@example.org; t=y; pct=0".to_vec();
    spoil(dice, &mut text);
    let text = TxtText::new(text);
    if let (Some(record), faults) = read(&text)
        && faults.is_empty()
    {
        let (again, faults) = read(&record.text());
        assert_eq!((again.as_ref(), faults.len()), (Some(&record), 0), "{text}");
    }
    lint(&"example.com".parse().unwrap(), &Context { texts: vec![text], ..Context::default() });
}

#[test]
fn whatever_comes_is_accounted_for() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seconds = number("DKIMCTL_FUZZ_SECONDS");
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
    let seed = number("DKIMCTL_FUZZ_SEED").unwrap_or_else(|| if seconds.is_some() { clock() } else { 20_260_520 });
    let mut dice = Dice(seed | 1);
    let begun = Instant::now();
    let mut rounds = 0u64;
    loop {
        round(&mut dice);
        rounds += 1;
        let enough = match seconds {
            Some(seconds) => begun.elapsed() >= Duration::from_secs(seconds),
            None => rounds >= 1000,
        };
        if enough {
            break;
        }
    }
    let line = format!("dmarc_fuzz: {rounds} rounds in {} s, seed {seed}, no panic\n", begun.elapsed().as_secs());
    let _ = std::io::stderr().write_all(line.as_bytes());
}
