//! `secrets list`, `secrets deliver`, `secrets identity`

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use crate::bench::{Bench, opens};

#[test]
fn the_list_says_where_every_key_is() {
    let bench = Bench::new();
    let said = bench.said(&["secrets", "list"], 0);
    assert!(said.starts_with("ok   example.com s1 (propagated) ") && said.ends_with(": sealed here\n"), "{said}");
    let blob = bench.blob();
    let bytes = std::fs::read(&blob).unwrap();
    std::fs::write(&blob, "something else").unwrap();
    assert!(bench.said(&["secrets", "list", "example.com"], 3).contains("CHANGED here"));
    std::fs::remove_file(&blob).unwrap();
    assert!(bench.said(&["secrets", "list", "--json"], 3).contains("\"missing\""));
    std::fs::write(&blob, bytes).unwrap();
    bench.said(&["secrets", "list"], 0);
}

#[test]
fn orphans_are_named_and_only_a_crash_s_are_removed() {
    let bench = Bench::new();
    let blob = bench.blob();
    let make = |name: &str, made: SystemTime| {
        let path = bench.path("state/blobs").join(name);
        std::fs::copy(&blob, &path).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(made).unwrap();
        path
    };
    let now = SystemTime::now();
    let before = make("00000000000000aa.age", now - Duration::from_secs(86_400));
    let ahead = make("00000000000000bb.age", now + Duration::from_secs(5));
    let said = bench.said(&["secrets", "list"], 0);
    assert!(said.contains("00000000000000aa.age belongs to no key of this state: older than this state"), "{said}");
    assert!(said.contains("00000000000000bb.age belongs to no key of this state: newer than all"), "{said}");
    bench.said(&["secrets", "list", "--remove-orphans", "--yes"], 0);
    assert!(before.exists() && ahead.exists());

    // Left by a crash: sealed after the first event of this state, and the state went on.
    let crashed = make("00000000000000cc.age", now);
    std::thread::sleep(Duration::from_millis(2100));
    bench.said(&["hold", "example.com", "--reason", "a newer commit"], 0);
    assert!(bench.said(&["secrets", "list"], 0).contains("left by a crash"));
    assert!(bench.said(&["secrets", "list", "--remove-orphans"], 2).contains("add --yes if it is meant"));
    assert!(crashed.exists());
    let said = bench.said(&["secrets", "list", "--remove-orphans", "--yes"], 0);
    assert!(said.contains("00000000000000cc.age belongs to no key of this state: destroyed"), "{said}");
    assert!(!crashed.exists() && before.exists());
}

#[test]
fn a_lost_outbox_is_written_anew() {
    let bench = Bench::new();
    let manifest = bench.path("outbox/manifest.signed");
    // The state went on since the manifest was written: its serial follows, so that a lost one is never undercut.
    bench.said(&["secrets", "deliver"], 0);
    let before = std::fs::read_to_string(&manifest).unwrap();
    assert!(bench.said(&["secrets", "deliver"], 0).starts_with("ok   mail: the outbox is whole"));
    assert_eq!(std::fs::read_to_string(&manifest).unwrap(), before);

    std::fs::remove_dir_all(bench.path("outbox")).unwrap();
    let said = bench.said(&["secrets", "deliver", "mail"], 0);
    assert!(said.starts_with("done mail: outbox written") && said.contains("1 sealed keys added"), "{said}");
    let serial = |text: &str| {
        let json = text.split_once('\n').unwrap().1;
        serde_json::from_str::<serde_json::Value>(json).unwrap()["serial"].as_u64().unwrap()
    };
    assert!(serial(&std::fs::read_to_string(&manifest).unwrap()) >= serial(&before), "hosts refuse an older one");
    assert!(bench.write(&[], 0).starts_with("written   "));
    assert!(bench.said(&["secrets", "deliver"], 0).starts_with("ok   mail: the outbox is whole"));
    assert!(bench.said(&["secrets", "deliver", "other"], 2).contains("no [signer.other] is configured"));
}

#[test]
fn an_identity_is_made_once_and_its_recipient_printed() {
    let bench = Bench::new();
    let made = bench.command(&["secrets", "identity", "--out", "host.identity"]).output().unwrap();
    assert!(made.status.success() && made.stdout.starts_with(b"age1"));
    let file = bench.path("host.identity");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(bench.said(&["secrets", "identity", "--out", "host.identity"], 1).contains("already exists"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    bench.seal_to(&[String::from_utf8(made.stdout).unwrap().trim()]);
    bench.said(&["secrets", "rewrap", "--identity", "ci.key", "--yes"], 0);
    assert!(opens(&bench.blob(), &text));
}

#[test]
fn a_break_glass_identity_needs_a_passphrase_worth_the_name() {
    let bench = Bench::new();
    let make = ["secrets", "identity", "--out", "glass.age", "--break-glass"];
    let said = bench.said(&make, 2);
    assert!(said.contains("a passphrase is needed, and nobody is here to type it"), "{said}");
    let with_file = [&make[..], &["--passphrase-file", "passphrase"]].concat();
    for (text, why) in [("", "fewer than 12"), ("eleven char\n", "fewer than 12"), ("            \n", "fewer than 12")]
    {
        bench.private("passphrase", text);
        assert!(bench.said(&with_file, 1).contains(why), "{text:?}");
    }
    bench.private("passphrase", "correct horse battery staple\n");
    bench.chmod("passphrase", 0o644);
    assert!(bench.said(&with_file, 1).contains("is open to others"));
    assert!(!bench.path("glass.age").exists());
    bench.chmod("passphrase", 0o600);
    let recipient = bench.said(&with_file, 0);
    let recipient = recipient.lines().next().unwrap();

    // The day comes: the keys are sealed to it alone, and it brings them back.
    bench.seal_to(&[recipient]);
    bench.said(&["secrets", "rewrap", "--identity", "ci.key", "--yes"], 0);
    assert!(!opens(&bench.blob(), &bench.identity));
    let public = bench.identity.lines().next().unwrap().trim_start_matches("# public key: ").to_owned();
    bench.seal_to(&[&public]);
    let back = ["secrets", "rewrap", "--identity", "glass.age", "--yes"];
    bench.said(&back, 2);
    bench.private("wrong", "wrong horse battery staple\n");
    assert!(bench.said(&[&back[..], &["--passphrase-file", "wrong"]].concat(), 1).contains("does not open glass.age"));
    bench.said(&[&back[..], &["--passphrase-file", "passphrase"]].concat(), 0);
    assert!(opens(&bench.blob(), &bench.identity));
}
