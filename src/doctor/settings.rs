//! PF001 to PF004: settings of Postfix that look right and are not.

use super::container::Container;
use super::dockerfile::Does;
use super::finding::{Findings, Place, Severity, Tier};
use super::patient::Patient;
use super::postfix::effective::Effective;
use super::postfix::main_cf::{MainCf, master_cf};
use super::syslog::{self, Kept};
use super::written::{Kind, Mta};
use crate::report::doctor::settings as said;

const ACTION: &str = "milter_default_action";
const OUTWARD_TLS: &str = "smtp_tls_security_level";
const CHROOT: &str = "chroot";
const PARAMETERS: &str = "main.cf";
const HEALTH: &str = "healthcheck";
const LOG: &str = "mail log";
const CERTIFICATE: &str = "certificate";

pub fn examine(patient: &Patient, findings: &mut Findings) {
    let written = patient.written();
    for (path, main) in &written.main_cfs {
        let file = path.display().to_string();
        parameters(main, &file, written.renderer_of(path), findings);
        milters(main, &file, findings);
    }
    for mta in written.mtas() {
        variables(&mta, findings);
        health(&mta, findings);
        log(patient, &mta, findings);
    }
    if let Some(files) = &patient.files {
        for path in files.named(|name| name == "master.cf") {
            let services = master_cf(&files.text(path).unwrap_or_default());
            let chrooted = services.into_iter().find(|service| service.chroot == "y" && asks_names(&service.command));
            if let Some(service) = chrooted {
                let place = Place::line(path.display().to_string(), service.line);
                findings
                    .found("PF001", Tier::Files, CHROOT, said::chroot_written(&service.name))
                    .weighing(Severity::Warn)
                    .at(place);
            }
        }
    }
    in_force(patient, findings);
}

/// The programs of Postfix that look names up; the others lose nothing in a chroot.
fn asks_names(command: &str) -> bool {
    ["smtp", "smtpd", "lmtp", "postscreen", "qmqpd", "trivial-rewrite", "verify"].contains(&command)
}

fn parameters(main: &MainCf, file: &str, renderer: Option<&std::path::Path>, findings: &mut Findings) {
    let from_environment = main.from_environment();
    for (entry, name) in &from_environment {
        let place = Place::line(file, entry.line);
        match renderer {
            Some(script) => {
                let said = said::maybe_rendered(&entry.name, name, script);
                findings.unknown("PF002", Tier::Files, PARAMETERS, said).at(place);
            }
            None => {
                findings.found("PF002", Tier::Files, PARAMETERS, said::environment(entry, name)).at(place);
            }
        }
    }
    for (line, text) in &main.broken {
        let place = Place::line(file, *line);
        // A template's own lines are no mistakes.
        match renderer.is_some() || text.starts_with(['{', '%', '<', '@']) {
            true => findings.unknown("PF002", Tier::Files, PARAMETERS, said::maybe_template(text)).at(place),
            false => findings.found("PF002", Tier::Files, PARAMETERS, said::broken_line(text)).at(place),
        };
    }
    if from_environment.is_empty() && main.broken.is_empty() && !main.entries.is_empty() {
        findings.ok("PF002", Tier::Files, PARAMETERS, said::parameters_written(file));
    }
}

fn milters(main: &MainCf, file: &str, findings: &mut Findings) {
    if let Some(entry) = main.get(ACTION) {
        match entry.value.as_str() {
            "accept" => {
                let place = Place::line(file, entry.line);
                findings.found("PF003", Tier::Files, ACTION, said::accepts()).at(place);
            }
            value => findings.ok("PF003", Tier::Files, ACTION, said::is_set_to(ACTION, value)),
        }
    }
    if let Some(entry) = main.get(OUTWARD_TLS).filter(|entry| entry.value.is_empty() || entry.value == "none") {
        findings.found("PF003", Tier::Files, OUTWARD_TLS, said::no_tls(&entry.value)).at(Place::line(file, entry.line));
    }
}

