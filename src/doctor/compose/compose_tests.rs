use super::model::{Healthcheck, MountKind};
use super::*;
use crate::doctor::rig::directory;

fn project(text: &str) -> Project {
    let (_root, patient) = directory(&[("compose.yaml", text)]);
    let (mut projects, unread) = read(patient.files.as_ref().unwrap(), false);
    assert!(unread.is_empty(), "{unread:?}");
    projects.remove(0)
}

#[test]
fn every_form_of_a_port() {
    let ports = "[25, \"25:25\", \"127.0.0.1:587:587\", \"[::1]:2525:25\", \"3000-3010:20-30\", \"53:53/udp\", \
                 \"${IP}:25:25\", \"${IP:-127.0.0.1}:465:465\", {target: 25, published: \"25\", host_ip: 127.0.0.1}]";
    let project = project(&format!("services: {{s: {{image: x, ports: {ports}}}}}"));
    let seen: Vec<(Option<(u16, u16)>, Option<bool>, bool)> =
        project.services[0].ports.iter().map(|port| (port.target, port.is_loopback(), port.udp)).collect();
    let one = |port| Some((port, port));
    let (open, closed) = (Some(false), Some(true));
    assert_eq!(
        seen,
        [
            (one(25), open, false),
            (one(25), open, false),
            (one(587), closed, false),
            (one(25), closed, false),
            (Some((20, 30)), open, false),
            (one(53), open, true),
            (one(25), None, false),
            (one(465), closed, false),
            (one(25), closed, false),
        ]
    );
}

#[test]
fn every_form_of_a_mount() {
    let project = project(
        "services:\n  s:\n    image: x\n    tmpfs: [/run, '/tmp:size=1m']\n    volumes: [named:/a, ./b:/b:ro, /c, \
         '${DIR}/d:/d', {type: volume, source: e, target: /e}, {type: tmpfs, target: /f}]\n",
    );
    let service = &project.services[0];
    let kind = |path: &str| service.mount_of(path).map(|mount| mount.kind.clone());
    assert!(matches!(kind("/a/x"), Some(MountKind::Volume(name)) if name.text == "named"));
    assert!(matches!(kind("/b"), Some(MountKind::Bind(path)) if path.text == "./b"));
    assert_eq!(kind("/c"), Some(MountKind::Anonymous));
    assert!(matches!(kind("/d"), Some(MountKind::Bind(path)) if path.known().is_none()));
    assert!(matches!(kind("/e"), Some(MountKind::Volume(_))));
    assert_eq!(
        (kind("/f"), kind("/run/x"), kind("/tmp")),
        (Some(MountKind::Tmpfs), Some(MountKind::Tmpfs), Some(MountKind::Tmpfs))
    );
    assert_eq!(kind("/elsewhere"), None);
}

#[test]
fn a_base_file_and_its_override_are_one_project() {
    let (_root, patient) = directory(&[
        ("docker-compose.yml", "services: {smtp: {image: a, ports: ['25:25']}}"),
        ("docker-compose.override.yml", "services: {smtp: {ports: !reset []}, mailpit: {image: mailpit}}"),
        ("docker-compose.prod.yml", "services: {smtp: {restart: always}}"),
        ("other/compose.yaml", "volumes: {}"),
    ]);
    let (projects, unread) = read(patient.files.as_ref().unwrap(), false);
    assert!(unread.is_empty());
    let named: Vec<(String, Purpose, usize)> =
        projects.iter().map(|project| (project.name(), project.purpose, project.services.len())).collect();
    assert_eq!(
        named,
        [
            ("docker-compose.prod.yml".to_owned(), Purpose::Production, 1),
            ("docker-compose.yml".to_owned(), Purpose::Unsaid, 2),
        ]
    );
    assert!(projects[1].services[0].ports.is_empty());
    assert!(projects[0].services[0].is_piece());
}

#[test]
fn environment_build_and_health_in_their_forms() {
    let project = project(
        "services:\n  a: {build: ./x, environment: [A=1, B, 'C=d=e'], healthcheck: {test: [NONE]}}\n  \
         b: {build: {context: .., dockerfile: D}, environment: {A: 1, B: }, healthcheck: {disable: true}}\n  \
         c: {build: {context: ., dockerfile: docker/Mail}, healthcheck: {test: 'true'}, entrypoint: [sh, -c], command: run}\n",
    );
    let [a, b, c] = &project.services[..] else { panic!("{project:?}") };
    let environment = |service: &Service| -> Vec<(String, Option<String>)> {
        service.environment.iter().map(|v| (v.name.clone(), v.value.as_ref().map(|text| text.text.clone()))).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(environment(a), [("A".into(), some("1")), ("B".into(), None), ("C".into(), some("d=e"))]);
    assert_eq!(environment(b), [("A".into(), some("1")), ("B".into(), None)]);
    assert_eq!(a.build.as_ref().unwrap().dockerfile.as_deref(), Some(Path::new("x/Dockerfile")));
    assert_eq!(b.build.as_ref().unwrap().context, None, "a context above the directory is not looked at");
    assert_eq!(c.build.as_ref().unwrap().dockerfile.as_deref(), Some(Path::new("docker/Mail")));
    assert_eq!(
        [a, b, c].map(|s| s.healthcheck),
        [Some(Healthcheck::Disabled), Some(Healthcheck::Disabled), Some(Healthcheck::Given)]
    );
    assert_eq!(c.command, "sh -c run");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_its_line() {
    let (_root, patient) = directory(&[("compose.yaml", "services:\n  a: [\n")]);
    let (projects, unread) = read(patient.files.as_ref().unwrap(), false);
    assert!(projects.is_empty());
    assert!(unread[0].error.line.is_some());
}
