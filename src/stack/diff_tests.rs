use std::process::Command;

use super::*;

/// patch(1) would do; git is at hand wherever this is built.
fn applied(old: &str, diff: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, old).unwrap();
    let patch = dir.path().join("patch");
    std::fs::write(&patch, diff).unwrap();
    let done =
        Command::new("git").args(["apply", "--unsafe-paths"]).arg(&patch).current_dir(dir.path()).output().unwrap();
    assert!(done.status.success(), "{}\n{diff}", String::from_utf8_lossy(&done.stderr));
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn a_diff_leads_from_one_text_to_the_other() {
    let lines = |range: std::ops::Range<u32>| range.map(|n| format!("line {n}\n")).collect::<String>();
    let long = lines(0..40);
    let pairs = [
        ("a\nb\nc\n".to_owned(), "a\nB\nc\n".to_owned()),
        (long.clone(), long.replace("line 3\n", "").replace("line 30\n", "line 30\nmore\n")),
        (long.clone(), format!("first\n{long}last")),
        (lines(0..3), lines(0..3) + "no end"),
        ("no end".to_owned(), "no end\n".to_owned()),
        (long.clone(), lines(5..12)),
    ];
    for (old, new) in pairs {
        let diff = unified("a/file", "b/file", &old, &new);
        assert_eq!(applied(&old, &diff), new, "{diff}");
    }
}

#[test]
fn equal_texts_have_none() {
    assert_eq!(unified("a", "b", "x\n", "x\n"), "");
}

#[test]
fn far_changes_stand_in_hunks_of_their_own() {
    let old: String = (0..30).map(|n| format!("{n}\n")).collect();
    let new = old.replace("\n2\n", "\ntwo\n").replace("\n27\n", "\ntwenty-seven\n");
    assert_eq!(unified("a", "b", &old, &new).matches("@@ -").count(), 2);
}