/// `POSTFIX_name=value` is a convention of some images; in one's own it does nothing unless something reads it.
fn variables(mta: &Mta<'_>, findings: &mut Findings) {
    let named = |name: &str| name.strip_prefix("POSTFIX_").is_some_and(|rest| !rest.is_empty());
    let ours = mta.kind == Kind::OwnPostfix && mta.is_plain() && !mta.mentions("POSTFIX_");
    for variable in mta.service.environment.iter().filter(|variable| ours && named(&variable.name)) {
        let said = said::nobody_reads(&variable.name, &mta.service.name);
        findings.found("PF002", Tier::Files, &variable.name, said).at(mta.project.place(variable.origin));
    }
}

fn health(mta: &Mta<'_>, findings: &mut Findings) {
    use super::compose::model::Healthcheck;
    let service = mta.service;
    let built_in =
        mta.dockerfile().is_some_and(|(_, file)| file.steps.iter().any(|step| step.does == Does::Healthcheck));
    match service.healthcheck {
        Some(Healthcheck::Given) => findings.ok("PF003", Tier::Files, HEALTH, said::has_healthcheck(&service.name)),
        None if built_in => findings.ok("PF003", Tier::Files, HEALTH, said::has_healthcheck(&service.name)),
        // The image of somebody else may bring one.
        None if service.is_piece() || mta.dockerfile().is_none() => {}
        _ => {
            let place = mta.project.place(service.origin);
            findings
                .found("PF003", Tier::Files, HEALTH, said::no_healthcheck(&service.name))
                .weighing(Severity::Info)
                .at(place);
        }
    }
}

fn log(patient: &Patient, mta: &Mta<'_>, findings: &mut Findings) {
    let Some((path, main)) = mta.main_cf() else { return };
    match main.value("maillog_file") {
        Some("/dev/stdout") => findings.ok("PF004", Tier::Files, LOG, said::log_to("/dev/stdout")),
        Some(file) if !file.is_empty() && mta.service.mount_of(file).is_some() => {
            findings.ok("PF004", Tier::Files, LOG, said::log_to(file));
        }
        value => {
            let syslog = mta.service.mount_of("/var/log").is_some() || mta.service.mount_of("/dev/log").is_some();
            let elsewhere = mta.service.is_piece() || mta.setter_of("maillog_file").is_some();
            let name = mta.service.name.as_str();
            if elsewhere {
                findings.unknown("PF004", Tier::Files, LOG, said::log_set_elsewhere(name));
            } else if syslog {
                findings.ok("PF004", Tier::Files, LOG, said::log_to("/var/log"));
            } else if let Some(file) = value.unwrap_or_default().is_empty().then(|| own_syslog(patient, mta)).flatten()
            {
                findings.ok("PF004", Tier::Files, LOG, said::log_by_syslog_to(&file));
            } else {
                let line = main.get("maillog_file").map(|entry| entry.line);
                let place = Place { file: path.display().to_string(), line, column: None };
                findings.found("PF004", Tier::Files, LOG, said::log_is_lost(value.unwrap_or_default())).at(place);
            }
        }
    }
}

/// Where an rsyslog that is built into the image writes, if that outlives the container.
fn own_syslog(patient: &Patient, mta: &Mta<'_>) -> Option<String> {
    let (files, context) = (patient.files.as_ref()?, mta.context()?);
    let configurations = files.named(|name| name == "rsyslog.conf").filter(|path| path.starts_with(context));
    let texts: Vec<String> = configurations.filter_map(|path| files.text(path)).collect();
    let targets = texts.iter().flat_map(|text| syslog::targets(text));
    let lasts = |file: &str| file == "/dev/stdout" || mta.service.mount_of(file).is_some();
    targets.into_iter().find(|file| lasts(file)).map(str::to_owned)
}

