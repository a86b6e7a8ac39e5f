//! Makes a running OpenDKIM read its tables again, without a message lost.
//!
//! SIGUSR1 and nothing else. SIGHUP ends OpenDKIM 2.11 with status 0, a restart leaves seconds of mail unsigned, and
//! `docker kill` switches a container's restart policy off. The reload is lazy: it happens at the next *new* milter
//! connection, and if it fails the old configuration stays in use and only syslog knows. So a signal that was delivered
//! proves nothing; a probe does.
//!
//! A signer in a container: from the host, its process is visible in /proc, and it is ours if the configuration file
//! *it* sees (through /proc/PID/root) is the file that we were given: a directory mounted from the host. If the
//! configuration lives inside the image, the signal is sent by a shell in the container, through `docker exec`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::container::{Container, ContainerError};

/// How OpenDKIM is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// SIGUSR1 to the one process that runs with our configuration file.
    Signal,
    /// SIGUSR1 from inside, by `docker exec`.
    Container(Container),
    /// A command, run without a shell.
    Command { argv: Vec<String>, timeout: Duration },
}

/// Every opendkim in the container, found by its name: PID files stay behind in a container that is restarted, and an
/// image need not have pidof or kill, but has a shell. One that waits for its first row begins within a second of it.
const SIGNAL_INSIDE: &str = r#"
for try in 1 2 3 4 5 6; do
  told=
  for dir in /proc/[0-9]*; do
    read -r name <"$dir/comm" && [ "$name" = opendkim ] && kill -USR1 "${dir#/proc/}" && told=yes
  done 2>/dev/null
  [ "$told" ] && exit 0
  sleep 0.5
done
echo 'no opendkim runs there' >&2
exit 1"#;

/// Why OpenDKIM could not be told. The tables stand as written and take effect at the next reload.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(
        "no opendkim process runs with {conf}, so nobody reads the new tables: start it, or configure a reload \
             command if it runs where this host cannot see it"
    )]
    NotRunning { conf: PathBuf },
    #[error("{} opendkim processes run with {conf} ({}), and it is not known which one signs: stop all but one, or \
             configure a reload command", pids.len(), list(pids))]
    Ambiguous { conf: PathBuf, pids: Vec<i32> },
    #[error("SIGUSR1 could not be sent to opendkim (process {pid}): run this as root or as the same user")]
    Signal { pid: i32, source: nix::Error },
    #[error("the processes of this host cannot be listed, so opendkim is not found: is /proc mounted?")]
    Proc(#[source] io::Error),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error("the reload command is empty: write the program and its arguments as a list")]
    EmptyCommand,
    #[error("the reload command `{program}` could not be run: try it by hand")]
    Spawn { program: String, source: io::Error },
    #[error("the reload command `{program}` {outcome}, so it is not known whether the tables were read: {stderr}")]
    Failed { program: String, outcome: String, stderr: String },
}

