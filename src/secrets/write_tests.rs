use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

use super::super::fixture::Hosts;
use super::super::list::{State, held, list};
use super::*;
use crate::files::Owner;
use crate::keygen::{KeyKind, generate};
use crate::sealing::{host_identity, seal};

fn run(hosts: &Hosts) -> Vec<Written> {
    write(&hosts.open(), &hosts.identity, &hosts.target(), None).unwrap()
}

fn path(hosts: &Hosts, index: usize) -> PathBuf {
    let order = &hosts.orders.domains[0];
    key_path(&hosts.target().dir, &order.domain, &order.keys[index])
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

fn ready() -> Hosts {
    let hosts = Hosts::new();
    hosts.write().unwrap();
    hosts
}

#[test]
fn keys_are_written_once_each_under_its_own_path() {
    let hosts = ready();
    for (index, written) in run(&hosts).iter().enumerate() {
        assert!(matches!(written.outcome, Outcome::Written));
        assert_eq!(written.path, path(&hosts, index));
        assert!(written.path.ends_with(format!("example.com/s{}-{}.private", index + 1, written.fingerprint.short())));
        let key = PrivateKey::from_pem(std::fs::read(&written.path).unwrap()).unwrap();
        assert_eq!(key.fingerprint(), written.fingerprint);
        assert_eq!(mode(&written.path), 0o400);
    }
    assert_eq!(mode(&hosts.target().dir), 0o700);
    assert_eq!(mode(&hosts.target().dir.join("example.com")), 0o700);
    let inode = path(&hosts, 0).metadata().unwrap().ino();
    assert!(run(&hosts).iter().all(|written| matches!(written.outcome, Outcome::Already)));
    assert_eq!(path(&hosts, 0).metadata().unwrap().ino(), inode, "the second run touches nothing");
    assert_eq!(held(&hosts.orders.domains[0], &hosts.target().dir), [hosts.fingerprint(0), hosts.fingerprint(1)]);
}

#[test]
fn what_a_crash_left_is_cleaned_and_what_others_left_is_not_overwritten() {
    let hosts = ready();
    run(&hosts);
    let first = path(&hosts, 0);
    std::fs::remove_file(&first).unwrap();
    let partial = first.with_file_name(format!(".{}.partial", first.file_name().unwrap().to_str().unwrap()));
    std::fs::write(&partial, "-----BEGIN PRIV").unwrap();
    let second = path(&hosts, 1);
    std::fs::remove_file(&second).unwrap();
    std::fs::write(&second, "theirs").unwrap();
    let written = run(&hosts);
    assert!(matches!(written[0].outcome, Outcome::Written));
    assert!(!partial.exists());
    assert!(matches!(written[1].outcome, Outcome::Refused(WriteError::OtherContent { .. })));
    assert_eq!(std::fs::read(&second).unwrap(), b"theirs");
}

#[test]
fn a_wrong_mode_or_owner_is_repaired() {
    let hosts = ready();
    run(&hosts);
    std::fs::set_permissions(path(&hosts, 0), PermissionsExt::from_mode(0o644)).unwrap();
    let written = run(&hosts);
    assert!(matches!(written[0].outcome, Outcome::Repaired));
    assert!(matches!(written[1].outcome, Outcome::Already));
    assert_eq!(mode(&path(&hosts, 0)), 0o400);
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let owner = Owner { uid: 4711, gid: 4712 };
    let access = Access { mode: 0o440, owner: Some(owner) };
    let target = Target { dir: hosts.temp.path().join("theirs"), access };
    let written = write(&hosts.open(), &hosts.identity, &target, None).unwrap();
    assert!(matches!(written[0].outcome, Outcome::Written));
    let seen = written[0].path.metadata().unwrap();
    assert_eq!((seen.uid(), seen.gid(), seen.mode() & 0o7777), (4711, 4712, 0o440));
    assert_eq!(mode(written[0].path.parent().unwrap()), 0o750);
}

#[test]
fn a_blob_that_holds_another_key_is_not_written() {
    let mut hosts = Hosts::new();
    // Somebody who knows the recipient seals a key of his own, and even the manifest vouches for the blob.
    let evil = seal(&generate(KeyKind::Ed25519).unwrap(), hosts.vault.recipients()).unwrap();
    let victim = hosts.order().keys[0].clone();
    std::fs::write(hosts.vault.path().join(&victim.blob), &evil).unwrap();
    hosts.order().keys[0].blob_sha256 = crate::vault::sha256_hex(&evil);
    hosts.write().unwrap();
    let written = run(&hosts);
    assert!(matches!(written[0].outcome, Outcome::Refused(WriteError::OtherKey { .. })));
    assert!(matches!(written[1].outcome, Outcome::Written), "one refused key hinders no other");
    assert!(!path(&hosts, 0).exists());
}

#[test]
fn dns_may_veto_and_a_wrong_identity_opens_nothing() {
    let hosts = ready();
    let veto = |_: &SigningDomain, key: &KeyOrder| match key.selector.as_str() {
        "s1" => Err("no such record".to_owned()),
        _ => Ok(()),
    };
    let written = write(&hosts.open(), &hosts.identity, &hosts.target(), Some(&veto)).unwrap();
    assert!(matches!(&written[0].outcome, Outcome::Refused(WriteError::Dns(why)) if why == "no such record"));
    assert!(matches!(written[1].outcome, Outcome::Written));
    let stranger = Identities::from_text("stranger", host_identity().0.as_bytes()).unwrap();
    let written = write(&hosts.open(), &stranger, &hosts.target(), None).unwrap();
    assert!(matches!(written[0].outcome, Outcome::Refused(WriteError::Open(OpenError::NotForUs(_)))));
    assert!(!path(&hosts, 0).exists());
}

#[test]
fn open_and_linked_targets_are_refused() {
    let hosts = ready();
    let target = hosts.target();
    std::fs::create_dir(&target.dir).unwrap();
    std::fs::set_permissions(&target.dir, PermissionsExt::from_mode(0o777)).unwrap();
    let refused = write(&hosts.open(), &hosts.identity, &target, None);
    assert!(matches!(refused, Err(WriteError::File(FileError::WritableByOthers { .. }))));
    std::fs::set_permissions(&target.dir, PermissionsExt::from_mode(0o700)).unwrap();
    symlink(&target.dir, hosts.temp.path().join("link")).unwrap();
    let linked = Target { dir: hosts.temp.path().join("link"), ..target.clone() };
    let refused = write(&hosts.open(), &hosts.identity, &linked, None);
    assert!(matches!(refused, Err(WriteError::File(FileError::Symlink { .. }))));
    symlink("/tmp", target.dir.join("example.com")).unwrap();
    let written = run(&hosts);
    assert!(matches!(written[0].outcome, Outcome::Refused(WriteError::File(FileError::Symlink { .. }))));
    let nowhere = Target { dir: hosts.temp.path().join("no/where"), ..target };
    let refused = write(&hosts.open(), &hosts.identity, &nowhere, None);
    assert!(matches!(refused, Err(WriteError::File(FileError::Missing { .. }))));
}

#[test]
fn only_keys_of_the_destroy_list_are_destroyed() {
    let mut hosts = ready();
    run(&hosts);
    let retired = hosts.order().keys.remove(0);
    let sign = hosts.fingerprint(0);
    let file = key_path(&hosts.target().dir, &hosts.orders.domains[0].domain, &retired);
    assert!(destroy(&hosts.target().dir, &hosts.orders.domains[0]).is_empty());
    assert!(file.exists(), "a key that is merely not named any more stays");
    hosts.order().destroy = vec![retired.fingerprint, sign];
    let done = destroy(&hosts.target().dir, &hosts.orders.domains[0]);
    assert!(done[0].outcome.is_ok());
    assert_eq!(done[0].paths, std::slice::from_ref(&file));
    assert!(!file.exists());
    assert!(matches!(done[1].outcome, Err(WriteError::StillNeeded(_))));
    assert!(path(&hosts, 0).exists());
    let again = destroy(&hosts.target().dir, &hosts.orders.domains[0]);
    assert!(again[0].outcome.is_ok() && again[0].paths.is_empty(), "twice is once");
    std::fs::write(&file, [0; 119]).unwrap();
    assert!(destroy(&hosts.target().dir, &hosts.orders.domains[0])[0].outcome.is_ok());
    assert!(!file.exists(), "what a crash left between overwriting and unlinking goes too");
    std::fs::write(&file, "theirs").unwrap();
    let foreign = destroy(&hosts.target().dir, &hosts.orders.domains[0]);
    assert!(matches!(foreign[0].outcome, Err(WriteError::OtherContent { .. })));
    assert!(file.exists());
}

#[test]
fn the_list_tells_held_missing_wrong_and_unnamed_apart() {
    let mut hosts = ready();
    let third = hosts.make("s3");
    hosts.order().keys.push(third);
    hosts.write().unwrap();
    run(&hosts);
    std::fs::remove_file(path(&hosts, 0)).unwrap();
    std::fs::remove_file(path(&hosts, 2)).unwrap();
    std::fs::write(path(&hosts, 2), "hello").unwrap();
    std::fs::write(hosts.target().dir.join("example.com/mail.private"), "old").unwrap();
    let listed = list(&hosts.open().manifest, &hosts.target().dir);
    let states: Vec<_> = listed.iter().map(|listed| listed.state.clone()).collect();
    let [s1, s2, s3] = [0, 1, 2].map(|i| hosts.fingerprint(i));
    assert_eq!(states, [State::Missing(s1), State::Held(s2), State::Wrong(s3), State::Unnamed]);
    assert_eq!(listed.iter().map(|listed| listed.signs).collect::<Vec<_>>(), [false, true, false, false]);
}
