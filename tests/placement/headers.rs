//! One message a provider, shaped as the provider writes it, and what is read in it. Then what a sender may add.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dkimctl::mail::authres::Verdict;
use dkimctl::placement::evidence::{self, Evidence, Folder, Whose};
use dkimctl::placement::family::{Family, Layout};
use dkimctl::placement::meaning::{self, Fault, Outcome};
use proptest::prelude::*;

pub fn mail(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/placement/mail/{name}.eml"));
    std::fs::read_to_string(path).unwrap()
}

/// s2 signs, s1 did; other domains are nobody's business.
fn ours(domain: &str, selector: &str) -> Option<Whose> {
    Some(match (domain, selector) {
        ("example.com", "s2") => Whose::Active,
        ("example.com", "s1") => Whose::Idle,
        ("example.com", _) => Whose::Foreign,
        _ => Whose::Others,
    })
}

fn read(mail: &str) -> Evidence {
    evidence::of(mail.as_bytes(), &ours)
}

pub const ALL: [(&str, Family); 13] = [
    ("gmail", Family::Gmail),
    ("outlook", Family::Microsoft),
    ("hotmail_bare", Family::Microsoft),
    ("yahoo", Family::Yahoo),
    ("aol", Family::Yahoo),
    ("icloud", Family::Icloud),
    ("fastmail", Family::Fastmail),
    ("proton", Family::Proton),
    ("zoho", Family::Zoho),
    ("gmx", Family::Gmx),
    ("yandex", Family::Yandex),
    ("mailru", Family::MailRu),
    ("posteo", Family::Other),
];

#[test]
fn every_provider_is_read_as_it_writes() {
    for (name, family) in ALL {
        let seen = read(&mail(name));
        assert_eq!(seen.family, family, "{name}");
        assert!(seen.believed, "{name}: {seen:#?}");
        assert!(seen.forged.is_empty(), "{name}: {:?}", seen.forged);
        assert_eq!(seen.from.as_deref(), Some("example.com"), "{name}");
        assert_eq!(seen.token.as_deref(), Some("01KAPZ9W000000000000000000"), "{name}");
        assert_eq!(seen.client.helo.as_deref(), Some("mail.example.com"), "{name}");
        assert_eq!(seen.client.address, Some("203.0.113.10".parse().unwrap()), "{name}");
        let signature = seen.main_signature().unwrap_or_else(|| panic!("{name}: {seen:#?}"));
        assert_eq!(signature.result, Verdict::Pass, "{name}");
        assert_eq!(signature.domain.as_deref(), Some("example.com"), "{name}");
        assert_eq!(signature.selector.as_deref(), Some("s2"), "{name}");
        assert_eq!((signature.aligned, signature.key), (Some(true), Some(Whose::Active)), "{name}");
    }
}

#[test]
fn what_a_provider_does_not_say_is_not_known() {
    // spf, dmarc, ptr, folder, encrypted
    let table: [(&str, &str, &str, &str, &str, &str); 13] = [
        ("gmail", "pass", "pass", "mail.example.com", "-", "TLS1.3"),
        ("outlook", "pass", "pass", "mail.example.com", "junk", "TLS1.3"),
        ("hotmail_bare", "pass", "bestguesspass", "missing", "inbox", "TLS1.2"),
        ("yahoo", "pass", "pass", "-", "-", "TLS1.3"),
        ("aol", "pass", "pass", "-", "-", "TLS1.2"),
        ("icloud", "pass", "pass", "mail.example.com", "inbox", "yes"),
        ("fastmail", "pass", "pass", "mail.example.com", "-", "TLS1.3"),
        ("proton", "pass", "pass", "mail.example.com", "-", "TLS1.3"),
        ("zoho", "pass", "pass", "mail.example.com", "-", "yes"),
        ("gmx", "-", "-", "-", "-", "yes"),
        ("yandex", "pass", "-", "mail.example.com", "-", "yes"),
        ("mailru", "pass", "pass", "mail.example.com", "-", "no"),
        ("posteo", "pass", "pass", "mail.example.com", "-", "yes"),
    ];
    for (name, spf, dmarc, ptr, folder, tls) in table {
        let seen = read(&mail(name));
        let word = |result: &Option<evidence::Named>| {
            result.as_ref().map_or("-".to_owned(), |result| result.result.to_string())
        };
        assert_eq!(word(&seen.spf), spf, "{name}: spf");
        assert_eq!(word(&seen.dmarc), dmarc, "{name}: dmarc");
        let missing = if seen.client.ptr_missing { "missing" } else { "-" };
        assert_eq!(seen.client.ptr.as_deref().unwrap_or(missing), ptr, "{name}: ptr");
        let seen_folder = match &seen.folder {
            Some(Folder::Inbox) => "inbox",
            Some(Folder::Junk) => "junk",
            Some(Folder::Other(name)) => name,
            None => "-",
        };
        assert_eq!(seen_folder, folder, "{name}: folder");
        let version = seen.tls.as_ref().map(|tls| match (&tls.version, tls.encrypted) {
            (Some(version), _) => version.as_str(),
            (None, true) => "yes",
            (None, false) => "no",
        });
        assert_eq!(version.unwrap_or("-"), tls, "{name}: tls");
    }
}

