use std::cell::RefCell;

use dkimctl_state::record::dkim::{Algorithm, revocation};
use dkimctl_state::time::Time;

use super::*;
use crate::doctor::catalog;
use crate::doctor::finding::{Finding, Outcome};
use crate::doctor::image::{Form, Layer};
use crate::keygen::{KeyKind, generate};

fn public() -> PublicKey {
    generate(KeyKind::Ed25519).unwrap().public().clone()
}

fn at(path: &str, public: &PublicKey) -> KeyFound {
    let layer = Layer { number: 3, of: 9, made_by: Some("COPY keys/ /etc/".into()), image: None };
    KeyFound {
        place: Place::File { layer: Some(layer), path: path.into(), aliases: Vec::new(), gone: None },
        form: Form::Pem,
        kind: Kind::Whole { algorithm: Algorithm::Ed25519, public: public.clone(), bare: None },
    }
}

fn ours(public: &PublicKey, phase: Phase) -> OurKey {
    OurKey {
        domain: "example.com".parse().unwrap(),
        selector: "s1".parse().unwrap(),
        phase,
        algorithm: Algorithm::Ed25519,
        public: public.clone(),
        record: public.record(Algorithm::Ed25519),
        due: Time::from_unix(0),
    }
}

fn image(keys: Vec<KeyFound>) -> Image {
    Image { name: "mail:1".into(), layers: 9, files: 10, keys, ..Image::default() }
}

fn missing(names: &[Fqdn]) -> Vec<Shown> {
    vec![Shown::default(); names.len()]
}

fn silent(names: &[Fqdn]) -> Vec<Shown> {
    vec![Shown { unknown: Some("SERVFAIL".into()), ..Shown::default() }; names.len()]
}

fn serving(name: &str, text: TxtText) -> impl Fn(&[Fqdn]) -> Vec<Shown> {
    let name: Fqdn = name.parse().unwrap();
    move |names| {
        let one =
            |asked: &Fqdn| Shown { texts: if *asked == name { vec![text.clone()] } else { Vec::new() }, unknown: None };
        names.iter().map(one).collect()
    }
}

/// Each finding as `id outcome severity`, and all sentences.
fn said(image: &Image, ours: &[OurKey], ask: &Ask<'_>) -> (Vec<String>, String) {
    let mut findings = Findings::default();
    judge(image, ours, ask, &mut findings);
    let all: Vec<Finding> = findings.iter().cloned().collect();
    let line = |finding: &Finding| match finding.result {
        Outcome::Warn | Outcome::Fail => format!("{} {:?}", finding.id, finding.severity),
        other => format!("{} {other:?}", finding.id),
    };
    assert!(all.iter().all(|finding| catalog::find(finding.id).is_some()));
    (all.iter().map(line).collect(), all.iter().map(|f| format!("{}\n{}\n", f.evidence, f.fix)).collect())
}

#[test]
fn a_live_key_of_ours_is_critical_by_the_ledger_or_by_dns() {
    let key = public();
    let image = image(vec![at("app/key.pem", &key)]);
    let record = key.record(Algorithm::Ed25519);
    for phase in [Phase::Published, Phase::Propagated, Phase::Switching, Phase::Active, Phase::Retiring] {
        let (lines, text) = said(&image, &[ours(&key, phase)], &missing);
        assert_eq!(lines, ["KEY001 Critical"], "{phase}");
        assert!(text.contains("dkimctl revoke example.com --selector s1 --reason"), "{text}");
        assert!(text.contains("layer 3/9 (COPY keys/ /etc/): app/key.pem"), "{text}");
    }
    // A ledger that is behind: DNS still shows it.
    let (lines, _) = said(&image, &[ours(&key, Phase::Withdrawn)], &serving("s1._domainkey.example.com", record));
    assert_eq!(lines, ["KEY001 Critical"]);
    // A name server that is silent changes nothing of what the ledger knows.
    let (lines, text) = said(&image, &[ours(&key, Phase::Active)], &silent);
    assert_eq!(lines, ["KEY001 Critical"]);
    assert!(text.contains("SERVFAIL"), "{text}");
}

