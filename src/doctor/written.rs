//! What stands in the files: projects, Dockerfiles, Postfix configuration, and which service is the mail server.
//!
//! A service is taken for one by evidence: its image's name, or a Dockerfile that installs an MTA. Names of services
//! prove nothing.

use std::path::{Path, PathBuf};

use super::compose::model::{MountKind, Service};
use super::compose::{self, Project, Unread};
use super::dockerfile::{Dockerfile, DockerfileError, Does};
use super::files::{Files, is_dockerfile};
use super::postfix::main_cf::MainCf;

#[derive(Debug, Default)]
pub struct Written {
    pub projects: Vec<Project>,
    pub unread: Vec<Unread>,
    pub dockerfiles: Vec<(PathBuf, Result<Dockerfile, DockerfileError>)>,
    pub main_cfs: Vec<(PathBuf, MainCf)>,
    /// Programs that may change configuration when a container starts.
    scripts: Vec<(PathBuf, String)>,
    /// By project and service.
    mtas: Vec<(usize, usize, Kind)>,
}

/// What kind of mail server a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Built here, with Postfix from a distribution.
    OwnPostfix,
    /// An image that somebody else made around Postfix, with conventions of its own.
    PostfixImage,
    /// docker-mailserver and the like: Postfix among much else, laid out in its own way.
    Suite,
    /// Another MTA.
    Other,
    /// It was named, and nothing more is known.
    Named,
}

/// A service that is the mail server, and what belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct Mta<'a> {
    pub project: &'a Project,
    pub service: &'a Service,
    pub kind: Kind,
    written: &'a Written,
}

impl Written {
    pub fn read(files: &Files, service: Option<&str>, engine: bool) -> Written {
        let (projects, unread) = compose::read(files, engine);
        let text = |path: &Path| files.text(path).unwrap_or_default();
        let dockerfiles: Vec<_> = files
            .named(is_dockerfile)
            .map(Path::to_owned)
            .chain(projects.iter().flat_map(|project| &project.services).filter_map(|service| {
                let dockerfile = service.build.as_ref()?.dockerfile.clone()?;
                let unusual = !dockerfile.file_name().and_then(|name| name.to_str()).is_some_and(is_dockerfile);
                (unusual && files.has(&dockerfile)).then_some(dockerfile)
            }))
            .map(|path| (path.clone(), Dockerfile::parse(&text(&path))))
            .collect();
        let main_cfs = files.named(|name| name == "main.cf").map(|path| (path.to_owned(), MainCf::parse(&text(path))));
        let main_cfs = main_cfs.collect();
        let scripts = scripts(files);
        let mut written = Written { projects, unread, dockerfiles, main_cfs, scripts, mtas: Vec::new() };
        written.mtas = written.recognise(service);
        written
    }

    fn recognise(&self, named: Option<&str>) -> Vec<(usize, usize, Kind)> {
        let mut found = Vec::new();
        for (p, project) in self.projects.iter().enumerate() {
            for (s, service) in project.services.iter().enumerate() {
                let kind = self.kind(service);
                match named {
                    Some(named) if service.name == named => found.push((p, s, kind.unwrap_or(Kind::Named))),
                    None => found.extend(kind.map(|kind| (p, s, kind))),
                    Some(_) => {}
                }
            }
        }
        found
    }

    fn kind(&self, service: &Service) -> Option<Kind> {
        if let Some((_, dockerfile)) = self.dockerfile_of(service) {
            if dockerfile.installs("postfix") {
                return Some(Kind::OwnPostfix);
            }
            if ["exim4", "exim", "opensmtpd"].iter().any(|package| dockerfile.installs(package)) {
                return Some(Kind::Other);
            }
            return dockerfile.base().and_then(kind_of_image);
        }
        kind_of_image(&service.image.as_ref()?.value.text)
    }

    /// The Dockerfile that a service is built from, if it can be read.
    pub fn dockerfile_of(&self, service: &Service) -> Option<(&Path, &Dockerfile)> {
        let path = service.build.as_ref()?.dockerfile.as_ref()?;
        let (path, dockerfile) = self.dockerfiles.iter().find(|(known, _)| known == path)?;
        dockerfile.as_ref().ok().map(|dockerfile| (path.as_path(), dockerfile))
    }

