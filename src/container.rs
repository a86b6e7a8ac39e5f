//! A container that runs a signer, and how something is done in it: always by `docker exec`.
//!
//! Never by `docker kill`, not even for a signal: the engine takes that for the wish that the container stay down, and
//! its restart policy is off from then on. What is secret goes through standard input, never through an argument or the
//! environment, which every user of the machine may read.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::command::{self, Call, CommandError, Ran};

/// A container, by whatever stays the same when it is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// How the engine is called: `["docker"]`, `["docker", "--context", "mail"]`, `["podman"]`.
    pub engine: Vec<String>,
    pub which: Which,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// `container_name`.
    Name(String),
    /// The one running task of a Swarm service.
    Service(String),
}

/// Where a host has what a container sees: the directories that are mounted into it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts(pub Vec<Mount>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub container: PathBuf,
    pub host: PathBuf,
}

/// Why something could not be done in a container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error(
        "`{engine}` could not be run, so {container} is not reached: is the engine installed, and in the PATH of this user?"
    )]
    Spawn { engine: String, container: String, source: CommandError },
    #[error(
        "{container} cannot be reached ({said}), and nothing was changed in it: start it, then run the same command again"
    )]
    NotRunning { container: String, said: String },
    #[error("{doing} failed in {container} ({status}): {said}")]
    Failed { doing: &'static str, container: String, status: String, said: String },
    #[error(
        "the service {0} has no running task on this node, and keys reach a signer on its own node: `docker service ps {0}`"
    )]
    NoTask(String),
}

/// What docker itself answers with when there was nothing to run in (docker-exec(1): 125 to 127 are its own).
const ENGINES_OWN: [i32; 3] = [125, 126, 127];

impl Container {
    /// Runs a command inside and returns what it printed. `doing` names it in an error.
    pub fn exec(
        &self,
        doing: &'static str,
        user: Option<&str>,
        argv: &[&str],
        stdin: Option<&[u8]>,
    ) -> Result<Vec<u8>, ContainerError> {
        let name = self.resolve()?;
        let mut arguments = vec!["exec"];
        if stdin.is_some() {
            arguments.push("-i");
        }
        if let Some(user) = user {
            arguments.extend(["-u", user]);
        }
        arguments.push(&name);
        arguments.extend(argv);
        let output = self.engine(&arguments, stdin)?;
        if output.is_ok() {
            return Ok(output.stdout);
        }
        let said = said(&output);
        let not_there = ["No such container", "is not running", "is restarting", "is paused"];
        let engines_own = output.code.is_some_and(|code| ENGINES_OWN.contains(&code));
        if not_there.iter().any(|words| said.contains(words)) || engines_own && said.contains("OCI runtime") {
            return Err(ContainerError::NotRunning { container: self.to_string(), said });
        }
        Err(ContainerError::Failed { doing, container: self.to_string(), status: output.ending(), said })
    }

    /// Runs the engine itself, which has to succeed.
    pub fn docker(
        &self,
        doing: &'static str,
        arguments: &[&str],
        stdin: Option<&[u8]>,
    ) -> Result<Vec<u8>, ContainerError> {
        let output = self.engine(arguments, stdin)?;
        match output.is_ok() {
            true => Ok(output.stdout),
            false => Err(ContainerError::Failed {
                doing,
                container: self.to_string(),
                status: output.ending(),
                said: said(&output),
            }),
        }
    }

    /// The name or the id that `docker exec` takes.
    fn resolve(&self) -> Result<String, ContainerError> {
        let service = match &self.which {
            Which::Name(name) => return Ok(name.clone()),
            Which::Service(service) => service,
        };
        let filter = format!("label=com.docker.swarm.service.name={service}");
        let listing = ["ps", "--quiet", "--no-trunc", "--filter", &filter, "--filter", "status=running"];
        let ids = self.docker("listing tasks", &listing, None)?;
        // The newest stands first.
        let ids = String::from_utf8_lossy(&ids).into_owned();
        ids.lines().next().map(str::to_owned).ok_or_else(|| ContainerError::NoTask(service.clone()))
    }

    /// Without a limit of time: what is done inside may rightly take long, and half of it is no use.
    fn engine(&self, arguments: &[&str], stdin: Option<&[u8]>) -> Result<Ran, ContainerError> {
        let (program, first) = self.engine.split_first().map_or(("docker", &[][..]), |(p, rest)| (p.as_str(), rest));
        let args: Vec<&str> = first.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        command::run(Call { program, args: &args, stdin, ..Call::default() }).map_err(|source| ContainerError::Spawn {
            engine: program.to_owned(),
            container: self.to_string(),
            source,
        })
    }
}

impl Mounts {
    /// Where this host has what the container sees at `path`; `None` if it is not mounted.
    pub fn on_host(&self, path: &Path) -> Option<PathBuf> {
        self.0.iter().find_map(|mount| Some(mount.host.join(path.strip_prefix(&mount.container).ok()?)))
    }

    /// What the container sees at a path of this host; a path that is not mounted stands for itself.
    pub fn in_container(&self, path: &Path) -> PathBuf {
        let seen = self.0.iter().find_map(|mount| Some(mount.container.join(path.strip_prefix(&mount.host).ok()?)));
        seen.unwrap_or_else(|| path.to_owned())
    }

    /// The host's directory of the mount that a path of this host lies in.
    pub fn top(&self, path: &Path) -> Option<&Path> {
        self.0.iter().map(|mount| mount.host.as_path()).find(|top| path.starts_with(top))
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Which::Name(name) => write!(f, "the container {name}"),
            Which::Service(service) => write!(f, "the service {service}"),
        }
    }
}

fn said(output: &Ran) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(500).collect();
    if said.is_empty() { "it said nothing".to_owned() } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_translated_both_ways() {
        let mount = |container: &str, host: &str| Mount { container: container.into(), host: host.into() };
        let mounts = Mounts(vec![mount("/etc/opendkim/keys", "/srv/mail/keys"), mount("/run/milter", "/srv/mail/run")]);
        let pair = ("/etc/opendkim/keys/example.com/s1.private", "/srv/mail/keys/example.com/s1.private");
        assert_eq!(mounts.on_host(pair.0.as_ref()), Some(pair.1.into()));
        assert_eq!(mounts.in_container(pair.1.as_ref()), Path::new(pair.0));
        assert_eq!(mounts.on_host("/etc/opendkim.conf".as_ref()), None);
        assert_eq!(mounts.in_container("/elsewhere".as_ref()), Path::new("/elsewhere"));
        assert_eq!(mounts.top(pair.1.as_ref()), Some(Path::new("/srv/mail/keys")));
    }

    #[test]
    fn an_engine_that_is_not_there_is_named() {
        let container = Container { engine: vec!["/nonexistent/docker".into()], which: Which::Name("mail".into()) };
        let error = container.exec("trying", None, &["true"], None).unwrap_err();
        assert!(error.to_string().starts_with("`/nonexistent/docker` could not be run"), "{error}");
    }
}