fn in_force(patient: &Patient, findings: &mut Findings) {
    let postfix = match patient.postfix() {
        Ok(Some(postfix)) => postfix,
        Ok(None) => return,
        Err(why) => {
            for (id, about) in [("PF001", CHROOT), ("PF002", PARAMETERS), ("PF003", ACTION), ("PF004", LOG)] {
                findings.unknown(id, Tier::Effective, about, said::not_asked(why));
            }
            return;
        }
    };
    let Some(container) = patient.container.there() else { return };
    chroot_in_force(container, postfix, findings);
    parameters_in_force(container, postfix, findings);
    milters_in_force(container, postfix, findings);
    health_in_force(container, findings);
    log_in_force(container, postfix, findings);
}

fn chroot_in_force(container: &Container, postfix: &Effective, findings: &mut Findings) {
    let listed = match container.ask(&["postconf", "-F", "*/*/chroot"]) {
        Ok(listed) => listed,
        Err(error) => {
            findings.unknown("PF001", Tier::Effective, CHROOT, said::not_asked(&error.to_string()));
            return;
        }
    };
    // `-` is the default: no, since compatibility level 1.
    let old =
        postfix.value("compatibility_level").split('.').next().and_then(|level| level.parse().ok()).unwrap_or(0) < 1;
    let chrooted: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(_, value)| value.trim() == "y" || old && value.trim() == "-")
        .filter_map(|(name, _)| name.trim().strip_suffix("/chroot"))
        .collect();
    let asks_dns = |name: &&str| {
        ["smtp/", "relay/", "submission", "smtpd", "lmtp", "rewrite", "verify"].iter().any(|s| name.starts_with(s))
    };
    let Some(service) = chrooted.iter().copied().find(asks_dns) else {
        return findings.ok("PF001", Tier::Effective, CHROOT, said::no_chroot());
    };
    let queue = postfix.get("queue_directory").unwrap_or("/var/spool/postfix").trim_end_matches('/');
    let inside = |file: &str| container.read(&format!("{queue}/{file}"));
    let (own, real) = (inside("etc/resolv.conf"), container.read("/etc/resolv.conf"));
    let servers = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with("nameserver"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let by_name = ["smtpd_milters", "non_smtpd_milters"].iter().any(|name| postfix.value(name).contains("localhost"));
    match (own, real) {
        (Err(error), _) | (_, Err(error)) => {
            findings.unknown("PF001", Tier::Effective, CHROOT, said::not_asked(&error.to_string()));
        }
        (Ok(None), _) => {
            findings.found("PF001", Tier::Effective, CHROOT, said::chroot_without_resolver(service, queue));
        }
        (Ok(Some(own)), Ok(Some(real))) if servers(&own) != servers(&real) => {
            let said = said::chroot_with_stale_resolver(service, queue, &servers(&own), &servers(&real));
            findings.found("PF001", Tier::Effective, CHROOT, said);
        }
        _ if by_name && matches!(inside("etc/hosts"), Ok(None)) => {
            findings.found("PF001", Tier::Effective, CHROOT, said::chroot_without_hosts(service, queue));
        }
        _ => findings.ok("PF001", Tier::Effective, CHROOT, said::chroot_is_filled(queue)),
    }
}

fn parameters_in_force(container: &Container, postfix: &Effective, findings: &mut Findings) {
    let mut clean = true;
    for complaint in &postfix.complaints {
        clean = false;
        let undefined = complaint.contains("undefined parameter");
        let finding = findings.found("PF002", Tier::Effective, PARAMETERS, said::complaint(complaint));
        // A parameter that nobody uses does no harm beyond what it was meant for.
        finding.weighing(if undefined { Severity::Error } else { Severity::Warn });
    }
    if clean {
        findings.ok("PF002", Tier::Effective, PARAMETERS, said::no_complaint());
    }
    for (name, value) in container.environment() {
        let Some(parameter) = name.strip_prefix("POSTFIX_") else { continue };
        let parameter = parameter.to_ascii_lowercase();
        match postfix.get(&parameter) {
            Some(seen) if seen == value => {
                findings.ok("PF002", Tier::Effective, name, said::variable_took_effect(name, value));
            }
            // Values are rewritten and joined by some images: only one that main.cf never heard of was not read.
            Some(seen) if !postfix.is_set(&parameter) => {
                findings.found(
                    "PF002",
                    Tier::Effective,
                    name,
                    said::variable_without_effect(name, value, &parameter, seen),
                );
            }
            Some(_) | None => {}
        }
    }
}

