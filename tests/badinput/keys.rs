//! Keys that cannot be read, and identities that do not fit.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use dkimctl::keygen::{KeyKind, generate};
use dkimctl::sealing::host_identity;
use dkimctl::secrets::signed::SigningKey;

use crate::place::{Place, ZONE, tree};

#[test]
fn a_private_key_that_cannot_be_read() {
    let Some(place) = Place::new() else { return };
    let before = place.export();
    let key = generate(KeyKind::default()).unwrap();
    let adopt = |seen: &[&str]| {
        let said = place.fails(&["adopt", ZONE, "--selector", "s1", "--key", "old.key"], 1, seen);
        let told = key.pem().lines().filter(|line| !line.starts_with('-')).find(|line| said.contains(line));
        assert_eq!(told, None, "a piece of the key is told");
    };
    adopt(&["old.key"]);
    place.write_private("old.key", &key.pem()[..600]);
    adopt(&["damaged or cut short"]);
    place.write_private("old.key", "this is no key");
    adopt(&["there is no PEM private key in it"]);
    fs::write(place.path("old.key"), key.pem()).unwrap();
    fs::set_permissions(place.path("old.key"), fs::Permissions::from_mode(0o644)).unwrap();
    adopt(&["old.key", "chmod"]);
    place.write_private("old.key", key.pem());
    adopt(&["s1._domainkey.example.com"]);
    assert_eq!(place.export(), before);
}

#[test]
fn recipients_that_are_none() {
    let Some(place) = Place::new() else { return };
    let recipient = format!("recipients = [\"{}\"]", place.recipient);
    place.reconfigure(&recipient, "recipients = []");
    place.fails(&["rotate", ZONE], 1, &["no recipient is configured"]);
    place.reconfigure(&recipient, "recipients = [\"age1nonsense\"]");
    place.fails(&["rotate", ZONE], 1, &["dkimctl.toml:", "it is no recipient"]);
    place.reconfigure(&recipient, "recipients_files = [\"recipients\"]");
    place.fails(&["rotate", ZONE], 1, &["recipients"]);
    place.whole();
}

#[test]
fn an_identity_that_opens_nothing() {
    let Some(place) = Place::new() else { return };
    place.run(&["rotate", ZONE]);
    let ordered = place.path("outbox/manifest.signed").exists();
    assert!(ordered, "{}", place.run(&["advance", ZONE]));
    let manifest_key = SigningKey::open_or_create(&place.path("state/manifest.key")).unwrap().verify_key();
    for (dir, mode) in [("host", 0o700), ("keys", 0o700), ("tables", 0o755)] {
        fs::create_dir(place.path(dir)).unwrap();
        fs::set_permissions(place.path(dir), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(place.path("tables/KeyTable"), "# ours\nother other.example:s:/dev/null\n").unwrap();
    fs::write(place.path("tables/SigningTable"), "*@other.example other\n").unwrap();
    let tables = place.path("tables");
    let conf = format!(
        "Socket inet:8891@127.0.0.1\nKeyTable file:{0}/KeyTable\nSigningTable refile:{0}/SigningTable\n\
         InternalHosts 127.0.0.1\n",
        tables.display()
    );
    fs::write(place.path("opendkim.conf"), conf).unwrap();
    let host = format!(
        "host = \"mail\"\noutbox = \"outbox\"\nreceipts = \"receipts\"\nmanifest_key = \"{manifest_key}\"\n\
         identity = \"other\"\nkeys = \"keys\"\nstate = \"host\"\n[signer]\ntype = \"opendkim\"\n\
         conf = \"opendkim.conf\"\n[observe]\nnameservers = [\"{}\"]\n",
        place.dns.address
    );
    fs::write(place.path("host.toml"), &host).unwrap();
    let before = tree(&tables);
    let apply = |code, seen: &[&str]| place.fails(&["host", "apply", "--host", "host.toml"], code, seen);
    apply(1, &["other"]);
    place.write_private("other", &host_identity().0);
    // The host did its work, and what it was to check is wrong.
    let said = apply(3, &["was not done"]);
    assert!(said.contains("FAIL example.com the blob is not sealed to the identity in other"), "{said}");
    place.write_private("other", "AGE-SECRET-KEY-1NONSENSE\n");
    let said = apply(1, &["identity"]);
    assert!(!said.contains("NONSENSE"), "{said}");
    // A manifest that another key signed: whoever wrote it, it was not our secure host.
    let stranger = SigningKey::generate().verify_key();
    fs::write(place.path("host.toml"), host.replace(&manifest_key.to_string(), &stranger.to_string())).unwrap();
    apply(1, &["manifest"]);
    assert_eq!(tree(&tables), before, "the tables were touched");
    assert!(tree(&place.path("keys")).is_empty(), "a key was written");
    place.whole();
}