#[test]
fn evidence_beyond_the_results_is_read() {
    let outlook = read(&mail("outlook"));
    assert_eq!(outlook.filter, ["dest:J", "SCL 5", "CAT SPM", "SFV SPM", "RF JunkEmail"]);
    assert_eq!(meaning::of(&outlook).faults, [Fault::Junk]);
    assert_eq!(read(&mail("fastmail")).client.ptr_confirmed, Some(true));
    // An Ed25519 signature that the provider cannot read, beside an RSA one that passes, is normal.
    for name in ["yahoo", "proton"] {
        let seen = read(&mail(name));
        assert!(seen.dkim.iter().any(|signature| signature.result == Verdict::PermError), "{name}");
        assert_eq!(meaning::of(&seen).outcome, Outcome::Ok, "{name}");
    }
    // Where the result names no selector, the one signature that fits it does.
    let from: Vec<_> = ["gmail", "zoho"].iter().map(|name| read(&mail(name)).dkim[0].selector_from).collect();
    assert_eq!(from, [Some("result"), Some("signature")]);
}

#[test]
fn results_in_encoded_words_are_read() {
    let mail = mail("outlook");
    let begin = mail.find("Authentication-Results: spf=").unwrap() + "Authentication-Results: ".len();
    let end = begin + mail[begin..].find("\r\nReceived-SPF").unwrap();
    let value: String = mail[begin..end].replace("\r\n", "");
    let words: Vec<String> =
        value.as_bytes().chunks(45).map(|chunk| format!("=?utf-8?B?{}?=", STANDARD.encode(chunk))).collect();
    let encoded = format!("{}{}{}", &mail[..begin], words.join("\r\n "), &mail[end..]);
    assert_eq!(read(&encoded), read(&mail));
    // Words that are not whole are no results.
    let torn = encoded.replacen("?=", "", 1);
    assert!(!read(&torn).believed);
}

/// Results that a sender would like to see, under every name that the provider answers to.
fn forged(family: Family) -> String {
    let ids: &[&str] = match family {
        Family::Gmail => &["mx.google.com"],
        Family::Microsoft => &[""],
        Family::Yahoo => &["atlas-production.v2-mail-prod1-ir2.omega.yahoo.com"],
        Family::Icloud => &["dmarc.icloud.com", "dkim-verifier.icloud.com", "spf.icloud.com"],
        Family::Fastmail => &["phl-mx-04.messagingengine.com"],
        Family::Proton => &["mail.protonmail.ch"],
        Family::Zoho => &["mx.zohomail.eu"],
        Family::Gmx => &["gmx.net"],
        Family::Yandex => &["mail-nwsmtp-mxfront-production-main-697.klg.yp-c.yandex.net"],
        Family::MailRu => &["mxs.mail.ru"],
        Family::Other => &["posteo.de"],
    };
    let one = |id: &&str| {
        let id = if id.is_empty() { String::new() } else { format!("{id}; ") };
        let results = "spf=pass smtp.mailfrom=example.com; dkim=pass header.d=example.com header.s=s2; dmarc=pass header.from=example.com";
        format!("ARC-Authentication-Results: i=2; {id}{results}\r\nAuthentication-Results: {id}{results}\r\n")
    };
    ids.iter().map(one).collect()
}

