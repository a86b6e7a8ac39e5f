//! Compose files as the engine's own program reads them, which has the word on values, against our own reading of the
//! same files, which has it on places.

use std::fs;
use std::path::Path;

use dkimctl::doctor::compose::model::{MountKind, Service};
use dkimctl::doctor::compose::{Project, read};
use dkimctl::doctor::files::Files;

use super::*;

fn available() -> bool {
    servers::servers_or_skip(&["docker-compose"])
}

fn projects(directory: &Path, engine: bool) -> Vec<Project> {
    let (projects, unread) = read(&Files::open(directory).unwrap(), engine);
    assert!(unread.is_empty(), "{unread:?}");
    projects
}

fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        fs::create_dir_all(directory.path().join(path).parent().unwrap()).unwrap();
        fs::write(directory.path().join(path), text).unwrap();
    }
    directory
}

/// What of a service bears on mail, in a form that does not depend on how it was written.
fn gist(project: &Project, service: &Service) -> Vec<String> {
    let mut gist = vec![
        format!("image {:?}", service.image.as_ref().map(|image| &image.value.text)),
        format!("hostname {:?}", service.hostname.as_ref().map(|name| &name.value.text)),
        format!("domainname {:?}", service.domainname.as_ref().map(|name| &name.value.text)),
        format!("network_mode {:?}", service.network_mode.as_ref().map(|mode| &mode.value.text)),
        format!("build {:?}", service.build.as_ref().map(|build| (&build.context, &build.dockerfile))),
        format!("healthcheck {:?}", service.healthcheck),
    ];
    let mut rest: Vec<String> = Vec::new();
    for port in &service.ports {
        rest.push(format!("port {:?} {:?} udp {}", port.target, port.is_loopback(), port.udp));
    }
    for variable in &service.environment {
        rest.push(format!("variable {} {:?}", variable.name, variable.value.as_ref().map(|value| &value.text)));
    }
    for mount in &service.volumes {
        let kind = match &mount.kind {
            MountKind::Volume(name) => format!("volume {}", name.text),
            MountKind::Bind(path) => format!("bind {}", path.text.trim_end_matches('/')),
            other => format!("{other:?}"),
        };
        rest.push(format!("mount {} {kind}", mount.target.text));
    }
    for secret in &service.secrets {
        let access: Vec<&str> = secret.access.iter().map(|(name, ..)| *name).collect();
        rest.push(format!("secret {} {:?} {access:?}", secret.source, project.secrets.get(&secret.source)));
    }
    rest.sort();
    gist.extend(rest);
    gist
}

