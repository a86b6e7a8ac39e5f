//! What a process that holds private keys does before anything else.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};

/// Closes the ways by which the kernel itself would copy this process's memory or widen its files: no core dump, not
/// dumpable (so no ptrace and no `/proc/<pid>/mem` for the same user), and nothing is created readable for others.
///
/// Call it first in `main`, before any thread and any secret. What could not be done is returned as sentences to warn
/// with: it is no reason to refuse work, since a container may forbid these calls and be safer than the rule.
#[must_use = "print the warnings"]
pub fn harden() -> Vec<String> {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    let failed = |what: &str, why: Errno| {
        format!("{what} could not be switched off ({why}): a crash may leave private keys on the disk")
    };
    [
        setrlimit(Resource::RLIMIT_CORE, 0, 0).err().map(|why| failed("core files (RLIMIT_CORE)", why)),
        prctl::set_dumpable(false).err().map(|why| failed("memory dumps (PR_SET_DUMPABLE)", why)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardened_process_leaves_no_core_and_no_readable_file() {
        let before = umask(Mode::from_bits_truncate(0o022));
        assert_eq!(harden(), Vec::<String>::new());
        assert_eq!(nix::sys::resource::getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
        assert!(!prctl::get_dumpable().unwrap());
        assert_eq!(umask(before), Mode::from_bits_truncate(0o077));
        // Other tests of this process read their own /proc entries.
        prctl::set_dumpable(true).unwrap();
    }
}
