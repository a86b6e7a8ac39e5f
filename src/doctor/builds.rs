//! KEY002 in Dockerfiles: what of a build brings a private key into an image. KEY001 and KEY002 in images are not here.

use std::path::{Path, PathBuf};

use super::dockerfile::{Dockerfile, Does, Step};
use super::dockerignore::{Ignore, matches_part};
use super::files::Files;
use super::finding::{Findings, Place, Severity, Tier};
use super::keyfiles::{has_private_key, holds_key};
use super::patient::Patient;
use super::written::Written;
use crate::report::doctor::builds as said;

pub fn examine(patient: &Patient, findings: &mut Findings) {
    let Some(files) = &patient.files else { return };
    let written = patient.written();
    for (path, dockerfile) in &written.dockerfiles {
        let file = path.display().to_string();
        match dockerfile {
            Ok(dockerfile) => {
                let before = findings.iter().count();
                look(files, written, path, dockerfile, findings);
                if findings.iter().count() == before {
                    findings.ok("KEY002", Tier::Files, &file, said::clean(&file));
                }
            }
            Err(error) => {
                let place = Place { file: file.clone(), line: (error.line > 0).then_some(error.line), column: None };
                findings.unknown("KEY002", Tier::Files, &file, said::unread(&error.why)).at(place);
            }
        }
    }
}

fn look(files: &Files, written: &Written, path: &Path, dockerfile: &Dockerfile, findings: &mut Findings) {
    let file = path.display().to_string();
    // What stays behind in another stage is in a cache, and not in the image that is pushed.
    let found = |findings: &mut Findings, step: &Step, said, weight: Severity| {
        let weight = if dockerfile.is_kept(step) { weight } else { weight.min(Severity::Warn) };
        findings.found("KEY002", Tier::Files, &file, said).weighing(weight).at(Place::line(&file, step.line));
    };
    for (step, command) in dockerfile.commands() {
        if let Some(program) = makes_key(&command) {
            found(findings, step, said::generated(program), Severity::Error);
        }
    }
    let (context, is_said) = written.context_of(path);
    let keys: Vec<PathBuf> = files
        .paths()
        .filter(|path| path.starts_with(&context))
        .filter(|path| has_private_key(files, path))
        .map(Path::to_owned)
        .collect();
    let ignore = ignore(files, path, &context);
    let inside = |path: &Path| path.strip_prefix(&context).unwrap_or(path).display().to_string();
    for step in &dockerfile.steps {
        match &step.does {
            Does::Set(text) if text.contains("PRIVATE KEY-----") || holds_key(&file, text.as_bytes()) => {
                found(findings, step, said::in_variable(), Severity::Error);
            }
            Does::Copy { sources, .. } => {
                for source in sources {
                    let taken: Vec<String> = keys
                        .iter()
                        .map(|key| inside(key))
                        .filter(|key| {
                            covers(source, key) && !ignore.as_ref().is_some_and(|ignore| ignore.leaves_out(key))
                        })
                        .collect();
                    // Keys for tests lie in many contexts; a whole tree of them is no proof that one matters.
                    let (whole, harmless) = (is_everything(source), taken.iter().all(|key| is_for_tests(key)));
                    if !taken.is_empty() {
                        let weight = if harmless {
                            Severity::Info
                        } else if whole && !is_said {
                            Severity::Warn
                        } else {
                            Severity::Error
                        };
                        found(findings, step, said::copied(source, &taken, whole), weight);
                    } else if !files.has(&context.join(source.trim_start_matches(['.', '/']))) {
                        // What is here was told by its content.
                        if let Some(weight) = named_like_key(source) {
                            found(findings, step, said::named_like_key(source), weight);
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// The .dockerignore that holds for a Dockerfile: its own, or the context's.
fn ignore(files: &Files, dockerfile: &Path, context: &Path) -> Option<Ignore> {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    let text = files.text(Path::new(&own)).or_else(|| files.text(&context.join(".dockerignore")));
    text.map(|text| Ignore::parse(&text))
}

/// The program that makes a private key while the image is built.
fn makes_key(command: &str) -> Option<&'static str> {
    let mut words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'', '`', '$']));
    // `FOO=1 sudo opendkim-genkey`
    let program = words
        .find(|word| !word.contains('=') && !["sudo", "exec", "env", "then", "do", "else", "if", "!"].contains(word))?;
    let program = program.rsplit('/').next().unwrap_or(program);
    let args: Vec<&str> = words.collect();
    let about_dkim = args.iter().any(|arg| arg.to_ascii_lowercase().contains("dkim"));
    match program {
        "opendkim-genkey" => Some("opendkim-genkey"),
        "opendkim-genkey.sh" => Some("opendkim-genkey"),
        "dknewkey" => Some("dknewkey"),
        "rspamadm" if args.first() == Some(&"dkim_keygen") => Some("rspamadm dkim_keygen"),
        "openssl" if matches!(args.first(), Some(&("genrsa" | "genpkey"))) && about_dkim => Some("openssl"),
        _ => None,
    }
}

/// Whether `COPY source` takes this file of the context along.
fn covers(source: &str, file: &str) -> bool {
    let source = source.trim_start_matches("./").trim_matches('/');
    if is_everything(source) {
        return true;
    }
    let (parts, names): (Vec<&str>, Vec<&str>) = (source.split('/').collect(), file.split('/').collect());
    parts.len() <= names.len()
        && parts.iter().zip(&names).all(|(part, name)| matches_part(part.as_bytes(), name.as_bytes()))
}

fn is_everything(source: &str) -> bool {
    matches!(source, "" | "." | "./" | "/" | "*" | "./*")
}

/// By its name alone: for files that are not here, since they are made elsewhere or kept out of version control.
fn named_like_key(source: &str) -> Option<Severity> {
    let path = source.to_ascii_lowercase();
    let name = path.rsplit('/').next().unwrap_or_default();
    let public = [".pub", ".txt", ".crt", ".conf", ".sh", ".md", ".template", ".tmpl", ".j2"];
    if public.iter().any(|end| name.ends_with(end)) {
        return None;
    }
    let dkim = path.contains("dkim");
    if name.ends_with(".private")
        || dkim && (name.ends_with(".pem") || name.ends_with(".key") || name.ends_with(".rsa"))
    {
        Some(Severity::Error)
    } else if name.ends_with(".key") || name == "id_rsa" || name == "id_ed25519" || dkim && name == "keys" {
        Some(Severity::Warn)
    } else {
        None
    }
}

/// By the words of its path: fixtures, examples.
pub fn is_for_tests(path: &str) -> bool {
    const WORDS: &[&str] = &[
        "test", "tests", "testing", "testdata", "fixture", "fixtures", "example", "examples", "sample", "samples",
        "spec", "mock", "mocks", "snakeoil", "dummy",
    ];
    path.to_ascii_lowercase().split(|c: char| !c.is_ascii_alphanumeric()).any(|word| WORDS.contains(&word))
}

#[cfg(test)]
#[path = "builds_tests.rs"]
mod tests;
