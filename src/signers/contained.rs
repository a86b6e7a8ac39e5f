//! A signer in a container: its configuration and its tables name paths as the container sees them, and its accounts are
//! not those of this host.

use std::io;
use std::path::{Path, PathBuf};

use super::LoadedKey;
use super::milter::Socket;
use super::safekeys::{self, Accounts, Identity, Inode, Inodes, Problem, ThisHost};
use crate::container::{Container, ContainerError, Mounts};

/// The container that a signer runs in, and where this host has what is mounted into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contained {
    pub container: Container,
    pub mounts: Mounts,
}

/// A file of the container that has to be edited here and is not here.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} of the signer's container is not on this host, and its tables have to be edited here: mount its directory, and name it in [container.mounts]"
)]
pub struct NotMounted {
    path: PathBuf,
}

impl Contained {
    /// The accounts as the container has them: its numbers are not the host's.
    pub fn accounts(&self) -> Result<Accounts, ContainerError> {
        let read = |path: &str| {
            let bytes = self.container.exec("reading the signer's user", None, &["cat", path], None)?;
            Ok::<_, ContainerError>(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Accounts::parse(&read("/etc/passwd")?, &read("/etc/group")?))
    }

    /// The path on this host of what the signer calls `path`.
    pub fn here(&self, path: &Path) -> Result<PathBuf, NotMounted> {
        self.mounts.on_host(path).ok_or_else(|| NotMounted { path: path.to_owned() })
    }

    /// A socket of the container is reached through the mount that it lies in. A port is taken as it is: published, or
    /// of a container that shares the host's network.
    pub fn socket_here(&self, socket: Socket) -> Socket {
        match socket {
            Socket::Local(path) => Socket::Local(self.here(&path).unwrap_or(path)),
            inet => inet,
        }
    }

    /// The keys, under the paths that the signer sees.
    pub fn as_seen(&self, keys: &[LoadedKey]) -> Vec<LoadedKey> {
        let seen = |key: &LoadedKey| LoadedKey { path: self.mounts.in_container(&key.path), ..key.clone() };
        keys.iter().map(seen).collect()
    }

    /// Whether a signer that runs as `identity` opens the key at `path` of this host.
    pub fn accepts(&self, path: &Path, identity: &Identity, accounts: &Accounts) -> Result<(), Vec<Problem>> {
        match self.mounts.top(path) {
            Some(top) => safekeys::accepts_among(&Below(top), path, identity, accounts),
            // A key that only the container has: who put it there read it back as the signer's own user.
            None => Ok(()),
        }
    }
}

/// A mount as its container sees it: above it are directories of the image, which are root's.
struct Below<'a>(&'a Path);

impl Inodes for Below<'_> {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        ThisHost.resolve(path)
    }

    fn inode(&self, path: &Path) -> io::Result<Inode> {
        const DIRECTORY_OF_ROOT: Inode = Inode { mode: 0o040_755, uid: 0, gid: 0 };
        match path.starts_with(ThisHost.resolve(self.0)?) {
            true => ThisHost.inode(path),
            false => Ok(DIRECTORY_OF_ROOT),
        }
    }
}
