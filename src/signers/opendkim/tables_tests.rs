use dkimctl_state::record::dkim::PublicKey;
use proptest::prelude::*;

use super::*;

const KEYS: &str = "# the keys of this host\n\
                    \n\
                    old example.com:s1:/keys/s1.pem  # made in spring\n\
                    other.example\tother.example:mail:/keys/other.pem\n";

fn domain(text: &str) -> SigningDomain {
    text.parse().unwrap()
}

fn key(name: &str, selector: &str) -> LoadedKey {
    LoadedKey {
        domain: domain(name),
        selector: selector.parse().unwrap(),
        fingerprint: PublicKey::from_bytes(format!("{name} {selector}")).fingerprint(),
        path: format!("/keys/{name}/{selector}.pem").into(),
    }
}

fn keys(text: &str) -> KeyTable {
    KeyTable::parse(text.as_bytes()).unwrap()
}

fn patterns(text: &str) -> SigningTable {
    SigningTable::parse(text.as_bytes(), Lookup::Pattern).unwrap()
}

/// The table after `domain` was pointed at `names`.
fn pointed(table: &str, name: &str, names: &[&str], multiple: bool) -> Result<String, TableError> {
    let keys =
        keys("old example.com:s1:/k/1\nnew example.com:s2:/k/2\ned example.com:e1:/k/3\nesp esp.example:x:/k/4\n");
    let mut table = patterns(table);
    let names = names.iter().map(|name| KeyName::new(*name)).collect();
    table.point(&[(domain(name), names)], &keys, multiple)?;
    Ok(String::from_utf8(table.to_bytes()?).unwrap())
}

#[test]
fn a_key_is_added_and_nothing_is_taken_away() {
    let mut table = keys(KEYS);
    let new = key("example.com", "s2");
    table.add(std::slice::from_ref(&new)).unwrap();
    let name = own_name(&new);
    let expected = format!("{KEYS}{name} example.com:s2:/keys/example.com/s2.pem\n");
    assert_eq!(String::from_utf8(table.to_bytes()).unwrap(), expected);
    assert!(name.as_str().ends_with(".s2._domainkey.example.com"));

    table.add(&[new]).unwrap();
    assert_eq!(String::from_utf8(table.to_bytes()).unwrap(), expected, "twice is once");
    assert_eq!(diff(KEYS.as_bytes(), expected.as_bytes()).len(), 1);
}

#[test]
fn a_key_under_a_name_of_its_own_is_known() {
    let mut table = keys(KEYS);
    let known = LoadedKey { path: "/keys/s1.pem".into(), ..key("example.com", "s1") };
    table.add(&[known]).unwrap();
    assert_eq!(table.to_bytes(), KEYS.as_bytes());
}

#[test]
fn a_name_is_never_given_to_another_key() {
    let new = key("example.com", "s2");
    let mut table = keys(&format!("{} example.com:s2:/elsewhere\n", own_name(&new)));
    assert!(matches!(table.add(&[new]), Err(TableError::NameTaken { line: 1, .. })));
}

#[test]
fn paths_that_a_table_cannot_carry_are_refused() {
    for path in ["keys/s1.pem", "/a b", "/a:b", "/a#b", "/a%b", "/a\nb"] {
        let key = LoadedKey { path: path.into(), ..key("example.com", "s1") };
        assert!(matches!(keys("").add(&[key]), Err(TableError::Path(_))), "{path:?}");
    }
}