fn milters_in_force(container: &Container, postfix: &Effective, findings: &mut Findings) {
    let milters = ["smtpd_milters", "non_smtpd_milters"].map(|name| postfix.value(name)).join(" ");
    let action = postfix.value(ACTION);
    if milters.trim().is_empty() {
        findings.skip("PF003", ACTION, said::no_milters());
    } else if action == "accept" && !milters.contains("default_action=") || milters.contains("default_action=accept") {
        findings.found("PF003", Tier::Effective, ACTION, said::accepts());
    } else {
        findings.ok("PF003", Tier::Effective, ACTION, said::is_set_to(ACTION, action));
    }
    let level = postfix.value(OUTWARD_TLS);
    let older = postfix.value("smtp_use_tls") == "yes" || postfix.value("smtp_enforce_tls") == "yes";
    if (level.is_empty() || level == "none") && !older {
        findings.found("PF003", Tier::Effective, OUTWARD_TLS, said::no_tls(level));
    } else {
        findings.ok("PF003", Tier::Effective, OUTWARD_TLS, said::is_set_to(OUTWARD_TLS, level));
    }
    let certificate = postfix.value("smtpd_tls_cert_file");
    let shown = !matches!(postfix.value("smtpd_tls_security_level"), "" | "none");
    if certificate.contains("snakeoil") && shown {
        let seen = !container.published().is_empty();
        let weight = if seen { Severity::Warn } else { Severity::Info };
        findings.found("PF003", Tier::Effective, CERTIFICATE, said::test_certificate(certificate)).weighing(weight);
    }
}

fn health_in_force(container: &Container, findings: &mut Findings) {
    let test = container.inspect["Config"]["Healthcheck"]["Test"].as_array();
    let given =
        test.and_then(|test| test.first()).and_then(|first| first.as_str()).is_some_and(|first| first != "NONE");
    if given {
        findings.ok("PF003", Tier::Effective, HEALTH, said::has_healthcheck(&container.name));
    } else {
        findings
            .found("PF003", Tier::Effective, HEALTH, said::no_healthcheck(&container.name))
            .weighing(Severity::Info);
    }
}

fn log_in_force(container: &Container, postfix: &Effective, findings: &mut Findings) {
    let file = postfix.value("maillog_file");
    if file == "/dev/stdout" || !file.is_empty() && container.mount_of(file).is_some() {
        findings.ok("PF004", Tier::Effective, LOG, said::log_to(file));
    } else if !file.is_empty() {
        findings.found("PF004", Tier::Effective, LOG, said::log_is_lost(file));
    } else if container.mount_of("/dev/log").is_some() {
        findings.ok("PF004", Tier::Effective, LOG, said::log_to("the host's syslog"));
    } else {
        match syslog::look(container) {
            Ok(Kept::In(path)) => findings.ok("PF004", Tier::Effective, LOG, said::log_by_syslog_to(&path)),
            Ok(Kept::Printed) => findings.ok("PF004", Tier::Effective, LOG, said::log_by_syslog_to("standard output")),
            Ok(Kept::Lost | Kept::NobodyListens) => {
                findings.found("PF004", Tier::Effective, LOG, said::log_is_lost(file));
            }
            Err(error) => {
                findings.unknown("PF004", Tier::Effective, LOG, said::not_asked(&error.to_string()));
            }
        }
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