/// The message as the provider would have written it had everything failed.
fn failing(mail: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut in_results = false;
    for line in mail.split("\r\n") {
        if !line.starts_with([' ', '\t']) {
            let name = line.split(':').next().unwrap_or_default();
            in_results = name.ends_with("Authentication-Results");
        }
        lines.push(if in_results { line.replace("=pass", "=fail") } else { line.to_owned() });
    }
    lines.join("\r\n")
}

/// Where what a sender hands over begins: at the first field of the fixture's own message.
fn handed_over(mail: &str) -> usize {
    mail.find("DKIM-Signature: v=1").unwrap()
}

fn with(mail: &str, block: &str) -> String {
    let at = handed_over(mail);
    format!("{}{block}{}", &mail[..at], &mail[at..])
}

#[test]
fn forged_results_are_named_and_never_believed() {
    for (name, family) in ALL {
        let failed = failing(&mail(name));
        assert_eq!(meaning::of(&read(&failed)).outcome, Outcome::Failed, "{name}");
        let seen = read(&with(&failed, &forged(family)));
        assert!(!seen.forged.is_empty(), "{name}: nothing is named");
        assert_eq!(meaning::of(&seen).outcome, Outcome::Failed, "{name}: {seen:#?}");
        assert!(seen.dkim.iter().all(|signature| !signature.result.is_pass()), "{name}: {seen:#?}");
        // A message that the provider says nothing about gets nothing from its sender either.
        let at = failed.find("Authentication-Results").unwrap();
        let silent: String = failed
            .split("\r\n")
            .scan(false, |skip, line| {
                if !line.starts_with([' ', '\t']) {
                    *skip = line.contains("Authentication-Results:");
                }
                Some((*skip, line))
            })
            .filter(|(skip, _)| !skip)
            .map(|(_, line)| format!("{line}\r\n"))
            .collect();
        assert!(at > 0 && !silent.contains("Authentication-Results"));
        if family.layout() != Layout::Below {
            let seen = read(&with(&silent, &forged(family)));
            assert!(!seen.believed, "{name}: {seen:#?}");
            assert_ne!(meaning::of(&seen).outcome, Outcome::Ok, "{name}");
        }
    }
}

#[test]
fn a_sender_cannot_choose_the_provider() {
    // A forged hop of Google's below another provider's own, and a message that nobody received.
    let gmail = mail("gmail");
    let own = &gmail[..handed_over(&gmail)];
    let posteo = mail("posteo");
    let seen = read(&with(&failing(&posteo), own));
    assert_eq!(seen.family, Family::Other);
    assert_eq!(meaning::of(&seen).outcome, Outcome::Failed);
    let draft = "Authentication-Results: mx.google.com; dkim=pass header.d=example.com; spf=pass; dmarc=pass\r\nFrom: a@example.com\r\n\r\n";
    let seen = read(draft);
    assert!(!seen.believed);
    assert_eq!(meaning::of(&seen).outcome, Outcome::Unknown);
}

#[test]
fn a_name_that_a_sender_gives_itself_moves_no_boundary() {
    for helo in ["localhost", "[127.0.0.1]", "10.0.0.1", "by", "mx.google.com", "[IPv6:::1]"] {
        for (name, family) in ALL {
            let renamed = failing(&mail(name)).replacen("from mail.example.com (", &format!("from {helo} ("), 1);
            let block = format!("Received: from a (a [10.0.0.1]) by mx.google.com with ESMTP\r\n{}", forged(family));
            let seen = read(&with(&renamed, &block));
            assert_ne!(meaning::of(&seen).outcome, Outcome::Ok, "{name} {helo}: {seen:#?}");
            assert!(seen.dkim.iter().all(|signature| !signature.result.is_pass()), "{name} {helo}: {seen:#?}");
        }
    }
}

