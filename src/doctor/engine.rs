//! The container engine, spoken to by its own command line: `docker`, or whatever answers to its words.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// What runs `docker ARGS`. A trait, so that recorded answers can stand in for an engine.
pub trait Engine: Send + Sync {
    /// Runs a command to its end. That it ended badly is in [`Ran`]; an error is an engine that could not be asked.
    fn run(&self, args: &[&str]) -> Result<Ran, EngineError>;

    /// Runs a command and gives its standard output as it comes, for what is too large to hold.
    fn stream(&self, args: &[&str]) -> Result<Box<dyn Read + Send>, EngineError>;
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ran {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("`{program}` is not installed here")]
    NotInstalled { program: String },
    #[error("`{command}` could not be run: {source}")]
    Io { command: String, source: io::Error },
    #[error("`{command}` did not end within {} s", .after.as_secs())]
    TimedOut { command: String, after: Duration },
    #[error("`{command}` says: {said}")]
    Refused { command: String, said: String },
}

/// The engine of this machine, with the environment (DOCKER_HOST and the like) as it is.
#[derive(Debug, Clone)]
pub struct Docker {
    pub program: String,
    pub timeout: Duration,
}

impl Default for Docker {
    fn default() -> Self {
        Docker { program: "docker".to_owned(), timeout: Duration::from_secs(30) }
    }
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
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("nothing").to_owned();
        last
    }
}

impl Engine for Docker {
    fn run(&self, args: &[&str]) -> Result<Ran, EngineError> {
        run(&self.program, args, &[], None, self.timeout)
    }

    fn stream(&self, args: &[&str]) -> Result<Box<dyn Read + Send>, EngineError> {
        let mut command = Command::new(&self.program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command.spawn().map_err(|source| failed(&self.program, args, source))?;
        Ok(Box::new(Stream { child, ended: false }))
    }
}

/// Runs a program to its end, or kills it and whatever it started.
pub fn run(
    program: &str,
    args: &[&str],
    environment: &[(&str, &str)],
    directory: Option<&std::path::Path>,
    timeout: Duration,
) -> Result<Ran, EngineError> {
    let mut command = Command::new(program);
    command.args(args).envs(environment.iter().copied()).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let mut child = command.spawn().map_err(|source| failed(program, args, source))?;
    let group = Pid::from_raw(child.id() as i32);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let errors = thread::spawn(move || read_whole(stderr));
        let stdout = read_whole(stdout);
        let _ = done.send((child.wait(), stdout, errors.join().unwrap_or_default()));
    });
    match ended.recv_timeout(timeout) {
        Ok((Ok(status), stdout, stderr)) => Ok(Ran { code: status.code(), stdout, stderr }),
        Ok((Err(source), ..)) => Err(failed(program, args, source)),
        Err(_) => {
            let _ = killpg(group, Signal::SIGKILL);
            Err(EngineError::TimedOut { command: spelled(program, args), after: timeout })
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

fn failed(program: &str, args: &[&str], source: io::Error) -> EngineError {
    match source.kind() {
        io::ErrorKind::NotFound => EngineError::NotInstalled { program: program.to_owned() },
        _ => EngineError::Io { command: spelled(program, args), source },
    }
}

pub(super) fn spelled(program: &str, args: &[&str]) -> String {
    std::iter::once(program).chain(args.iter().copied()).collect::<Vec<_>>().join(" ")
}

/// Standard output of a running command; a command that ends badly ends the stream with an error.
struct Stream {
    child: Child,
    ended: bool,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.child.stdout {
            Some(stdout) => stdout.read(buffer)?,
            None => 0,
        };
        if read == 0 && !buffer.is_empty() && !self.ended {
            self.ended = true;
            let mut said = String::new();
            if let Some(stderr) = &mut self.child.stderr {
                let _ = stderr.take(64 << 10).read_to_string(&mut said);
            }
            if !self.child.wait()?.success() {
                return Err(io::Error::other(said.trim().to_owned()));
            }
        }
        Ok(read)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended {
            let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}
