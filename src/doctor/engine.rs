//! The container engine, spoken to by its own command line: `docker`, or whatever answers to its words.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::command::{self, Call, CommandError, Ran};

/// What runs `docker ARGS`. A trait, so that recorded answers can stand in for an engine.
pub trait Engine: Send + Sync {
    /// Runs a command to its end. That it ended badly is in [`Ran`]; an error is an engine that could not be asked.
    fn run(&self, args: &[&str]) -> Result<Ran, CommandError>;

    /// Runs a command and gives its standard output as it comes, for what is too large to hold.
    fn stream(&self, args: &[&str]) -> Result<Box<dyn Read + Send>, CommandError>;
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

impl Engine for Docker {
    fn run(&self, args: &[&str]) -> Result<Ran, CommandError> {
        command::run(Call { program: &self.program, args, timeout: Some(self.timeout), ..Call::default() })
    }

    fn stream(&self, args: &[&str]) -> Result<Box<dyn Read + Send>, CommandError> {
        let mut command = Command::new(&self.program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command.spawn().map_err(|source| command::failed(&self.program, args, source))?;
        Ok(Box::new(Stream { child, ended: false }))
    }
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
