//! Who takes syslog in a container, and where it puts the lines: what a process has open says it, whatever its
//! configuration is called.

use super::container::{Container, MountKind};
use crate::command::CommandError;

/// Where the lines end up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In a file of a mount.
    In(String),
    /// On the container's standard output, which the engine keeps.
    Printed,
    /// Somebody listens, and writes to nothing that outlives the container.
    Lost,
    NobodyListens,
}

/// Prints the container's standard output, and then what everybody who holds the socket of /dev/log has open beyond its
/// own standard files. `listens` before each of them.
pub(super) const SCRIPT: &str = r#"
[ -r /proc/1/fd ] || { echo "its first process is somebody else's" >&2; exit 9; }
# Postfix's master closes its own.
readlink /proc/1/fd/1 || echo
socket=$(readlink -f /dev/log)
inodes=
while read -r _ _ _ _ _ _ inode path; do
  [ "$path" = /dev/log ] || [ "$path" = "$socket" ] && inodes="$inodes socket:[$inode]"
done </proc/net/unix
for process in /proc/[0-9]*; do
  open=$(for fd in "$process"/fd/*; do
    case ${fd##*/} in 0|1|2) ;; *) readlink "$fd" ;; esac
  done)
  for inode in $inodes; do
    case $open in *"$inode"*) echo listens; echo "$open"; break ;; esac
  done
done 2>/dev/null
exit 0
"#;

/// The files that an rsyslog.conf writes to: `mail.* -/var/log/mail.log`, `file="/var/log/mail.log"`,
/// `$outchannel name,/var/log/mail.log` (rsyslog.conf(5)).
pub fn targets(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let words = lines.flat_map(|line| {
        let loads = line.starts_with("$Include") || line.starts_with("module(") || line.starts_with("include(");
        line.split(|c: char| c.is_whitespace() || "\"',()".contains(c)).filter(move |_| !loads)
    });
    words.map(|word| word.trim_start_matches('-')).filter(|word| word.starts_with('/') && word.len() > 1).collect()
}

pub fn look(container: &Container) -> Result<Kept, CommandError> {
    Ok(read(container, &container.ask(&["sh", "-c", SCRIPT])?))
}

fn read(container: &Container, said: &str) -> Kept {
    let mut lines = said.lines();
    let stdout = lines.next().unwrap_or_default();
    let open: Vec<&str> = lines.collect();
    let lasts = |path: &str| container.mount_of(path).is_some_and(|mount| mount.kind != MountKind::Tmpfs);
    // Sockets and devices lie below mounts too; a log is a file.
    let file = open.iter().find(|path| path.starts_with('/') && !path.starts_with("/dev/") && lasts(path));
    match file {
        Some(path) => Kept::In((*path).to_owned()),
        None if !stdout.is_empty() && open.contains(&stdout) => Kept::Printed,
        None if open.contains(&"listens") => Kept::Lost,
        None => Kept::NobodyListens,
    }
}

#[cfg(test)]
#[path = "syslog_tests.rs"]
mod tests;
