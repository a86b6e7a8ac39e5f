//! What matters is enforced by a machine: sizes, import order, one place for sentences, one page a provider.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that is read at one sitting. Tests live in sibling files and may be longer tables.
const LONGEST: usize = 520;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(dir: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<PathBuf> {
    ["src", "state/src", "providers/src"].iter().flat_map(|dir| files_below(dir, "rs")).collect()
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    name.ends_with("tests") || path.components().any(|part| part.as_os_str().to_string_lossy().ends_with("_tests"))
}

#[test]
fn files_are_read_at_one_sitting() {
    let long = |path: &PathBuf| {
        let lines = fs::read_to_string(path).unwrap().lines().count();
        (!is_test(path) && lines > LONGEST).then(|| format!("{}: {lines} lines", path.display()))
    };
    let long: Vec<String> = sources().iter().filter_map(long).collect();
    assert!(long.is_empty(), "split these by what they say:\n{}", long.join("\n"));
}

#[test]
fn imports_go_one_way() {
    for (dir, forbidden) in
        [("state/src", "dkimctl_providers"), ("state/src", "dkimctl::"), ("providers/src", "dkimctl::")]
    {
        for path in files_below(dir, "rs") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains(&format!("use {forbidden}")), "{} imports {forbidden}", path.display());
        }
    }
}

#[test]
fn the_lifecycle_is_pure() {
    for path in files_below("state/src/lifecycle", "rs").iter().filter(|path| !is_test(path)) {
        let text = fs::read_to_string(path).unwrap();
        for reach in
            ["std::fs", "std::net", "std::env", "std::process", "Utc::now", "SystemTime", "Instant::now", "rand"]
        {
            let word = |line: &str| line.contains(reach) && !line.trim_start().starts_with("//");
            assert!(!text.lines().any(word), "{} reaches out by {reach}", path.display());
        }
        assert!(!text.contains("allow(clippy::disallowed"), "{} opts out of the bans", path.display());
    }
}

#[test]
fn every_provider_has_a_file_and_a_page() {
    let listed: BTreeSet<String> = dkimctl_providers::all().iter().map(|d| d.code.to_owned()).collect();
    let page = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut pages: BTreeSet<String> = files_below("docs/providers", "md").into_iter().map(page).collect();
    if !cfg!(feature = "dns-update") {
        assert!(pages.remove("dnsupdate"), "docs/providers/dnsupdate.md");
    }
    assert_eq!(listed, pages, "the list in providers/src/lib.rs and docs/providers/");
    for code in &listed {
        let file = root().join(format!("providers/src/{code}.rs"));
        let folder = root().join(format!("providers/src/{code}/mod.rs"));
        assert!(file.exists() || folder.exists(), "no providers/src/{code}.rs");
    }
}

/// What `init` prints to be pasted at the host is what the page shows.
#[test]
fn narrow_rights_are_the_same_in_the_docs() {
    for host in dkimctl_providers::all().iter().filter(|host| host.rights_template.lines().count() > 3) {
        let page = fs::read_to_string(root().join(format!("docs/providers/{}.md", host.code))).unwrap();
        let template = host.rights_template.replace("ZONE", "example.com").replace("KEY", "dkimctl");
        assert!(page.contains(template.trim()), "docs/providers/{}.md has not:\n{template}", host.code);
    }
}

#[test]
fn one_tls_stack() {
    for banned in ["ring", "openssl-sys", "native-tls"] {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--workspace", "--offline", "--locked", "-e", "normal", "-i", banned])
            .current_dir(root())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&tree.stdout);
        assert!(text.trim().is_empty(), "{banned} is in the tree:\n{text}");
        let why = String::from_utf8_lossy(&tree.stderr);
        assert!(why.contains("did not match any packages") || why.contains("nothing to print"), "cargo tree: {why}");
    }
}

#[test]
fn sqlite_is_new_enough() {
    let version = dkimctl_state::store::sqlite_version();
    let parts: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    assert!(parts >= vec![3, 51, 3], "SQLite {version} may corrupt a WAL on reset");
}

#[test]
fn the_top_level_is_fixed() {
    let allowed = ["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "src", "providers", "state", "tests", "docs"];
    let listed = Command::new("git").args(["ls-tree", "--name-only", "HEAD"]).current_dir(root()).output();
    let Ok(listed) = listed.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()) else { return };
    for name in listed.lines().filter(|name| !name.starts_with('.')) {
        assert!(allowed.contains(&name), "`{name}` is not a part of the top level");
    }
}
