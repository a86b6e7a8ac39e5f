use proptest::prelude::*;

use super::*;

fn node(text: &str) -> Node {
    parse(text, 0).unwrap()
}

#[test]
fn places_are_those_of_the_text() {
    let root = node("# c\nservices:\n  smtp:\n    ports:\n      - \"25:25\"\n      - 587\n");
    let ports = root.get("services").unwrap().get("smtp").unwrap().get("ports").unwrap();
    let at: Vec<(u32, u32)> = ports.elements().iter().map(|port| (port.origin.line, port.origin.column)).collect();
    assert_eq!(at, [(5, 9), (6, 9)]);
    assert_eq!(ports.texts(), ["25:25", "587"]);
}

#[test]
fn texts_stay_as_they_are_written() {
    let root = node("a: 0600\nb: on\nc: yes\nd: true\ne: 25:25\nf: 1_000\ng: ~\nh: ''\ni: 0o400\n");
    let text = |key| root.get(key).unwrap().text().map(str::to_owned);
    for (key, wanted) in
        [("a", "0600"), ("b", "on"), ("c", "yes"), ("d", "true"), ("e", "25:25"), ("f", "1_000"), ("h", "")]
    {
        assert_eq!(text(key).as_deref(), Some(wanted), "{key}");
    }
    assert_eq!(root.get("g").unwrap().value, Value::Null);
    assert_eq!(text("i").as_deref(), Some("256"), "an octal number is one");
}

#[test]
fn merge_keys_are_merged_and_aliases_have_the_place_of_their_definition() {
    let root = node("x: &x {image: a, restart: always}\nservices:\n  s:\n    <<: *x\n    image: b\n");
    let service = root.get("services").unwrap().get("s").unwrap();
    assert_eq!(service.get("image").unwrap().text(), Some("b"));
    assert_eq!(service.get("restart").unwrap().text(), Some("always"));
}

#[test]
fn tags_of_compose_are_seen() {
    let mut base = node("ports: [a]\nenv: {A: 1, B: 2}\nname: x\n");
    base.merge(node("ports: !override [b]\nenv: {B: !reset null, C: 3}\nname: !reset null\n"));
    assert_eq!(base.get("ports").unwrap().texts(), ["b"]);
    assert_eq!(base.get("env").unwrap().entries().map(|(key, _)| key).collect::<Vec<_>>(), ["A", "C"]);
    assert!(base.get("name").is_none());
}

#[test]
fn later_files_add_to_lists_and_replace_texts() {
    let mut base = node("ports: [a]\nimage: one\n");
    base.merge(parse("ports: [b]\nimage: two\n", 1).unwrap());
    assert_eq!(base.get("ports").unwrap().texts(), ["a", "b"]);
    assert_eq!(base.get("image").unwrap().origin.file, 1);
}

#[test]
fn paths_of_the_engine_become_ours() {
    let mut node = node("a: /srv/mail\nb: [/srv/mail/smtp, /srv/mailman, /etc]\n");
    node.relative_to("/srv/mail");
    assert_eq!(node.get("a").unwrap().text(), Some("."));
    assert_eq!(node.get("b").unwrap().texts(), ["./smtp", "/srv/mailman", "/etc"]);
}

#[test]
fn broken_text_is_an_error_with_a_line() {
    for text in ["a: [\n", "a: b: c\n", "{% for x in y %}\na: 1\n", "a: 1\na: 2\n", "a: *nobody\n"] {
        let error = parse(text, 0).unwrap_err();
        assert!(!error.why.is_empty() && !error.why.contains('\n'), "{text:?}: {error:?}");
    }
    assert_eq!(parse("a: 1\nb: [\n", 0).unwrap_err().line.map(|line| line >= 2), Some(true));
}

#[test]
fn depth_and_bombs_are_refused_and_do_no_harm() {
    assert!(parse(&"[".repeat(100_000), 0).is_err());
    assert!(parse(&"- ".repeat(10_000), 0).is_err());
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"]) {
        bomb.push_str(&format!("{name}: &{name} [*{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}]\n"));
    }
    assert!(parse(&bomb, 0).is_err());
    assert_eq!(node("").value, Value::Null);
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&String::from_utf8_lossy(&bytes), 0);
    }

    #[test]
    fn anything_like_yaml_is_read_or_refused(text in "([ a-z0-9:\\[\\]{}&*!|>'\"#,?%@-]|\n|\n  |: |- ){0,120}") {
        let _ = parse(&text, 0);
    }
}