impl Reload {
    pub fn run(&self, conf: &Path) -> Result<(), ReloadError> {
        match self {
            Reload::Signal => {
                let pid = find(Path::new("/proc"), conf)?;
                signal::kill(Pid::from_raw(pid), Signal::SIGUSR1).map_err(|source| ReloadError::Signal { pid, source })
            }
            Reload::Container(container) => {
                Ok(container.exec("SIGUSR1 to opendkim", None, &["sh", "-c", SIGNAL_INSIDE], None).map(drop)?)
            }
            Reload::Command { argv, timeout } => run(argv, *timeout),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
}

/// The process that runs with `conf`. With `AutoRestart` there are two, the supervising parent and its child, and a
/// signal to either works: the parent is taken.
fn find(proc: &Path, conf: &Path) -> Result<i32, ReloadError> {
    let wanted = fs::metadata(conf).ok().map(|meta| (meta.dev(), meta.ino()));
    let mut found: Vec<Process> = Vec::new();
    for entry in fs::read_dir(proc).map_err(ReloadError::Proc)? {
        let entry = entry.map_err(ReloadError::Proc)?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // A process may end while it is looked at: then it is simply not there.
        if let Some(process) = look(&entry.path(), pid, wanted) {
            found.push(process);
        }
    }
    let heads: Vec<i32> = found
        .iter()
        .filter(|process| !found.iter().any(|other| other.pid == process.parent))
        .map(|process| process.pid)
        .collect();
    match heads[..] {
        [pid] => Ok(pid),
        [] => Err(ReloadError::NotRunning { conf: conf.to_owned() }),
        _ => Err(ReloadError::Ambiguous { conf: conf.to_owned(), pids: heads }),
    }
}

/// Whether the process under /proc/PID is an OpenDKIM whose configuration is the file `wanted`.
fn look(dir: &Path, pid: i32, wanted: Option<(u64, u64)>) -> Option<Process> {
    // PID files stay behind and process ids are used again, so the process itself is asked.
    if fs::read(dir.join("comm")).ok()?.trim_ascii() != b"opendkim" {
        return None;
    }
    let arguments = fs::read(dir.join("cmdline")).ok()?;
    let conf = conf_argument(arguments.split(|&byte| byte == 0)).unwrap_or_else(|| "/etc/opendkim.conf".into());
    // What the process sees: its own root, and its own working directory for a relative path.
    let as_seen = match conf.strip_prefix("/") {
        Ok(below) => dir.join("root").join(below),
        Err(_) => dir.join("cwd").join(&conf),
    };
    let meta = match fs::metadata(as_seen) {
        // It began as root and gave that up, so the kernel shows its root to root only, not even to its own user
        // (proc(5), "dumpable"). Then it is taken to have the same root as we: a wrong guess is a needless reload.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && conf.is_absolute() => fs::metadata(&conf),
        other => other,
    };
    let seen = meta.ok().map(|meta| (meta.dev(), meta.ino()))?;
    (Some(seen) == wanted).then_some(())?;
    // /proc/PID/stat: `pid (comm) state ppid ...`; comm is known to hold no parenthesis here.
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z").then_some(Process { pid, parent })
}

/// The argument of `-x`, written `-x FILE` or `-xFILE`.
fn conf_argument<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Option<PathBuf> {
    let mut arguments = arguments.skip(1);
    while let Some(argument) = arguments.next() {
        let path = match argument.strip_prefix(b"-x") {
            Some([]) => arguments.next()?,
            Some(path) => path,
            None => continue,
        };
        return Some(OsString::from_vec(path.to_vec()).into());
    }
    None
}

/// Runs a command without a shell, bounded in time; its group dies with it.
fn run(argv: &[String], timeout: Duration) -> Result<(), ReloadError> {
    let [program, arguments @ ..] = argv else { return Err(ReloadError::EmptyCommand) };
    let spawn = |source| ReloadError::Spawn { program: program.clone(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(spawn)?;
    // Read aside: a command that talks much must not stop at a full pipe.
    let stderr = child.stderr.take();
    let (said, hears) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stderr) = stderr {
            let _ = stderr.take(4096).read_to_end(&mut text);
        }
        let _ = said.send(String::from_utf8_lossy(&text).trim().to_owned());
    });
    let deadline = Instant::now() + timeout;
    let outcome = loop {
        match child.try_wait().map_err(spawn)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => break format!("ended with {status}"),
            None if Instant::now() >= deadline => {
                if let Ok(group) = i32::try_from(child.id()) {
                    let _ = signal::killpg(Pid::from_raw(group), Signal::SIGKILL);
                }
                let _ = child.wait();
                break format!("did not end within {} s", timeout.as_secs());
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    // A grandchild may hold the pipe open: what it says later is not waited for.
    let stderr = hears.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    Err(ReloadError::Failed { program: program.clone(), outcome, stderr })
}

fn list(pids: &[i32]) -> String {
    pids.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
