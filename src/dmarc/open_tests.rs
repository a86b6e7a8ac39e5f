use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use zip::write::SimpleFileOptions;

use super::*;

#[derive(Default)]
struct Seen(Vec<String>);

impl Visitor for Seen {
    fn report(&mut self, name: &str, envelope: Option<&Envelope<'_>>, xml: &mut dyn Read) {
        let mut text = String::new();
        let read = xml.read_to_string(&mut text).map_or_else(|e| e.to_string(), |_| text);
        self.0.push(format!("{name}: {read}{}", if envelope.is_some() { " by mail" } else { "" }));
    }

    fn refused(&mut self, name: &str, why: String) {
        self.0.push(format!("{name}: NOT {why}"));
    }
}

fn seen(bytes: &[u8]) -> Vec<String> {
    let mut seen = Seen::default();
    stream("f", bytes, &mut seen);
    // A file takes another way for zip; both must agree.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    fs::write(&file, bytes).unwrap();
    let mut by_path = Seen::default();
    path(&file, &mut by_path);
    let prefix = format!("{}/", dir.path().display());
    let by_path: Vec<String> = by_path.0.iter().map(|line| line.replace(&prefix, "")).collect();
    assert_eq!(seen.0, by_path);
    seen.0
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

pub(crate) fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        out.start_file(*name, SimpleFileOptions::default()).unwrap();
        out.write_all(bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

pub(crate) fn mail(name: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(body);
    let lines: Vec<&str> = body.as_bytes().chunks(76).map(|c| std::str::from_utf8(c).unwrap()).collect();
    format!(
        "From: noreply@example.net\r\nSubject: Report domain: example.com\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nThis is <b>a report</b>.\r\n\
         --b\r\nContent-Type: {kind}; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{}\r\n--b--\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}

const XML: &[u8] = b"<feedback>1</feedback>";

#[test]
fn every_format_leads_to_the_report() {
    assert_eq!(seen(XML), ["f: <feedback>1</feedback>"]);
    assert_eq!(seen(&gz(XML)), ["f: <feedback>1</feedback>"]);
    assert_eq!(seen(&gz(&gz(XML))), ["f: <feedback>1</feedback>"]);
    assert_eq!(
        seen(&zipped(&[("a.xml", XML), ("b.xml", b"<feedback>2</feedback>"), ("c.xml.gz", &gz(XML))])),
        ["f!a.xml: <feedback>1</feedback>", "f!b.xml: <feedback>2</feedback>", "f!c.xml.gz: <feedback>1</feedback>"]
    );
    for (name, kind, body) in [
        ("r.xml.gz", "application/gzip", gz(XML)),
        ("r.zip", "application/zip", zipped(&[("x", XML)])),
        ("r.zip", "application/octet-stream", zipped(&[("x", XML)])),
        ("r.gz", "text/plain", gz(XML)),
        ("r.xml", "text/xml", XML.to_vec()),
    ] {
        let seen = seen(&mail(name, kind, &body));
        let inner = if name == "r.zip" { "r.zip!x" } else { name };
        assert_eq!(seen, [format!("f!{inner}: <feedback>1</feedback> by mail")], "{name} {kind}");
    }
    assert_eq!(seen(&zlib(XML)), ["f: <feedback>1</feedback>"]);
    // A page for people beside it is not taken for a report, whatever it speaks of.
    let page = String::from_utf8(mail("r.xml", "text/xml", XML)).unwrap().replace(
        "Content-Type: text/plain\r\n\r\nThis is <b>a report</b>.",
        "Content-Type: text/html\r\n\r\n<div>Your <i>feedback</i> is welcome</div>",
    );
    assert_eq!(seen(page.as_bytes()), ["f!r.xml: <feedback>1</feedback> by mail"]);
    // A message that is the archive.
    let single = "Subject: x\nMIME-Version: 1.0\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n";
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(zipped(&[("x", XML)]));
    assert_eq!(seen((single.to_owned() + &body).as_bytes()), ["f!1!x: <feedback>1</feedback> by mail"]);
}

#[test]
fn mailboxes_and_directories() {
    let one = mail("r.gz", "application/gzip", &gz(XML));
    let mut mbox = Vec::new();
    for _ in 0..2 {
        mbox.extend(b"From someone Mon Jan  1 00:00:00 2024\n");
        mbox.extend(&one);
        mbox.extend(b"\n");
    }
    mbox.extend(b"From x\nSubject: hello\n\nnothing here\n>From quoted\n");
    let seen_there = seen(&mbox);
    assert_eq!(seen_there.len(), 3, "{seen_there:?}");
    assert_eq!(seen_there[1], "f#2!r.gz: <feedback>1</feedback> by mail");
    assert!(seen_there[2].contains("no report in this message (its subject: `hello`)"), "{seen_there:?}");

    let dir = tempfile::tempdir().unwrap();
    for folder in ["cur", "new", "tmp", ".Archive/cur", "plain/deep"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
        fs::write(dir.path().join(folder).join("1"), &one).unwrap();
    }
    fs::write(dir.path().join(".hidden"), XML).unwrap();
    std::os::unix::fs::symlink(dir.path(), dir.path().join("circle")).unwrap();
    let mut seen = Seen::default();
    path(dir.path(), &mut seen);
    let prefix = format!("{}/", dir.path().display());
    let names: Vec<String> =
        seen.0.iter().map(|line| line.replace(&prefix, "").split(':').next().unwrap().to_owned()).collect();
    assert_eq!(names, [".Archive/cur/1!r.gz", "circle", "cur/1!r.gz", "new/1!r.gz", "plain/deep/1!r.gz"]);
}

#[test]
fn what_is_not_read_says_why() {
    let five = gz(&gz(&gz(&gz(&gz(XML)))));
    for (bytes, word) in [
        (b"".to_vec(), "empty"),
        (b"\n\n".to_vec(), "empty"),
        (b"unused".to_vec(), "unused"),
        (gz(b"unused\n"), "unused"),
        (vec![0xd0, 0xcf, 0x11, 0xe0, 1], "Outlook"),
        (b"hello world".to_vec(), "neither"),
        (br#"{"organization-name": "x", "policies": []}"#.to_vec(), "RFC 8460"),
        (vec![0x78, 0x9f, 0x3e, 0x22, 1, 0], "winmail.dat"),
        (
            b"Subject: x\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nx\n--b--\n"
                .to_vec(),
            "failure report",
        ),
        (five, "more than 3 times"),
        (zipped(&[]), "empty"),
        (zipped(&[("x", XML)])[..60].to_vec(), "cut off"),
        (mail("r.gz", "application/gzip", b"unused"), "unused"),
    ] {
        let seen = seen(&bytes);
        assert!(seen.len() == 1 && seen[0].contains("NOT") && seen[0].contains(word), "{word}: {seen:?}");
    }
    let many: Vec<(String, &[u8])> = (0..70).map(|n| (format!("{n}.xml"), XML)).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let seen = seen(&zipped(&many));
    assert_eq!(seen.len(), 65);
    assert!(seen[64].contains("70 members"), "{}", seen[64]);
}

/// A parser turns text into Unicode, for several times its octets; what is sent packed costs no more than itself.
#[test]
fn text_has_a_limit_of_its_own() {
    let line = "<!-- as good as any other -->\n";
    let lines = line.repeat(limits::TEXT / line.len() + 1);
    for (kind, is_read) in [
        ("Content-Type: text/xml; name=r.xml\n", false),
        ("", false),
        ("content-type:\n application/xml; name=r.xml\n", true),
        ("Content-Type: application/xml; name=r.xml\n", true),
    ] {
        let message = format!("From: a@example.net\nSubject: r\n{kind}\n<feedback>\n{lines}</feedback>\n");
        let mut seen = Seen::default();
        stream("f", message.as_bytes(), &mut seen);
        let refused = seen.0.iter().any(|line| line.contains("are text"));
        assert_eq!((seen.0.len(), refused), (1, !is_read), "{kind:?}");
    }
}

/// Forwarded reports, plain and in base64, and the ways to write a file's name.
#[test]
fn messages_in_messages_and_names_in_every_dress() {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let inner = mail("r.gz", "application/gzip", &gz(XML));
    let outer = |encoding: &str, body: &[u8]| {
        let mut out = format!(
            "From: f@x.example\r\nSubject: Fwd\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n\
             --o\r\nContent-Type: message/rfc822\r\n{encoding}\r\n"
        )
        .into_bytes();
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n--o--\r\n");
        out
    };
    assert_eq!(seen(&outer("", &inner)), ["f!r.gz: <feedback>1</feedback> by mail"]);
    let packed = outer("Content-Transfer-Encoding: base64\r\n", encode(&inner).as_bytes());
    assert_eq!(seen(&packed), ["f!r.gz: <feedback>1</feedback> by mail"]);

    let named = String::from_utf8(mail("NAME", "application/octet-stream", &gz(XML))).unwrap();
    let word = format!("=?utf-8?B?{}?=", encode(b"a!b!1!2.xml.gz"));
    for name in ["name*=utf-8''a%21b%211%212.xml.gz".to_owned(), format!("name=\"{word}\"")] {
        let dressed = named.replace("name=\"NAME\"\r\nContent-Transfer", &format!("{name}\r\nContent-Transfer"));
        let dressed = dressed.replace("; filename=\"NAME\"", "");
        assert_eq!(seen(dressed.as_bytes()), ["f!a!b!1!2.xml.gz: <feedback>1</feedback> by mail"], "{name}");
    }
}
