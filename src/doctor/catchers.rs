//! DEV001: a mail catcher where mail is meant to arrive.

use super::compose::model::Service;
use super::compose::{Project, Purpose};
use super::finding::{Findings, Place, Severity, Tier};
use super::patient::Patient;
use super::written::is_catcher;
use crate::report::doctor::catchers as said;

/// Profiles that nobody starts in production.
const NOT_PRODUCTION: &[&str] =
    &["dev", "develop", "development", "local", "test", "testing", "debug", "ci", "mail-dev", "tools"];

pub fn examine(patient: &Patient, findings: &mut Findings) {
    let written = patient.written();
    for unread in &written.unread {
        let file = unread.file.display().to_string();
        let place = Place { file: file.clone(), line: unread.error.line, column: unread.error.column };
        findings.unknown("DEV001", Tier::Files, &file, said::unread(&unread.error.why)).at(place);
    }
    for project in &written.projects {
        let about = project.name();
        let caught: Vec<&Service> = project.services.iter().filter(|service| catches(service)).collect();
        let not_followed = project.includes.or_else(|| {
            let mut services =
                project.services.iter().filter(|service| service.image.is_none() && service.build.is_none());
            services.find_map(|service| service.extends).filter(|_| !project.resolved)
        });
        if let (Some(origin), true, true) = (not_followed, caught.is_empty(), project.purpose != Purpose::Development) {
            findings.unknown("DEV001", Tier::Files, &about, said::not_followed()).at(project.place(origin));
            continue;
        }
        if caught.is_empty() || project.purpose == Purpose::Development {
            findings.ok("DEV001", Tier::Files, &about, said::none(&about, caught.len()));
            continue;
        }
        let real = written.mtas().any(|mta| std::ptr::eq(mta.project, project));
        for service in caught {
            let led = led_to(project, &service.name);
            let place = project.place(service.image.as_ref().map_or(service.origin, |image| image.origin));
            // A file that does not say what it is for may be somebody's laptop.
            let weight = match (project.purpose, real) {
                (Purpose::Production, _) => Severity::Error,
                (_, true) => Severity::Warn,
                (_, false) => Severity::Info,
            };
            let said =
                said::catcher(&service.name, service.image.as_ref().map(|image| image.value.to_string()), &led, weight);
            findings.found("DEV001", Tier::Files, &about, said).weighing(weight).at(place);
        }
    }
}

fn catches(service: &Service) -> bool {
    let in_production = service.profiles.is_empty()
        || service.profiles.iter().any(|profile| !NOT_PRODUCTION.contains(&profile.to_ascii_lowercase().as_str()));
    in_production && service.image.as_ref().is_some_and(|image| is_catcher(&image.value.text))
}

/// The services whose environment names the catcher as a host.
fn led_to(project: &Project, catcher: &str) -> Vec<String> {
    let names = |text: &str| {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').any(|word| word == catcher)
    };
    let leads = |service: &&Service| {
        let mut values = service.environment.iter().filter_map(|variable| variable.value.as_ref());
        service.name != catcher && values.any(|value| names(&value.text))
    };
    project.services.iter().filter(leads).map(|service| service.name.clone()).collect()
}

#[cfg(test)]
#[path = "catchers_tests.rs"]
mod tests;
