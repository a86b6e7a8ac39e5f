//! Other programs that are run to their end: the container engine, git, what a container has.

use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use zeroize::Zeroizing;

/// A program, and what it is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Call<'a> {
    pub program: &'a str,
    pub args: &'a [&'a str],
    pub environment: &'a [(&'a str, &'a str)],
    pub directory: Option<&'a Path>,
    /// What is secret goes this way, and no other: every user of the machine may read arguments and environments.
    pub stdin: Option<&'a [u8]>,
    /// After this it is killed, and whatever it started with it.
    pub timeout: Option<Duration>,
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ran {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Why a command has nothing to say.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("`{program}` is not installed here")]
    NotInstalled { program: String },
    #[error("`{command}` could not be run: {source}")]
    Io { command: String, source: io::Error },
    #[error("`{command}` did not end within {} s", .after.as_secs())]
    TimedOut { command: String, after: Duration },
    #[error("`{command}` says: {said}")]
    Refused { command: String, said: String },
}

/// More than any command that is read whole has to say.
const LARGEST: u64 = 64 << 20;

impl Ran {
    pub fn is_ok(&self) -> bool {
        self.code == Some(0)
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last thing that was complained about, on one line.
    pub fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("nothing").to_owned()
    }

    /// How it ended, for people.
    pub fn ending(&self) -> String {
        self.code.map_or_else(|| "a signal ended it".to_owned(), |code| format!("exit status: {code}"))
    }
}

/// Runs a program to its end. That it ended badly is in [`Ran`].
pub fn run(call: Call<'_>) -> Result<Ran, CommandError> {
    let Call { program, args, environment, directory, stdin, timeout } = call;
    let mut command = Command::new(program);
    command.args(args).envs(environment.iter().copied());
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if timeout.is_some() {
        // A group of its own can be killed as a whole.
        command.process_group(0);
    }
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let mut child = command.spawn().map_err(|source| failed(program, args, source))?;
    let group = Pid::from_raw(child.id() as i32);
    let (pipe, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    if let (Some(mut pipe), Some(octets)) = (pipe, stdin) {
        let octets = Zeroizing::new(octets.to_vec());
        // A command that does not read to the end says so by its status.
        thread::spawn(move || drop(pipe.write_all(&octets)));
    }
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let errors = thread::spawn(move || read_whole(stderr));
        let stdout = read_whole(stdout);
        let _ = done.send((child.wait(), stdout, errors.join().unwrap_or_default()));
    });
    let ended = match timeout {
        Some(timeout) => ended.recv_timeout(timeout).map_err(|_| timeout),
        None => ended.recv().map_err(|_| Duration::ZERO),
    };
    match ended {
        Ok((Ok(status), stdout, stderr)) => Ok(Ran { code: status.code(), stdout, stderr }),
        Ok((Err(source), ..)) => Err(failed(program, args, source)),
        Err(after) => {
            let _ = killpg(group, Signal::SIGKILL);
            Err(CommandError::TimedOut { command: spelled(program, args), after })
        }
    }
}

fn read_whole(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.by_ref().take(LARGEST).read_to_end(&mut bytes);
        // What comes after is not kept, but whoever writes it is not to be stopped by a closed pipe.
        let _ = io::copy(&mut pipe, &mut io::sink());
    }
    bytes
}

pub fn failed(program: &str, args: &[&str], source: io::Error) -> CommandError {
    match source.kind() {
        io::ErrorKind::NotFound => CommandError::NotInstalled { program: program.to_owned() },
        _ => CommandError::Io { command: spelled(program, args), source },
    }
}

pub fn spelled(program: &str, args: &[&str]) -> String {
    // A script is named by its beginning.
    let shown = |arg: &&str| match arg.trim().split_once('\n') {
        Some((first, _)) => format!("'{first} ...'"),
        None => (*arg).to_owned(),
    };
    std::iter::once(program.to_owned()).chain(args.iter().map(shown)).collect::<Vec<_>>().join(" ")
}