    /// The context that a Dockerfile is built with: what Compose says, or where it lies. And whether that is said.
    pub fn context_of(&self, dockerfile: &Path) -> (PathBuf, bool) {
        let builds = self.projects.iter().flat_map(|project| &project.services).filter_map(|s| s.build.as_ref());
        let said =
            builds.filter(|build| build.dockerfile.as_deref() == Some(dockerfile)).find_map(|b| b.context.clone());
        let beside = dockerfile.parent().unwrap_or(Path::new("")).to_owned();
        said.map_or((beside, false), |context| (context, true))
    }

    pub fn mtas(&self) -> impl Iterator<Item = Mta<'_>> {
        self.mtas.iter().map(|&(p, s, kind)| {
            let project = &self.projects[p];
            Mta { project, service: &project.services[s], kind, written: self }
        })
    }

    /// The first program below `context` that may do this to Postfix's configuration.
    fn script_below(&self, context: &Path, does: impl Fn(&str) -> bool) -> Option<&Path> {
        let mut below = self.scripts.iter().filter(|(path, _)| path.starts_with(context));
        below
            .find(|(_, text)| (text.contains("main.cf") || text.contains("postconf")) && does(text))
            .map(|(path, _)| path.as_path())
    }

    /// What fills in variables of a main.cf before Postfix reads it.
    pub fn renderer_of(&self, main_cf: &Path) -> Option<&Path> {
        const RENDERERS: &[&str] =
            &["envsubst", "sed ", "gomplate", "dockerize", "confd", "j2 ", "jinja", "eval ", "perl ", "awk "];
        let context = self.project_directory(main_cf);
        self.script_below(&context, |text| RENDERERS.iter().any(|renderer| text.contains(renderer)))
    }

    /// What sets a parameter after main.cf was written.
    pub fn setter_of(&self, context: &Path, parameter: &str) -> Option<&Path> {
        self.script_below(context, |text| text.contains(parameter))
    }

    /// The nearest directory above a file that has a Dockerfile or a project; its own otherwise.
    pub fn project_directory(&self, path: &Path) -> PathBuf {
        let own = path.parent().unwrap_or(Path::new(""));
        let roots = self.dockerfiles.iter().map(|(path, _)| path.as_path());
        let roots = roots.chain(self.projects.iter().filter_map(|project| project.files.first()).map(PathBuf::as_path));
        let mut above: Vec<&Path> =
            roots.filter_map(Path::parent).filter(|directory| own.starts_with(directory)).collect();
        above.sort_by_key(|directory| std::cmp::Reverse(directory.components().count()));
        above.first().map_or_else(|| own.to_owned(), |directory| directory.to_path_buf())
    }
}

impl<'a> Mta<'a> {
    pub fn dockerfile(&self) -> Option<(&'a Path, &'a Dockerfile)> {
        self.written.dockerfile_of(self.service)
    }