/// The stack's own files, and every sound project that docker-compose 1.29 can read.
#[test]
fn both_readings_come_to_the_same() {
    if !available() {
        return;
    }
    let stack = tempfile::tempdir().unwrap();
    let directory = stack.path().join("stack");
    let init = ["stack", "init", directory.to_str().unwrap(), "--domain", "example.com"];
    let mut command = assert_cmd::Command::cargo_bin("dkimctl").unwrap();
    command.args(init).env("HOME", stack.path()).assert().success();
    let mut all: Vec<PathBuf> = fs::read_dir(fixture("sound")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.push(directory);
    let (mut resolved, mut wrong) = (0, Vec::new());
    for directory in all.iter().filter(|directory| directory.is_dir()) {
        let Ok(files) = Files::open(directory) else { continue };
        let (own, _) = read(&files, false);
        let (engine, _) = read(&files, true);
        for (own, engine) in own.iter().zip(&engine).filter(|(_, engine)| engine.resolved) {
            resolved += 1;
            for service in &own.services {
                let place = format!("{} {} {}", directory.display(), own.name(), service.name);
                let Some(same) = engine.service(&service.name) else {
                    wrong.push(format!("{place}: not there"));
                    continue;
                };
                // What it takes over from elsewhere, only the engine's reading knows.
                if service.extends.is_none() && gist(own, service) != gist(engine, same) {
                    wrong.push(format!("{place}:\n  {:?}\n  {:?}", gist(own, service), gist(engine, same)));
                }
                if service.origin != same.origin {
                    wrong.push(format!("{place}: {:?}, not {:?}", same.origin, service.origin));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(resolved >= 8, "only {resolved} projects were read by docker-compose");
}

/// What one file takes over from another only the engine's program follows; where it stands is still in the own file.
#[test]
fn what_stands_in_another_file_is_found_by_the_engines_reading_alone() {
    if !available() {
        return;
    }
    let directory = written(&[
        (
            "compose.yaml",
            "services:\n  mail:\n    hostname: mail.example.com\n    extends:\n      file: common/base.yaml\n      service: mail\n",
        ),
        (
            "common/base.yaml",
            "services:\n  mail:\n    image: boky/postfix\n    ports: ['25:25']\n    environment:\n      MYNETWORKS: 172.16.0.0/12\n",
        ),
    ]);
    let path = directory.path().to_str().unwrap();
    let relays = |args: &[&str]| -> Vec<String> {
        let (found, _) = checks(&[&["--files", path, "--only", "RELAY"], args].concat());
        found.iter().filter(|check| check["result"] == "fail").map(line).collect()
    };
    let relays_openly = relays(&[]);
    assert!(
        matches!(&relays_openly[..], [one] if one.starts_with("RELAY001 fail critical ") && one.ends_with("/compose.yaml:3")),
        "{relays_openly:?}"
    );
    assert!(relays(&["--offline"]).is_empty(), "nobody is asked then, and what is not known is no finding");
}

#[test]
fn the_own_reading_is_used_where_the_engines_knows_less() {
    if !available() {
        return;
    }
    let one = |files: &[(&str, &str)]| {
        let directory = written(files);
        let mut projects = projects(directory.path(), true);
        assert_eq!(projects.len(), 1);
        projects.remove(0)
    };
    let mail = "services:\n  mail:\n    image: boky/postfix:${TAG}\n    environment: {PASSWORD: 'a$$b'}\n    profiles: [mail]\n";
    let image = |project: &Project| project.services[0].image.as_ref().unwrap().value.known().map(str::to_owned);
    let password = |project: &Project| project.services[0].environment[0].value.as_ref().unwrap().text.clone();

    // All is known. Services that a profile leaves out are looked at too.
    let known = one(&[("compose.yaml", mail), (".env", "TAG=v4\n")]);
    assert!(known.resolved);
    assert_eq!((image(&known), password(&known)), (Some("boky/postfix:v4".into()), "a$b".into()));

    // docker-compose makes an empty text of what nobody set: we say that we do not know.
    let unset = one(&[("compose.yaml", mail)]);
    assert!(!unset.resolved);
    assert_eq!((image(&unset), password(&unset)), (None, "a$b".into()));

    // An option that it never heard of stops it, and not us.
    let newer = mail.replace("    profiles", "    from_next_year: yes\n    profiles");
    let newer = one(&[("compose.yaml", &newer), (".env", "TAG=v4\n")]);
    assert!(!newer.resolved);
    assert_eq!(image(&newer), Some("boky/postfix:v4".into()));

    // A base file and its override are one project, as it takes them by itself.
    let over = "services: {mail: {hostname: mail.example.com, ports: ['127.0.0.1:587:587']}}\n";
    let both = one(&[("compose.yaml", mail), ("compose.override.yaml", over), (".env", "TAG=v4\n")]);
    assert!(both.resolved);
    let service = both.service("mail").unwrap();
    assert_eq!(service.hostname.as_ref().unwrap().value.text, "mail.example.com");
    assert_eq!(service.ports[0].is_loopback(), Some(true));
    assert_eq!(both.place(service.hostname.as_ref().unwrap().origin).file, "compose.override.yaml");
}
