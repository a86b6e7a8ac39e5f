use super::*;
use crate::doctor::rig::directory;

#[test]
fn images_show_what_they_are() {
    for (image, wanted) in [
        ("boky/postfix:v4", Some(Kind::PostfixImage)),
        ("docker.io/mwader/postfix-relay", Some(Kind::PostfixImage)),
        ("registry.example:5000/infra/postfix@sha256:00", Some(Kind::PostfixImage)),
        ("ghcr.io/docker-mailserver/docker-mailserver:14", Some(Kind::Suite)),
        ("mailserver/docker-mailserver", Some(Kind::Suite)),
        ("ghcr.io/mailcow/postfix:1.78", Some(Kind::Suite)),
        ("namshi/smtp", Some(Kind::Other)),
        ("devture/exim-relay", Some(Kind::Other)),
        ("ghcr.io/hsn723/postfix_exporter:0.9", None),
        ("postfixadmin:3", None),
        ("nginx", None),
        ("mailpit", None),
        ("", None),
    ] {
        assert_eq!(kind_of_image(image), wanted, "{image}");
    }
}

fn mtas(tree: &[(&str, &str)], service: Option<&str>) -> Vec<(String, Kind, Option<String>)> {
    let (_root, mut patient) = directory(tree);
    patient.service = service.map(str::to_owned);
    let written = patient.written();
    let name = |mta: Mta<'_>| {
        let main = mta.main_cf().map(|(path, _)| path.display().to_string());
        (mta.service.name.clone(), mta.kind, main)
    };
    written.mtas().map(name).collect()
}

const POSTFIX: &str = "FROM debian\nRUN apt-get install -y postfix\n";

#[test]
fn a_service_is_recognised_by_evidence_or_by_being_named() {
    let compose =
        "services:\n  mail: {image: nginx}\n  x: {build: x}\n  y: {build: {context: ., dockerfile: y/Mail}}\n";
    let tree = [("compose.yaml", compose), ("x/Dockerfile", POSTFIX), ("y/Mail", "FROM boky/postfix\n")];
    let found: Vec<(String, Kind)> = mtas(&tree, None).into_iter().map(|(name, kind, _)| (name, kind)).collect();
    assert_eq!(found, [("x".to_owned(), Kind::OwnPostfix), ("y".to_owned(), Kind::PostfixImage)]);
    assert_eq!(mtas(&tree, Some("mail"))[0].1, Kind::Named);
    assert!(mtas(&tree, Some("nobody")).is_empty());
}

#[test]
fn the_main_cf_is_the_one_that_gets_in() {
    let main = |compose: &str, dockerfile: &str, more: &[(&str, &str)]| {
        let mut tree = vec![("compose.yaml", compose), ("x/Dockerfile", dockerfile)];
        tree.extend_from_slice(more);
        mtas(&tree, None).remove(0).2
    };
    let built = "services: {x: {build: x}}";
    let some = |path: &str| Some(path.to_owned());
    assert_eq!(main(built, POSTFIX, &[("x/conf/main.cf", "a = 1")]), some("x/conf/main.cf"));
    assert_eq!(main(built, POSTFIX, &[("x/a/main.cf", "a = 1"), ("x/b/main.cf", "a = 1")]), None);
    let copies = format!("{POSTFIX}COPY b/main.cf /etc/postfix/main.cf\n");
    assert_eq!(main(built, &copies, &[("x/a/main.cf", "a = 1"), ("x/b/main.cf", "a = 1")]), some("x/b/main.cf"));
    let mounts = "services: {x: {build: x, volumes: ['./etc:/etc/postfix:ro']}}";
    assert_eq!(main(mounts, &copies, &[("etc/main.cf", "a = 1"), ("x/b/main.cf", "a = 1")]), some("etc/main.cf"));
}
