use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;
use crate::keygen::{KeyKind, generate};

fn key() -> PrivateKey {
    generate(KeyKind::Ed25519).unwrap()
}

fn person() -> (Identities, Recipient) {
    let (text, recipient) = host_identity();
    (Identities::from_text("test", text.as_bytes()).unwrap(), recipient)
}

#[test]
fn every_recipient_opens_and_nobody_else() {
    let ((one, to_one), (two, to_two), (stranger, _)) = (person(), person(), person());
    let key = key();
    let blob = seal(&key, &[to_one, to_two]).unwrap();
    for identity in [&one, &two] {
        assert_eq!(open(&blob, identity).unwrap().fingerprint(), key.fingerprint());
    }
    assert!(matches!(open(&blob, &stranger), Err(OpenError::NotForUs(_))));
    assert!(seal(&key, &[]).is_none());
}

#[test]
fn a_blob_cut_anywhere_or_changed_is_never_used() {
    let (identity, to) = person();
    let blob = seal(&key(), &[to]).unwrap();
    for length in 0..blob.len() {
        assert!(open(&blob[..length], &identity).is_err(), "cut at {length}");
    }
    assert!(matches!(open(&blob[..blob.len() - 1], &identity), Err(OpenError::Damaged)));
    let mut changed = blob.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(matches!(open(&changed, &identity), Err(OpenError::Damaged)));
    assert!(matches!(open(b"hello", &identity), Err(OpenError::NotAge)));
    assert!(matches!(open(b"", &identity), Err(OpenError::NotAge)));
}

#[test]
fn the_age_program_opens_what_we_seal() {
    let temp = tempfile::tempdir().unwrap();
    let (text, to) = host_identity();
    std::fs::write(temp.path().join("id"), text.as_bytes()).unwrap();
    let key = key();
    std::fs::write(temp.path().join("blob"), seal(&key, &[to]).unwrap()).unwrap();
    let Ok(said) = Command::new("age").current_dir(temp.path()).args(["-d", "-i", "id", "blob"]).output() else {
        return;
    };
    assert!(said.stdout == key.pem().as_bytes());
}

#[test]
fn ssh_keys_receive_and_open() {
    let temp = tempfile::tempdir().unwrap();
    for (kind, bits) in [("ed25519", "256"), ("rsa", "2048")] {
        let path = temp.path().join(kind);
        let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-b", bits, "-f"]).arg(&path).status();
        if !made.is_ok_and(|status| status.success()) {
            return;
        }
        let to = recipients_in(&std::fs::read_to_string(path.with_extension("pub")).unwrap()).unwrap();
        let key = key();
        let blob = seal(&key, &to).unwrap();
        assert_eq!(open(&blob, &Identities::from_file(&path).unwrap()).unwrap().fingerprint(), key.fingerprint());
    }
    let path = temp.path().join("locked");
    Command::new("ssh-keygen").args(["-q", "-N", "secret", "-t", "ed25519", "-f"]).arg(&path).status().unwrap();
    assert!(matches!(Identities::from_file(&path), Err(OpenError::Encrypted(_))));
    let path = temp.path().join("ecdsa");
    Command::new("ssh-keygen").args(["-q", "-N", "", "-t", "ecdsa", "-f"]).arg(&path).status().unwrap();
    assert!(matches!(Identities::from_file(&path), Err(OpenError::SshKind(_))));
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    assert!(matches!(public.parse::<Recipient>(), Err(RecipientError::SshKind(_))));
}

#[test]
fn break_glass_opens_with_its_passphrase_only() {
    let (file, to) = break_glass_identity_with("correct horse battery staple", 10);
    let key = key();
    let blob = seal(&key, &[to]).unwrap();
    let identity = Identities::from_encrypted("glass", &file, "correct horse battery staple").unwrap();
    assert_eq!(open(&blob, &identity).unwrap().fingerprint(), key.fingerprint());
    assert!(matches!(Identities::from_encrypted("glass", &file, "wrong"), Err(OpenError::Passphrase(_))));
    assert!(matches!(Identities::from_text("glass", &file), Err(OpenError::Encrypted(_))));
}

#[test]
fn an_identity_that_others_can_read_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("id");
    std::fs::write(&path, host_identity().0.as_bytes()).unwrap();
    for (mode, fine) in [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o660, false), (0o604, false)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(Identities::from_file(&path).is_ok(), fine, "{mode:o}");
    }
    let missing = Identities::from_file(&temp.path().join("none")).err().unwrap().to_string();
    assert!(missing.contains("does not exist"), "{missing}");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    for nothing in ["", "# only a comment\n", "hello\n"] {
        std::fs::write(&path, nothing).unwrap();
        assert!(matches!(Identities::from_file(&path), Err(OpenError::NoIdentity(_))), "{nothing:?}");
    }
}

#[test]
fn recipient_files_are_read_line_by_line() {
    let (_, to) = person();
    let text = format!("# ops\n\n  {to}  \n");
    assert_eq!(recipients_in(&text).unwrap(), std::slice::from_ref(&to));
    assert_eq!(recipients_in("# nobody\n").unwrap_err(), RecipientError::Empty);
    assert!(matches!(recipients_in(&format!("{to}\nage1oops\n")), Err(RecipientError::Line { line: 2, .. })));
    assert_eq!("age1yubikey1qwt50d05nh".parse::<Recipient>(), Err(RecipientError::Plugin("age1yubikey".into())));
    let (secret, _) = host_identity();
    let line = secret.lines().last().unwrap();
    assert_eq!(line.parse::<Recipient>(), Err(RecipientError::IsSecret));
    assert_eq!(line.to_lowercase().parse::<Recipient>(), Err(RecipientError::IsSecret));
}
