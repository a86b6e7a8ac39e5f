//! The place where mail runs: this host, or a container on it. The doctor reads files there, runs commands there and
//! opens connections from there.
//!
//! A container's network is entered by the thread that asks (setns(2)), which takes root and nothing in the container;
//! without root a command inside has to do. Nothing is ever written in either.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use super::container::Container;
use crate::command::{self, Call, CommandError, Ran};

/// Where the mail server and its signer run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inside {
    /// What a command inside begins with: `["docker", "exec", "mail"]`; empty on this host.
    pub exec: Vec<String>,
    /// The network namespace (`/proc/PID/ns/net`); `None`: the one that this program is in.
    pub network: Option<PathBuf>,
    /// Where its root directory is seen from here (`/proc/PID/root`), for sockets that are files.
    pub root: Option<PathBuf>,
}

/// Why nothing is known of the inside.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("the container's network cannot be entered ({0}); root can, and so could a bash in the container")]
    Network(String),
    #[error("{path} cannot be read there: {why}")]
    Read { path: PathBuf, why: String },
}

/// Nothing that is run inside takes longer when all is well.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nothing that is read inside is larger when all is well.
const LARGEST: u64 = 64 * 1024 * 1024;

impl Inside {
    pub fn here() -> Inside {
        Inside::default()
    }

    /// A running container.
    pub fn container(container: &Container) -> Inside {
        let process =
            container.pid().filter(|pid| is_of(container, *pid)).map(|pid| PathBuf::from(format!("/proc/{pid}")));
        Inside {
            exec: ["docker", "exec", "-u", "0", "-e", "LC_ALL=C", &container.name].map(String::from).to_vec(),
            network: process.as_ref().map(|process| process.join("ns/net")),
            root: process.map(|process| process.join("root")),
        }
    }

    pub fn is_here(&self) -> bool {
        self.exec.is_empty() && self.network.is_none()
    }

    /// Runs a command inside.
    pub fn run(&self, command: &[&str]) -> Result<Ran, CommandError> {
        self.run_within(command, PATIENCE)
    }

    /// Runs a command inside, and ends it when the time is over.
    pub fn run_within(&self, command: &[&str], patience: Duration) -> Result<Ran, CommandError> {
        let mut argv = self.exec.iter().map(String::as_str).chain(command.iter().copied());
        let program = argv.next().unwrap_or("true");
        command::run(Call {
            program,
            args: &argv.collect::<Vec<_>>(),
            environment: &[("LC_ALL", "C")],
            timeout: Some(patience),
            ..Call::default()
        })
    }

    /// The octets of a file inside.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, InsideError> {
        let failed = |why: String| InsideError::Read { path: path.to_owned(), why };
        if self.exec.is_empty() {
            let mut bytes = Vec::new();
            let file = File::open(path).map_err(|error| failed(error.to_string()))?;
            file.take(LARGEST).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
            return Ok(bytes);
        }
        let said = self.run(&["cat", "--", &path.display().to_string()])?;
        if said.is_ok() { Ok(said.stdout) } else { Err(failed(said.complaint())) }
    }

    /// Calls `act` with the network that is inside.
    ///
    /// A thread of its own enters the namespace and ends with it, so that this one stays where it is. What `act`
    /// starts itself, threads and processes, is inside as well.
    pub fn in_network<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, InsideError> {
        let Some(namespace) = &self.network else {
            return match self.exec.is_empty() {
                true => Ok(act()),
                false => Err(InsideError::Network("its process is not known here".into())),
            };
        };
        let enter = || {
            let file = File::open(namespace).map_err(|error| match error.kind() {
                ErrorKind::PermissionDenied => "permission denied".to_owned(),
                _ => error.to_string(),
            })?;
            setns(file, CloneFlags::CLONE_NEWNET).map_err(|errno| errno.desc().to_owned())
        };
        let inside = || enter().map(|()| act());
        let came = thread::scope(|scope| scope.spawn(inside).join());
        came.unwrap_or_else(|_| Err("the thread that entered it ended".into())).map_err(InsideError::Network)
    }
}

/// Whether the process with this number is the container's. With an engine on another machine (DOCKER_HOST) the number
/// is one of that machine, and means somebody else here.
fn is_of(container: &Container, pid: i32) -> bool {
    let here = std::fs::read_link(format!("/proc/{pid}/ns/net"));
    let there = container.ask(&["readlink", "/proc/self/ns/net"]);
    matches!((here, there), (Ok(here), Ok(there)) if here.to_string_lossy() == there.trim())
}
