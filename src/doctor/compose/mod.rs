//! The Compose projects of a directory.
//!
//! A project is a base file with its override, as `docker compose` takes them without being told; every other Compose
//! file stands for itself. Where the engine's own `config` works it has the word on values, and our reader on places.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod interpolate;
pub mod model;
pub mod yaml;

use self::model::{Reader, SecretSource, Service};
use self::yaml::{Node, Origin, YamlError};
use super::files::{Files, is_compose};
use super::finding::Place;
use crate::command::{self, Call};

/// What a Compose file, or a base file and its override, comes to.
#[derive(Debug)]
pub struct Project {
    /// Relative to the directory that is examined; the first is the base.
    pub files: Vec<PathBuf>,
    pub purpose: Purpose,
    pub services: Vec<Service>,
    pub secrets: BTreeMap<String, SecretSource>,
    pub subnets: BTreeMap<String, Vec<interpolate::Text>>,
    /// It takes over other files that were not looked at.
    pub includes: Option<Origin>,
    /// The engine's own reading was used.
    pub resolved: bool,
}

/// What a file says of itself by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Production,
    Development,
    Unsaid,
}

/// A file that could not be read as Compose.
#[derive(Debug)]
pub struct Unread {
    pub file: PathBuf,
    pub error: YamlError,
}

const DEVELOPMENT: &[&str] = &[
    "dev",
    "develop",
    "development",
    "local",
    "test",
    "tests",
    "testing",
    "ci",
    "e2e",
    "debug",
    "override",
    "example",
    "examples",
    "sample",
    "samples",
    "demo",
    "devcontainer",
    "fixtures",
    "integration",
    "sandbox",
    "lab",
];
const PRODUCTION: &[&str] = &["prod", "production", "live"];

impl Purpose {
    /// By the words of a path: `deploy/compose.prod.yaml`, `.devcontainer/docker-compose.yml`.
    pub fn of(path: &Path) -> Purpose {
        let text = path.to_string_lossy().to_ascii_lowercase();
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        let has = |known: &[&str]| words.clone().any(|word| known.contains(&word));
        match (has(DEVELOPMENT), has(PRODUCTION)) {
            (true, _) => Purpose::Development,
            (false, true) => Purpose::Production,
            (false, false) => {
                let _ = words.next();
                Purpose::Unsaid
            }
        }
    }
}

impl Project {
    /// Where something stands, as people find it.
    pub fn place(&self, origin: Origin) -> Place {
        let file = self.files.get(origin.file as usize).or(self.files.first());
        let file = file.map(|file| file.display().to_string()).unwrap_or_default();
        let some = |number: u32| (number > 0).then_some(number);
        Place { file, line: some(origin.line), column: some(origin.column) }
    }

    pub fn name(&self) -> String {
        self.files.first().map(|file| file.display().to_string()).unwrap_or_default()
    }

    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }
}

/// Reads every project below a directory. With `engine`, the engine's own reading is asked for too.
pub fn read(files: &Files, engine: bool) -> (Vec<Project>, Vec<Unread>) {
    let mut projects = Vec::new();
    let mut unread = Vec::new();
    for (base, over) in pairs(files) {
        match project(files, base, over, engine) {
            Ok(Some(project)) => projects.push(project),
            // A file with that name and without services is something else.
            Ok(None) => {}
            Err(error) => unread.push(error),
        }
    }
    (projects, unread)
}

/// Every base file with its override, and every other file alone.
fn pairs(files: &Files) -> Vec<(&Path, Option<&Path>)> {
    let all: Vec<&Path> = files.named(is_compose).collect();
    let override_of = |base: &Path| {
        let (stem, end) = base.file_name()?.to_str()?.rsplit_once('.')?;
        if stem != "compose" && stem != "docker-compose" {
            return None;
        }
        let names = [end, "yaml", "yml"].map(|end| base.with_file_name(format!("{stem}.override.{end}")));
        all.iter().copied().find(|path| names.iter().any(|name| name == path))
    };
    let taken: Vec<&Path> = all.iter().filter_map(|path| override_of(path)).collect();
    all.iter().filter(|path| !taken.contains(path)).map(|path| (*path, override_of(path))).collect()
}

fn project(files: &Files, base: &Path, over: Option<&Path>, engine: bool) -> Result<Option<Project>, Unread> {
    let unread = |file: &Path, error| Unread { file: file.to_owned(), error };
    let read = |file: &Path, index| {
        let text = files.text(file).unwrap_or_default();
        yaml::parse(&text, index).map_err(|error| unread(file, error))
    };
    let mut root = read(base, 0)?;
    let mut paths = vec![base.to_owned()];
    if let Some(over) = over {
        root.merge(read(over, 1)?);
        paths.push(over.to_owned());
    }
    if !root.get("services").is_some_and(Node::is_map) {
        return Ok(None);
    }
    let directory = base.parent().unwrap_or(Path::new(""));
    let includes = root.get("include").map(|include| include.origin);
    let mut variables =
        files.text(&directory.join(".env")).map(|text| interpolate::variables(&text)).unwrap_or_default();
    let resolved = if engine { resolve(&files.root.join(directory), &paths, &root) } else { None };
    let is_resolved = resolved.is_some();
    if let Some(resolved) = resolved {
        // What is left is meant literally.
        variables.clear();
        root = resolved;
    }
    let reader = Reader { variables: &variables, directory };
    Ok(Some(Project {
        purpose: Purpose::of(base),
        services: reader.services(&root),
        secrets: reader.secrets(&root),
        subnets: reader.subnets(&root),
        includes: if is_resolved { None } else { includes },
        resolved: is_resolved,
        files: paths,
    }))
}

/// What `docker compose config` makes of the files, with our places; `None` where it does not work.
///
/// Nothing is fetched for it: files that include others from the net are read by ourselves.
fn resolve(directory: &Path, paths: &[PathBuf], written: &Node) -> Option<Node> {
    let names: Vec<&str> = paths.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let files = names.iter().flat_map(|name| ["-f", name]);
    let nothing_remote = [
        ("COMPOSE_EXPERIMENTAL_GIT_REMOTE", "false"),
        ("COMPOSE_EXPERIMENTAL_OCI_REMOTE", "false"),
        ("COMPOSE_PROFILES", "*"),
    ];
    let plugin: Vec<&str> =
        std::iter::once("compose").chain(files.clone()).chain(["config", "--format", "json"]).collect();
    let older: Vec<&str> = files.chain(["config"]).collect();
    [("docker", plugin), ("docker-compose", older)].into_iter().find_map(|(program, args)| {
        let ran = command::run(Call {
            program,
            args: &args,
            environment: &nothing_remote,
            directory: Some(directory),
            timeout: Some(Duration::from_secs(20)),
            ..Call::default()
        })
        .ok()?;
        // A variable that is not set becomes an empty text with a warning: then our own reading knows more.
        let complains = String::from_utf8_lossy(&ran.stderr).contains("variable is not set");
        if !ran.is_ok() || complains {
            return None;
        }
        let mut resolved = yaml::parse(&ran.stdout(), 0).ok()?;
        resolved.placed_like(written);
        // It makes every path absolute; ours begin where the files do.
        if let Some(here) = directory.canonicalize().ok()?.to_str() {
            resolved.relative_to(here);
        }
        Some(resolved)
    })
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
