use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Text {
    interpolate(text, &variables("A=1\nEMPTY=\nexport B='two words' # c\n# C=3\nD=x # comment\nQ=\"q\"\n"))
}

#[test]
fn what_is_set_is_put_in_and_what_is_not_is_not_known() {
    for (text, wanted) in [
        ("plain", "plain"),
        ("$A${A}", "11"),
        ("${B}", "two words"),
        ("${D}${Q}", "xq"),
        ("$$A", "$A"),
        ("${X:-y}", "y"),
        ("${EMPTY:-y}", "y"),
        ("${EMPTY-y}", ""),
        ("${X:-${A}}", "1"),
        ("${X:-a{b}c}", "a{b}c"),
        ("${A:+z}", "z"),
        ("100$", "100$"),
        ("${", "${"),
    ] {
        assert_eq!(read(text).known(), Some(wanted), "{text}");
    }
    for (text, missing) in [("${X}", "X"), ("$X-1", "X"), ("${X:?say it}", "X"), ("${C}", "C"), ("${X:+z}", "X")] {
        assert_eq!(read(text).unresolved, [missing], "{text}");
        assert_eq!(read(text).known(), None);
    }
    assert_eq!(read("${X}:${Y:-5}").to_string(), "${X}:5", "people read what they wrote");
}

proptest! {
    #[test]
    fn any_text_is_read(text in "[${}a-zA-Z:?+ -]{0,200}") {
        let text = read(&text);
        prop_assert_eq!(text.text.matches(UNKNOWN).count(), text.unresolved.len());
    }
}
