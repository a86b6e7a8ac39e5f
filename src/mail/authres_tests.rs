use proptest::prelude::*;

use super::*;

fn words(value: &str) -> (Option<String>, Vec<String>) {
    let read = parse(value);
    (read.id, read.results.iter().map(|result| format!("{}={}", result.method, result.verdict)).collect())
}

#[test]
fn what_no_grammar_allows_is_read_all_the_same() {
    let table: &[(&str, Option<&str>, &[&str])] = &[
        ("mx.google.com; dkim=pass header.i=@a.example; spf=pass", Some("mx.google.com"), &["dkim=pass", "spf=pass"]),
        ("mx.example 1; dkim=none", Some("mx.example"), &["dkim=none"]),
        ("MX.Example; none", Some("mx.example"), &[]),
        // Microsoft: no name, a word in between, no blank behind a semicolon.
        (
            "spf=pass (sender IP is 1) smtp.mailfrom=a; dkim=none header.d=none;b.example; dmarc=none action=none",
            None,
            &["spf=pass", "dkim=none", "dmarc=none"],
        ),
        (
            "dkim=timeout (key query timeout) header.d=a.example;compauth=fail reason=001",
            None,
            &["dkim=temperror", "compauth=fail"],
        ),
        // Yahoo: comments glued to results, a semicolon at the end.
        (
            "a.yahoo.com; dkim=perm_fail header.s=e; dmarc=pass(p=REJECT,sp=NONE) header.from=b;",
            Some("a.yahoo.com"),
            &["dkim=permerror", "dmarc=pass"],
        ),
        ("a.yahoo.com; dkim=unknown;", Some("a.yahoo.com"), &["dkim=unknown"]),
        // Semicolons and brackets in comments.
        (
            "mx1.example; dkim=pass (1024-bit key; unprotected (nested; too)) header.d=b; dkim-atps=neutral",
            Some("mx1.example"),
            &["dkim=pass", "dkim-atps=neutral"],
        ),
        ("  gmx.net; dkim=pass header.i=@b", Some("gmx.net"), &["dkim=pass"]),
        ("x.example; dkim/1 = pass header.d = b", Some("x.example"), &["dkim=pass"]),
        ("x.example; spf=hardfail; dkim=bestguesspass", Some("x.example"), &["spf=fail", "dkim=bestguesspass"]),
        ("x.example; dkim=pass (never closed; spf=pass", Some("x.example"), &["dkim=pass"]),
        ("", None, &[]),
        (";;;", None, &[]),
        ("(comment) x.example; spf=none () smtp.mailfrom=a", Some("x.example"), &["spf=none"]),
    ];
    for (value, id, results) in table {
        let (seen_id, seen) = words(value);
        assert_eq!(seen_id.as_deref(), *id, "{value}");
        assert_eq!(seen, *results, "{value}");
    }
}

#[test]
fn properties_keep_what_is_said() {
    let read = parse(
        "x.example; dkim=fail reason=\"key not found; sorry\" (0-bit key) header.d=A.example header.b=\"XFV\" header.s=S1; \
                      spf=pass smtp.mailfrom=\"prvs=1=a@b.example\"; dmarc=pass header.from=<a@c.example> (p=none)",
    );
    let [dkim, spf, dmarc] = read.results.as_slice() else { panic!("{read:?}") };
    assert_eq!(dkim.property("reason"), Some("key not found; sorry"));
    assert_eq!(dkim.comments, ["0-bit key"]);
    assert_eq!((dkim.signing_domain().as_deref(), dkim.selector().as_deref()), (Some("a.example"), Some("s1")));
    assert_eq!(spf.property("smtp.mailfrom").and_then(domain_in).as_deref(), Some("b.example"));
    assert_eq!(dmarc.property("header.from").and_then(domain_in).as_deref(), Some("c.example"));
}

#[test]
fn a_sender_s_address_adds_no_result() {
    for value in [
        "x.example; spf=fail (domain of \"a) ; dkim=pass (\"@b.example does not) smtp.mailfrom=\"a ; dkim=pass\"@b.example",
        "x.example; spf=fail smtp.helo=dkim=pass smtp.mailfrom=a dkim=pass",
        "x.example; spf=fail (a \\) dkim=pass) smtp.mailfrom=b",
    ] {
        assert_eq!(words(value).1, ["spf=fail"], "{value}");
    }
}

#[test]
fn only_pass_is_a_pass() {
    for word in ["pass", "PASS", "Pass"] {
        assert!(Verdict::of(word).is_pass());
    }
    for word in ["passed", "bestguesspass", "pas", "ok", "unknown", "", "none"] {
        assert!(!Verdict::of(word).is_pass(), "{word}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}", glue in "(;|=|\\(|\\)|\"|\\\\| |dkim|pass|header\\.d|\u{fc}){0,60}") {
        let _ = parse(&text);
        let read = parse(&format!("{glue}{text}{glue}"));
        for result in &read.results {
            let _ = (result.signing_domain(), result.selector());
        }
    }
}
