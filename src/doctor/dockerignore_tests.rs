use super::*;

#[test]
fn patterns_as_docker_reads_them() {
    let ignore = Ignore::parse("# c\nkeys\n*.private\n**/*.pem\n!public/ok.pem\n/tmp/\ndocs/*.md\n");
    for path in ["keys", "keys/a/b", "s1.private", "a/b/c.pem", "x.pem", "tmp/x", "docs/a.md"] {
        assert!(ignore.leaves_out(path), "{path}");
    }
    for path in ["sub/keys/a", "sub/s1.private", "public/ok.pem", "docs/a/b.md", "src/main.rs"] {
        assert!(!ignore.leaves_out(path), "{path}");
    }
    assert!(Ignore::parse("**").leaves_out("a/b"));
    assert!(!Ignore::parse("").leaves_out("a"));
}

#[test]
fn stars_and_marks_within_a_name() {
    for (pattern, text, wanted) in [
        ("*", "abc", true),
        ("a*c", "abbc", true),
        ("a*c", "abcd", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("[ab]x", "bx", true),
        ("\\*", "*", true),
        ("\\*", "x", false),
        ("**a", "ba", true),
        ("[", "[", true),
    ] {
        assert_eq!(matches_part(pattern.as_bytes(), text.as_bytes()), wanted, "{pattern} {text}");
    }
}