#[test]
fn broken_key_tables_are_refused_with_the_line() {
    for (text, wanted) in [
        ("a example.com:/k\n", "line 1: `a` has 2 fields"),
        ("# x\n\na\n", "line 3: `a` has 1 fields"),
        ("a e.com::/k\n", "line 1: `a` has 3 fields"),
        ("a e.com:s1:/k\nb e.com:s2:/k\na e.com:s3:/k\n", "line 3: the name `a` stands in line 1 already"),
    ] {
        let error = KeyTable::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    assert!(matches!(KeyTable::parse(b"\xff e.com:s1:/k\n"), Err(TableError::NotText { line: 1, .. })));
    assert!(KeyTable::parse(b"# \xff in a comment is nobody's business\n").is_ok());
}

#[test]
fn a_key_that_signs_is_not_removed() {
    let mut table = keys(KEYS);
    let names = [KeyName::new("old")];
    let error = table.remove(&names, &patterns("bob@example.com old\n")).unwrap_err();
    assert_eq!(error, TableError::InUse { line: 1, name: names[0].clone() });
    table.remove(&names, &patterns("*@example.com new\n")).unwrap();
    assert!(table.get("old").is_none() && table.get("other.example").is_some());
    assert!(table.to_bytes().starts_with(b"# the keys of this host\n\nother.example\t"));
}

#[test]
fn a_row_is_replaced_in_place() {
    let table = "# ours\r\n  *@Example.COM\told:%  # mail\r\n*@other.example x\r\n";
    let expected = "# ours\r\n  *@Example.COM\tnew:%  # mail\r\n*@other.example x\r\n";
    assert_eq!(pointed(table, "example.com", &["new"], false).unwrap(), expected);
    assert_eq!(pointed(expected, "example.com", &["old"], false).unwrap(), table, "and back, byte for byte");
}

#[test]
fn a_second_row_of_the_domain_does_not_stay() {
    let table = "*@example.com old\n*@a.example x\n*@example.com gone-from-the-key-table\n";
    assert_eq!(pointed(table, "example.com", &["new"], false).unwrap(), "*@example.com new\n*@a.example x\n");
}

#[test]
fn a_new_row_comes_last_or_before_what_would_come_first() {
    assert_eq!(pointed("*@a.example x", "example.com", &["new"], false).unwrap(), "*@a.example x\n*@example.com new\n");
    for catch_all in ["*", "*@*", "*@ex*", "*example.com", "%", "*@EXAMPLE.*"] {
        let table = format!("*@a.example x\n{catch_all} default\n");
        let expected = format!("*@a.example x\n*@example.com new\n{catch_all} default\n");
        assert_eq!(pointed(&table, "example.com", &["new"], false).unwrap(), expected);
    }
}

#[test]
fn a_row_that_comes_first_is_an_error_with_its_line() {
    for first in ["* default", "*@*.com default", "*@example.com esp"] {
        let error = pointed(&format!("# x\n{first}\n*@example.com old\n"), "example.com", &["new"], false).unwrap_err();
        assert!(matches!(error, TableError::Shadowed { line: 2, .. }), "{error}");
    }
    for harmless in ["bob@example.com default", "*@*.example.com default", "*@notexample.com x", "*@example.co x"] {
        pointed(&format!("{harmless}\n*@example.com old\n"), "example.com", &["new"], false).unwrap();
    }
    // With MultipleSignatures every match is applied.
    let table = "*@example.com esp\n*@example.com old\n";
    assert_eq!(pointed(table, "example.com", &["new"], true).unwrap(), "*@example.com esp\n*@example.com new\n");
}

#[test]
fn two_keys_sign_with_two_rows_if_opendkim_applies_both() {
    let error = pointed("*@example.com old\n", "example.com", &["new", "ed"], false).unwrap_err();
    assert!(matches!(error, TableError::SingleSignature { count: 2, .. }), "{error}");
    let two = pointed("*@example.com old\n*@a.example x\n", "example.com", &["new", "ed"], true).unwrap();
    assert_eq!(two, "*@example.com new\n*@example.com ed\n*@a.example x\n");
    assert_eq!(pointed(&two, "example.com", &["old"], true).unwrap(), "*@example.com old\n*@a.example x\n");
}

#[test]
fn a_key_that_is_not_loaded_signs_for_nobody() {
    let error = pointed("*@example.com old\n", "example.com", &["unheard-of"], false).unwrap_err();
    assert!(matches!(error, TableError::NoSuchKey { .. }), "{error}");
}

#[test]
fn an_empty_table_is_never_written() {
    assert_eq!(pointed("# only this\n*@example.com old\n", "example.com", &[], false), Err(TableError::WouldBeEmpty));
    assert_eq!(pointed("*@example.com old\n*@a.example x\n", "example.com", &[], false).unwrap(), "*@a.example x\n");
}

#[test]
fn a_literal_table_has_bare_domains() {
    let text = "*@example.com dead\nexample.com old\nbob@example.com x\n";
    let mut table = SigningTable::parse(text.as_bytes(), Lookup::Exact).unwrap();
    assert_eq!(table.dead_wildcards(), [1]);
    let keys = keys("old example.com:s1:/k/1\nnew example.com:s2:/k/2\nb b.example:s2:/k/2\n");
    let wanted = [(domain("example.com"), vec![KeyName::new("new")]), (domain("b.example"), vec![KeyName::new("b")])];
    table.point(&wanted, &keys, false).unwrap();
    let expected = "*@example.com dead\nexample.com new\nbob@example.com x\nb.example b\n";
    assert_eq!(String::from_utf8(table.to_bytes().unwrap()).unwrap(), expected);
}

#[test]
fn signing_says_what_point_would_replace() {
    let keys = keys(KEYS);
    let table = patterns("*@example.com old:i@example.com\n*@example.com other.example\nbob@example.com y\n");
    assert_eq!(table.signing(&keys), BTreeMap::from([(domain("example.com"), vec![KeyName::new("old")])]));
}

#[test]
fn a_diff_shows_lines_that_go_and_come() {
    let old = b"a\nb\nc\nd\n";
    assert_eq!(diff(old, b"a\nB\nc\nd\ne\n"), ["-b", "+B", "+e"]);
    assert_eq!(diff(old, b"a\nd\n"), ["-b", "-c"]);
    assert!(diff(old, old).is_empty());
}

#[test]
fn a_hundred_thousand_domains_take_one_pass() {
    let names: Vec<String> = (0..100_000).map(|n| format!("d{n}.example")).collect();
    let key_text: String = names.iter().map(|name| format!("{name} {name}:s2:/k/{name}\n")).collect();
    let rows: String = names.iter().map(|name| format!("*@{name} old\n")).collect();
    let wanted: Vec<_> = names.iter().map(|name| (domain(name), vec![KeyName::new(name.as_str())])).collect();
    let began = std::time::Instant::now();
    let mut table = patterns(&rows);
    table.point(&wanted, &keys(&key_text), false).unwrap();
    assert_eq!(
        table.to_bytes().unwrap(),
        rows.replace("old", "")
            .split_whitespace()
            .fold(String::new(), |mut all, row| {
                all.push_str(&format!("{row} {}\n", &row[2..]));
                all
            })
            .into_bytes()
    );
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

/// Lines as people write them: rows, comments, blank lines, strange white space, and octets of every kind.
fn foreign() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        "[a-z*@.%]{1,12}[ \t]+[a-z:/.]{1,20}".prop_map(String::into_bytes),
        "[ \t]*#.{0,20}".prop_map(String::into_bytes),
        "[ \t]{0,3}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>().prop_filter("one line", |byte| *byte != b'\n'), 0..30),
    ];
    let end = prop_oneof![Just(&b"\n"[..]), Just(&b"\r\n"[..])];
    (prop::collection::vec((line, end), 0..12), any::<bool>()).prop_map(|(lines, cut)| {
        let mut text: Vec<u8> = lines.into_iter().flat_map(|(line, end)| [&line, end].concat()).collect();
        if cut && text.ends_with(b"\n") {
            text.pop();
        }
        text
    })
}

