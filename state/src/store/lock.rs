//! One writer at a time: flock(2) on a file that is never renamed or removed.
//!
//! The kernel gives the lock back when its holder dies, however it dies. What stands in the file is for the message
//! that the next one prints, and nothing is decided by it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the store is what reaches the disk

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{StoreError, place};
use crate::time::Time;

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Who holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// Tells a process of before the last boot from one of now.
    pub boot_id: String,
    pub host: String,
    /// `dkimctl rotate`
    pub cmd: String,
    pub since: Time,
}

impl Holder {
    /// This process.
    pub fn here(cmd: &str, since: Time) -> Holder {
        let kernel = |name: &str| {
            let text = std::fs::read_to_string(Path::new("/proc/sys/kernel").join(name));
            text.map(|t| t.trim().to_owned()).unwrap_or_default()
        };
        let (boot_id, host) = (kernel("random/boot_id"), kernel("hostname"));
        Holder { pid: std::process::id(), boot_id, host, cmd: cmd.to_owned(), since }
    }
}

impl Lock {
    /// Takes `<dir>/lock`, or says at once who has it.
    pub fn take(dir: &Path, holder: &Holder) -> Result<Lock, StoreError> {
        let path = dir.join("lock");
        let fault = |e| place::io(&path, &e);
        // Not truncated at open: until the lock is ours the words in it are another's.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(fault)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(describe(&mut file))),
            Err(TryLockError::Error(e)) => return Err(fault(e)),
        }
        // A full disk must not keep anybody from what frees it: without the words the lock holds just as well.
        let text = serde_json::to_vec(holder).expect("a holder is JSON");
        let _ = file.set_len(0).and_then(|()| file.write_all(&text));
        Ok(Lock { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While the lock is still ours, so that nobody is named who has gone.
        let _ = self.file.set_len(0);
    }
}

fn describe(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(4096).read_to_string(&mut text));
    match read.ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok()) {
        Some(Holder { pid, cmd, since, .. }) => format!("pid {pid} ({cmd}) since {since}"),
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
