//! The program as people run it: every page below pages/ is an executable example, and walk.rs goes a longer way.

mod walk;

/// Where programs look for things of their user; a page sees a home of its own.
fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn pages() {
    let home = home();
    trycmd::TestCases::new()
        .env("HOME", home.path().display().to_string())
        .env("XDG_CONFIG_HOME", home.path().join("config").display().to_string())
        .env("XDG_STATE_HOME", home.path().join("state").display().to_string())
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C")
        .case("tests/cli/pages/*.md");
}

/// A command without a page is a command without an example.
#[test]
fn every_command_has_a_page() {
    let help = assert_cmd::Command::cargo_bin("dkimctl").unwrap().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    for line in commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let verb = line.split_whitespace().next().unwrap();
        let page = format!("{}/tests/cli/pages/{verb}.md", env!("CARGO_MANIFEST_DIR"));
        assert!(verb == "help" || std::path::Path::new(&page).exists(), "{page} is missing");
    }
}