proptest! {
    #[test]
    fn foreign_content_is_kept_byte_for_byte(text in foreign()) {
        prop_assert_eq!(Lines::parse(&text).to_bytes(), text.clone());
        if let Ok(table) = KeyTable::parse(&text) {
            prop_assert_eq!(table.to_bytes(), text.clone());
        }
        for lookup in [Lookup::Exact, Lookup::Pattern] {
            if let Ok(table) = SigningTable::parse(&text, lookup)
                && let Ok(bytes) = table.to_bytes()
            {
                prop_assert_eq!(bytes, text.clone());
            }
        }
    }

    #[test]
    fn an_edit_touches_its_own_domain_only(text in foreign(), lookup in prop_oneof![Just(Lookup::Exact), Just(Lookup::Pattern)]) {
        let keys = keys("one example.com:s1:/k/1\ntwo example.com:s2:/k/2\n");
        let Ok(mut table) = SigningTable::parse(&text, lookup) else { return Ok(()) };
        let point = |table: &mut SigningTable, name: &str| table.point(&[(domain("example.com"), vec![KeyName::new(name)])], &keys, false);
        if point(&mut table, "one").is_err() { return Ok(()) }
        let first = table.to_bytes().unwrap();
        let again = SigningTable::parse(&first, lookup).unwrap();
        prop_assert_eq!(&again, &table, "what is written reads back");
        let own_lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').filter(|line| line.ends_with(b" one") || line.ends_with(b" one\r")).count();
        prop_assert_eq!(own_lines(&first), 1 + own_lines(&text));
        point(&mut table, "two").unwrap();
        point(&mut table, "one").unwrap();
        prop_assert_eq!(table.to_bytes().unwrap(), first, "there and back is nowhere");
    }

    #[test]
    fn a_pattern_without_a_star_matches_itself_alone(a in "[a-c*]{0,6}", b in "[a-c]{0,6}") {
        let regex = a.split('*').map(str::to_owned).collect::<Vec<_>>();
        // The plain definition: try every split.
        fn slow(parts: &[String], text: &str) -> bool {
            match parts {
                [only] => text == only,
                [first, rest @ ..] => text.strip_prefix(first.as_str()).is_some_and(|after| (0..=after.len()).any(|at| slow(rest, &after[at..]))),
                [] => false,
            }
        }
        prop_assert_eq!(matches(&a, &b), slow(&regex, &b));
    }
}
