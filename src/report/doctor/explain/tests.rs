use super::*;

#[test]
fn every_check_has_one_text_and_every_text_a_check() {
    let texts: Vec<&str> = all().map(|text| text.id).collect();
    let mut checks: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
    let mut sorted = texts.clone();
    sorted.sort_unstable();
    checks.sort_unstable();
    assert_eq!(sorted, checks);
}

#[test]
fn no_part_is_left_out() {
    for text in all() {
        for (name, part) in text.parts() {
            let said = part.split_whitespace().count();
            assert!(said >= 3, "{} says too little under `{name}`: {part:?}", text.id);
            assert!(!part.contains("  \n"), "{} {name} ends a line in spaces", text.id);
        }
    }
}

#[test]
fn what_is_to_be_copied_is_not_wrapped() {
    let command = format!("  dkimctl {}", "long ".repeat(40));
    assert_eq!(wrapped(&format!("Say\n{command}"), 20), format!("  Say\n  {command}"));
    assert_eq!(wrapped("one two three", 7), "  one two\n  three");
}