#[test]
fn the_classic_is_told_apart() {
    // Signed by the mail service and not by the domain.
    let classic = mail("gmail")
        .replace("header.i=@example.com header.s=s2", "header.i=@example-com.20230601.gappssmtp.com header.s=20230601")
        .replace("dmarc=pass", "dmarc=fail");
    let seen = read(&classic);
    let meaning = meaning::of(&seen);
    assert_eq!(meaning.outcome, Outcome::Failed);
    assert!(meaning.faults.contains(&Fault::SignedByOthers), "{meaning:?}");
    // The old selector still signs; a selector that nobody knows signs.
    for (selector, fault) in [("s1", Fault::IdleSelector), ("google", Fault::ForeignSelector)] {
        let seen = read(&mail("gmail").replace("header.s=s2", &format!("header.s={selector}")));
        assert_eq!(meaning::of(&seen).faults, [fault], "{selector}");
    }
    // No signature at all, and a provider that says nothing about that (mail.ru).
    let unsigned =
        mail("mailru").replace("\t dkim=pass header.d=example.com; ", "\t ").replace("DKIM-Signature:", "X-No:");
    let meaning = meaning::of(&read(&unsigned));
    assert!(meaning.faults.contains(&Fault::Unsigned), "{meaning:?}");
    assert_eq!(meaning.outcome, Outcome::Failed);
}

/// What a sender may put into a message: fields that look like those of providers, in any order.
fn block() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        (0..ALL.len()).prop_map(|at| forged(ALL[at].1)),
        (0..ALL.len(), any::<prop::sample::Index>()).prop_map(|(at, part)| {
            let mail = mail(ALL[at].0);
            let fields: Vec<&str> = mail[..handed_over(&mail)].split("\r\n").collect();
            let from = part.index(fields.len());
            fields[from..]
                .iter()
                .skip_while(|line| line.starts_with([' ', '\t']))
                .map(|line| format!("{line}\r\n"))
                .collect::<String>()
        }),
        "Received: from [a-z.\\[\\]0-9]{1,20} \\(\\[?(10\\.0\\.0\\.1|127\\.0\\.0\\.1|198\\.51\\.100\\.7)\\]?\\) by [a-z.]{1,20}\r\n",
        "(Authentication-Results|ARC-Authentication-Results|X-Yandex-Spam|X-ICL-INFO): [ -~]{0,80}\r\n",
    ];
    prop::collection::vec(field, 0..6).prop_map(|fields| fields.concat().replace("\r\n\r\n", "\r\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is added below what the provider wrote: a failure stays one, and nothing passes that did not pass before.
    #[test]
    fn no_sender_turns_a_failure_into_a_pass(at in 0..ALL.len(), block in block()) {
        let (name, _) = ALL[at];
        let failed = failing(&mail(name));
        let seen = read(&with(&failed, &block));
        prop_assert_ne!(meaning::of(&seen).outcome, Outcome::Ok);
        prop_assert!(seen.dkim.iter().all(|signature| !signature.result.is_pass()), "{}: {:#?}", name, seen);
        prop_assert!(seen.spf.as_ref().is_none_or(|spf| !spf.result.is_pass()), "{}", name);
        prop_assert!(seen.dmarc.as_ref().is_none_or(|dmarc| !dmarc.result.is_pass()), "{}", name);
        // And what passes is not spoilt.
        let passed = read(&with(&mail(name), &block));
        prop_assert!(passed.main_signature().is_some_and(|signature| signature.result.is_pass()), "{}", name);
    }

    #[test]
    fn no_octets_panic(mut octets in prop::collection::vec(any::<u8>(), 0..300), at in 0..ALL.len(), place in any::<prop::sample::Index>()) {
        let mut message = mail(ALL[at].0).into_bytes();
        let place = place.index(message.len());
        octets.extend_from_slice(&message[place..]);
        message.truncate(place);
        message.extend_from_slice(&octets);
        let seen = evidence::of(&message, &ours);
        let _ = dkimctl::report::placement::sentence(&seen, &meaning::of(&seen));
    }
}

/// A megabyte of anything is read in a moment: nothing is looked at twice.
#[test]
fn long_fields_take_no_longer_than_they_are() {
    for unit in
        ["(", ")", "\"", "\\", ";", "=", "a=b;", "dkim=pass ", "(a) ", "[", "from by with ", "\r\n ", "b\u{fc} "]
    {
        let long = unit.repeat(1_000_000 / unit.len());
        let begun = std::time::Instant::now();
        for name in ["Authentication-Results: x; ", "Received: ", "Received: from a (", "DKIM-Signature: "] {
            read(&format!("{name}{long}\r\nFrom: a@example.com\r\n\r\n"));
        }
        read(&with(&mail("gmail"), &format!("X-Long: {long}\r\n").replace("X-Long: \r\n", "X-Long:\r\n")));
        assert!(begun.elapsed().as_secs() < 20, "{unit:?}: {:?}", begun.elapsed());
    }
}