#[test]
fn a_dead_key_of_ours_is_an_error() {
    let key = public();
    let image = image(vec![at("app/key.pem", &key)]);
    for phase in [Phase::Sealed, Phase::Withdrawn, Phase::Gone, Phase::Revoked] {
        let (lines, _) = said(&image, &[ours(&key, phase)], &missing);
        assert_eq!(lines, ["KEY002 Error", "KEY001 Ok"], "{phase}");
    }
    let revoked = serving("s1._domainkey.example.com", revocation(Algorithm::Ed25519));
    assert_eq!(said(&image, &[ours(&key, Phase::Revoked)], &revoked).0, ["KEY002 Error", "KEY001 Ok"]);
}

#[test]
fn a_foreign_key_is_live_if_the_name_in_its_path_shows_it() {
    let key = public();
    let image = image(vec![at("etc/opendkim/keys/other.example/mail.private", &key)]);
    let record = key.record(Algorithm::Ed25519);
    let (lines, text) = said(&image, &[], &serving("mail._domainkey.other.example", record));
    assert_eq!(lines, ["KEY001 Critical"]);
    assert!(
        text.contains("mail._domainkey.other.example, live in DNS") && text.contains("rotate other.example"),
        "{text}"
    );

    let other = serving("mail._domainkey.other.example", public().record(Algorithm::Ed25519));
    assert_eq!(said(&image, &[], &other).0, ["KEY002 Warn", "KEY001 Ok"]);
    assert_eq!(said(&image, &[], &missing).0, ["KEY002 Warn", "KEY001 Ok"]);
    assert_eq!(said(&image, &[], &silent).0, ["KEY001 Unknown", "KEY002 Warn"], "silence is not absence");
}

#[test]
fn a_table_in_the_image_names_the_selector() {
    let key = public();
    let mut image = image(vec![at("app/a.pem", &key)]);
    image.hints = hints::of_text("k x.example:sel:/app/a.pem\nl x.example:other:/app/b.pem\n");
    let asked = RefCell::new(Vec::new());
    let ask = |names: &[Fqdn]| {
        asked.borrow_mut().extend(names.iter().map(ToString::to_string));
        serving("sel._domainkey.x.example", key.record(Algorithm::Ed25519))(names)
    };
    assert_eq!(said(&image, &[], &ask).0, ["KEY001 Critical"]);
    assert_eq!(*asked.borrow(), ["sel._domainkey.x.example"], "the other row is about another file");
}

#[test]
fn unknown_keys_weigh_by_their_place() {
    let key = public();
    for (path, wanted) in [
        ("app/key.pem", "KEY002 Info"),
        ("README.md", "KEY002 Info"),
        ("srv/mail-test/k", "KEY002 Info"),
        ("opt/dkim/k", "KEY002 Warn"),
        ("x/mail.private", "KEY002 Warn"),
        ("etc/ssl/private/ssl-cert-snakeoil.key", "KEY002 Info"),
    ] {
        assert_eq!(said(&image(vec![at(path, &key)]), &[], &missing).0[0], wanted, "{path}");
    }
    let (_, text) = said(&image(vec![at("etc/ssl/private/ssl-cert-snakeoil.key", &key)]), &[], &missing);
    assert!(text.contains("Debian's test certificate"), "{text}");
}

#[test]
fn a_snakeoil_that_is_ours_is_no_snakeoil() {
    let key = public();
    let image = image(vec![at("etc/ssl/private/ssl-cert-snakeoil.key", &key)]);
    assert_eq!(said(&image, &[ours(&key, Phase::Active)], &missing).0, ["KEY001 Critical"]);
}

#[test]
fn what_was_not_looked_into_is_unknown_never_ok() {
    let mut image = image(Vec::new());
    assert_eq!(said(&image, &[], &missing).0, ["KEY001 Ok", "KEY002 Ok"]);
    image.unscanned.push(super::super::Unscanned { what: "layer 2 of 9".into(), why: super::super::Why::NotALayer });
    let (lines, text) = said(&image, &[], &missing);
    assert_eq!(lines, ["KEY001 Unknown", "KEY002 Unknown"]);
    assert!(text.contains("layer 2 of 9"), "{text}");
}
