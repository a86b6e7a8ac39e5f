use super::*;
use crate::doctor::rig::{found, verdicts};

const CATCHER: &str =
    "services:\n  app: {image: app, environment: {SMTP: 'mailpit:1025'}}\n  mailpit: {image: 'axllent/mailpit:v1'}\n";

fn of(file: &str, text: &str) -> Vec<String> {
    verdicts(&found(&[(file, text)], examine), "DEV001")
}

#[test]
fn a_catcher_in_production_takes_everything() {
    assert_eq!(of("compose.prod.yaml", CATCHER), ["fail error compose.prod.yaml:3"]);
    assert_eq!(of("production/docker-compose.yml", CATCHER), ["fail error production/docker-compose.yml:3"]);
    let with_mta = format!("{CATCHER}  smtp: {{image: boky/postfix}}\n");
    assert_eq!(of("compose.yaml", &with_mta), ["warn compose.yaml:3"]);
    assert_eq!(of("compose.yaml", CATCHER), ["warn info compose.yaml:3"], "a laptop's, most likely");
}

#[test]
fn where_nobody_expects_delivery_it_is_welcome() {
    for file in [
        "compose.dev.yaml",
        "docker-compose.override.yml",
        "test/docker-compose.yml",
        ".devcontainer/docker-compose.yml",
    ] {
        assert_eq!(of(file, CATCHER), ["ok"], "{file}");
    }
    let profile = "services:\n  mailhog: {image: mailhog/mailhog, profiles: [dev]}\n";
    assert_eq!(of("compose.prod.yaml", profile), ["ok"]);
    assert_eq!(of("compose.prod.yaml", "services: {mailpit: {image: nginx}}\n"), ["ok"], "names prove nothing");
}

#[test]
fn every_catcher_by_its_image() {
    for image in [
        "mailhog/mailhog",
        "docker.io/axllent/mailpit:latest",
        "rnwood/smtp4dev:v3",
        "maildev/maildev",
        "inbucket/inbucket",
        "greenmail/standalone",
        "schickling/mailcatcher",
        "marlonb/mailcrab",
        "reg:5000/x/mailhog@sha256:ab",
    ] {
        assert!(is_catcher(image), "{image}");
    }
    assert!(!is_catcher("example/mailer"));
}

#[test]
fn a_file_that_cannot_be_read_is_not_known() {
    assert_eq!(of("compose.yaml", "services:\n  a: [\n").len(), 1);
    assert!(of("compose.yaml", "services:\n  a: [\n")[0].starts_with("unknown compose.yaml"));
}

#[test]
fn what_stands_in_other_files_is_not_known() {
    let include = "include: [other.yaml]\nservices:\n  app: {image: app}\n";
    assert_eq!(of("compose.yaml", include), ["unknown compose.yaml:1"]);
    let extends = "services:\n  app:\n    extends: {file: other.yaml, service: app}\n";
    assert_eq!(of("compose.yaml", extends), ["unknown compose.yaml:3"]);
}
