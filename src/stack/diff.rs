//! The difference of two texts in the unified format that diff(1) prints and patch(1) takes.

use std::fmt::Write as _;

/// Lines of context around a change.
const CONTEXT: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Keep,
    Remove,
    Add,
}

/// Empty if the texts are equal.
pub fn unified(old_name: &str, new_name: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let edits = edits(&old, &new);
    let mut out = format!("--- {old_name}\n+++ {new_name}\n");
    let (mut at, mut old_at, mut new_at) = (0, 0, 0);
    while let Some(first) = (at..edits.len()).find(|&i| edits[i] != Edit::Keep) {
        // A hunk ends where more lines are kept than two contexts have.
        let mut last = first;
        while let Some(next) = (last + 1..edits.len()).find(|&i| edits[i] != Edit::Keep) {
            if next - last > 2 * CONTEXT {
                break;
            }
            last = next;
        }
        let begin = first.saturating_sub(CONTEXT).max(at);
        let end = (last + 1 + CONTEXT).min(edits.len());
        // What lies before the hunk is kept in both.
        old_at += begin - at;
        new_at += begin - at;
        let hunk = &edits[begin..end];
        let count = |other| hunk.iter().filter(|edit| **edit != other).count();
        let _ = writeln!(out, "@@ -{} +{} @@", range(old_at, count(Edit::Add)), range(new_at, count(Edit::Remove)));
        for edit in hunk {
            let (mark, line) = match edit {
                Edit::Keep => (' ', old[old_at]),
                Edit::Remove => ('-', old[old_at]),
                Edit::Add => ('+', new[new_at]),
            };
            old_at += usize::from(*edit != Edit::Add);
            new_at += usize::from(*edit != Edit::Remove);
            out.push(mark);
            out.push_str(line);
            if !line.ends_with('\n') {
                out.push_str("\n\\ No newline at end of file\n");
            }
        }
        at = end;
    }
    out
}

/// The first line counts as 1, except of an empty range, whose line is the one before it.
fn range(start: usize, count: usize) -> String {
    match count {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        _ => format!("{},{count}", start + 1),
    }
}

/// The shortest way from one text to the other, by their longest common subsequence. These files have some hundred lines.
fn edits(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let width = new.len() + 1;
    let mut longest = vec![0u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i * width + j] = match old[i] == new[j] {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut edits) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        let edit = if i < old.len() && j < new.len() && old[i] == new[j] {
            Edit::Keep
        } else if j == new.len() || i < old.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            Edit::Remove
        } else {
            Edit::Add
        };
        i += usize::from(edit != Edit::Add);
        j += usize::from(edit != Edit::Remove);
        edits.push(edit);
    }
    edits
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
