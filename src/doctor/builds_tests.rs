use super::*;
use crate::doctor::rig::{found, verdicts};
use crate::keygen::{KeyKind, generate};

fn key() -> String {
    generate(KeyKind::Ed25519).unwrap().pem().to_owned()
}

fn of(dockerfile: &str, more: &[(&str, &str)]) -> Vec<String> {
    let mut tree = vec![("Dockerfile", dockerfile)];
    tree.extend_from_slice(more);
    verdicts(&found(&tree, examine), "KEY002")
}

#[test]
fn keys_made_while_building() {
    for line in [
        "RUN opendkim-genkey -s mail -d example.com",
        "run mkdir -p /k && cd /k && \\\n  /usr/sbin/opendkim-genkey -b 2048 -s mail",
        "RUN [\"opendkim-genkey\", \"-s\", \"mail\"]",
        "RUN rspamadm dkim_keygen -s mail > /k",
        "RUN openssl genrsa -out /etc/dkim/mail.key 2048",
        "RUN <<EOF\nset -e\nopendkim-genkey -s mail\nEOF",
    ] {
        assert_eq!(of(&format!("FROM debian\n{line}\n"), &[]), ["fail error Dockerfile:2"], "{line}");
    }
    for line in [
        "# RUN opendkim-genkey -s mail",
        "RUN apt-get install -y opendkim-tools # opendkim-genkey",
        "RUN echo opendkim-genkey",
        "RUN which opendkim-genkey",
        "RUN apt-get install -y \\\n  # opendkim-genkey -s mail\n  opendkim",
        "RUN cat > /start.sh <<EOF\nopendkim-genkey -s mail\nEOF",
        "RUN openssl genrsa -out /etc/ssl/tls.key 2048",
    ] {
        assert_eq!(of(&format!("FROM debian\n{line}\n"), &[]), ["ok"], "{line}");
    }
}

#[test]
fn a_stage_that_is_left_behind_weighs_less() {
    let text = "FROM debian AS keys\nRUN opendkim-genkey -s mail\nFROM debian\nRUN true\n";
    assert_eq!(of(text, &[]), ["warn Dockerfile:2"]);
}

#[test]
fn keys_in_variables() {
    let text = "FROM debian\nENV DKIM_KEY=\"-----BEGIN RSA PRIVATE KEY-----\\nMIIE\"\n";
    assert_eq!(of(text, &[]), ["fail error Dockerfile:2"]);
    let der = key().lines().filter(|line| !line.starts_with('-')).collect::<String>();
    assert_eq!(of(&format!("FROM debian\nENV DKIM_KEY={der}\n"), &[]), ["fail error Dockerfile:2"]);
    assert_eq!(of("FROM debian\nENV DKIM_KEY_FILE=/run/secrets/dkim\n", &[]), ["ok"]);
}

#[test]
fn keys_that_are_copied_are_told_by_content() {
    let key = key();
    let tree = [("mail/harmless.txt", key.as_str()), ("mail/main.cf", "a = 1\n")];
    assert_eq!(of("FROM debian\nCOPY mail/harmless.txt /x\n", &tree), ["fail error Dockerfile:2"]);
    assert_eq!(of("FROM debian\nadd mail /etc/mail\n", &tree), ["fail error Dockerfile:2"]);
    assert_eq!(of("FROM debian\nCOPY mail/*.txt /x/\n", &tree), ["fail error Dockerfile:2"]);
    assert_eq!(of("FROM debian\nCOPY mail/main.cf /x\n", &tree), ["ok"]);
    assert_eq!(
        of("FROM debian\nCOPY . /\n", &tree),
        ["warn Dockerfile:2"],
        "which context it is built with is not said"
    );
    let compose = ("compose.yaml", "services: {m: {build: .}}");
    assert_eq!(of("FROM debian\nCOPY . /\n", &[tree[0], compose]), ["fail error Dockerfile:2"]);
    let ignored = [tree[0], compose, (".dockerignore", "mail/*.txt\n")];
    assert_eq!(of("FROM debian\nCOPY . /\n", &ignored), ["ok"]);
    let fixtures = [("tests/fixtures/k.pem", key.as_str()), compose];
    assert_eq!(of("FROM debian\nCOPY . /\n", &fixtures), ["warn info Dockerfile:2"]);
}

#[test]
fn keys_that_are_not_here_are_told_by_name() {
    for (line, wanted) in [
        ("COPY opendkim.private /etc/", "fail error Dockerfile:2"),
        ("COPY dkim/example.com/mail.pem /etc/", "fail error Dockerfile:2"),
        ("ADD tls.key /etc/", "warn Dockerfile:2"),
        ("COPY dkim.txt dkim.pub opendkim.conf /etc/", "ok"),
        ("COPY --from=build /keys/s1.private /etc/", "ok"),
        ("ADD https://example.com/s1.private /etc/", "ok"),
    ] {
        assert_eq!(of(&format!("FROM debian\n{line}\n"), &[]), [wanted], "{line}");
    }
    let public =
        ("repo.gpg.key", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQINBFf0j5oBEADS6cItqCbf4lOLICohq2aHqM5I1jsz3DC4\n");
    assert_eq!(of("FROM debian\nCOPY repo.gpg.key /\n", &[public]), ["ok"], "it is here, and it is none");
}

#[test]
fn what_cannot_be_read_is_not_known() {
    assert_eq!(of("FROM debian\nFROBNICATE\n", &[]), ["unknown Dockerfile:2"]);
}