    pub fn context(&self) -> Option<&'a Path> {
        self.service.build.as_ref()?.context.as_deref()
    }

    /// The main.cf that ends up in the container: mounted, copied, or the only one that was built with.
    pub fn main_cf(&self) -> Option<(&'a Path, &'a MainCf)> {
        let known = |path: &Path| {
            let found = self.written.main_cfs.iter().find(|(main_cf, _)| main_cf == path);
            found.map(|(path, main_cf)| (path.as_path(), main_cf))
        };
        let directory = self.project.files.first().and_then(|file| file.parent()).unwrap_or(Path::new(""));
        let mounted = self.service.volumes.iter().find_map(|mount| {
            let MountKind::Bind(source) = &mount.kind else { return None };
            let source = compose::model::normal(&directory.join(source.known()?))?;
            match mount.target.text.trim_end_matches('/') {
                "/etc/postfix/main.cf" => known(&source),
                "/etc/postfix" => known(&source.join("main.cf")),
                _ => None,
            }
        });
        let context = self.context();
        let copied = || {
            let (_, dockerfile) = self.dockerfile()?;
            let sources = dockerfile.steps.iter().flat_map(|step| match &step.does {
                Does::Copy { sources, dest } if dest.contains("/postfix") || dest.ends_with("main.cf") => &sources[..],
                _ => &[],
            });
            let mut paths =
                sources.filter_map(|source| compose::model::normal(&context?.join(source.trim_start_matches('/'))));
            paths.find_map(|path| known(&path).or_else(|| known(&path.join("main.cf"))))
        };
        let only = || {
            let mut below =
                self.written.main_cfs.iter().filter(|(path, _)| context.is_some_and(|c| path.starts_with(c)));
            let first = below.next()?;
            below.next().is_none().then_some((first.0.as_path(), &first.1))
        };
        mounted.or_else(copied).or_else(only)
    }

    /// What sets a parameter when the container starts, in place of or after main.cf.
    pub fn setter_of(&self, parameter: &str) -> Option<&'a Path> {
        let context = self.context()?;
        self.written.setter_of(context, parameter)
    }

    /// Whether a base image of a distribution is used, which has no conventions of its own for variables.
    pub fn is_plain(&self) -> bool {
        const PLAIN: &[&str] =
            &["debian", "ubuntu", "alpine", "fedora", "centos", "rockylinux", "almalinux", "archlinux", "opensuse"];
        let base = self.dockerfile().and_then(|(_, dockerfile)| dockerfile.base());
        base.is_some_and(|base| PLAIN.contains(&repository(base).rsplit('/').next().unwrap_or_default()))
    }

    /// Whether any program that is built with mentions this.
    pub fn mentions(&self, word: &str) -> bool {
        let Some(context) = self.context() else { return true };
        let below = self.written.scripts.iter().filter(|(path, _)| path.starts_with(context));
        let in_scripts = below.clone().any(|(_, text)| text.contains(word));
        in_scripts || self.service.command.contains(word)
    }
}

/// A name without registry tag and digest, in small letters.
fn repository(image: &str) -> String {
    let image = image.split('@').next().unwrap_or(image).to_ascii_lowercase();
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name.to_owned(),
        _ => image,
    }
}

/// What an image's name shows. Words that stand beside another purpose (an exporter, a web interface) show nothing.
pub fn kind_of_image(image: &str) -> Option<Kind> {
    let name = repository(image);
    let words: Vec<&str> = name.split(['/', '-', '_', '.']).collect();
    let has = |word: &str| words.contains(&word);
    const BESIDE: &[&str] = &[
        "exporter",
        "admin",
        "postfixadmin",
        "prometheus",
        "policyd",
        "ui",
        "web",
        "webmail",
        "dovecot",
        "log",
        "logs",
    ];
    if BESIDE.iter().any(|word| has(word)) || words.iter().any(|word| word.starts_with("postfixadmin")) {
        return None;
    }
    if name.contains("mailserver/docker-mailserver") || name.contains("tvial/docker-mailserver") {
        return Some(Kind::Suite);
    }
    if has("postfix") {
        let suite = has("mailcow") || has("mailu");
        return Some(if suite { Kind::Suite } else { Kind::PostfixImage });
    }
    if name == "namshi/smtp" || has("exim") || has("exim4") || has("opensmtpd") || has("maddy") || has("haraka") {
        return Some(Kind::Other);
    }
    None
}

/// Mail catchers: they take everything and deliver nothing.
pub fn is_catcher(image: &str) -> bool {
    const CATCHERS: &[&str] = &[
        "mailpit",
        "mailhog",
        "smtp4dev",
        "maildev",
        "mailcatcher",
        "inbucket",
        "greenmail",
        "fakesmtp",
        "papercut",
        "mailslurper",
        "mailtrap",
        "smtpsink",
        "smtp-sink",
        "fake-smtp-server",
        "mailcrab",
        "mailtutan",
    ];
    let name = repository(image);
    let mut parts = name.split('/').flat_map(|part| std::iter::once(part).chain(part.split(['-', '_', '.'])));
    parts.any(|part| CATCHERS.contains(&part))
}

/// Shell scripts and what is started as one, by their first line or their name.
fn scripts(files: &Files) -> Vec<(PathBuf, String)> {
    let looks_like = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.ends_with(".sh")
            || name.ends_with(".bash")
            || name.contains("entrypoint")
            || is_dockerfile(&name)
            || matches!(name.as_str(), "run" | "start" | "boot" | "init" | "setup" | "finish" | "up" | "makefile")
    };
    files.named(looks_like).filter_map(|path| Some((path.to_owned(), files.text(path)?))).collect()
}

#[cfg(test)]
#[path = "written_tests.rs"]
mod tests;
