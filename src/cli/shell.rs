//! What every verb needs of the outside: the configuration, the time, and somebody to talk to.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::time::Time;

use super::Global;
use super::error::{Error, Exit};
use crate::clock::{Clock as _, SystemClock};
use crate::config::find::Surroundings;
use crate::config::{Config, find};
use crate::report::{Paint, Report};

pub struct Shell {
    pub global: Global,
    pub paint: Paint,
}

impl Shell {
    pub fn new(global: Global) -> Self {
        let paint = if global.json { Paint::PLAIN } else { Paint::new(global.color) };
        Shell { global, paint }
    }

    pub fn config(&self) -> Result<Config, Error> {
        let around = Surroundings { variable: None, ..Surroundings::of_this_process() };
        let config = Config::load(&find(self.global.config.as_deref(), &around)?)?;
        if config.policy.lab {
            self.warn("`lab = true`: waits may be too short for real mail");
        }
        Ok(config)
    }

    pub fn now(&self) -> Time {
        SystemClock.now()
    }

    /// Who does it, for the log: the person behind sudo, or the user.
    pub fn actor(&self) -> String {
        let sudo = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
        let user = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
        sudo.or_else(user).unwrap_or_else(|| format!("uid {}", nix::unistd::getuid()))
    }

    /// What is configured for these domains; for all when none is named.
    pub fn settings(&self, config: &Config, domains: &[SigningDomain]) -> Result<Vec<Settings>, Error> {
        if domains.is_empty() {
            return Ok(config.domains.names().filter_map(|name| config.settings(name)).collect());
        }
        domains.iter().map(|domain| self.one(config, domain)).collect()
    }

    pub fn one(&self, config: &Config, domain: &SigningDomain) -> Result<Settings, Error> {
        config.settings(domain).ok_or_else(|| {
            let meant = config.domains.nearest(domain.as_str());
            let meant = meant.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            Error::usage(format!("{domain} is not configured in {}{meant}", config.path.display()))
                .hint("add a [[domain]] with this name to it")
        })
    }

    /// Data.
    pub fn show(&self, report: &impl Report) -> Result<(), Error> {
        self.print(&if self.global.json { report.json() } else { report.text(self.paint) })
    }

    pub fn print(&self, text: &str) -> Result<(), Error> {
        self.print_bytes(text.as_bytes())
    }

    pub fn print_bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        match io::stdout().lock().write_all(bytes) {
            // Whoever reads has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| Error::new(format!("standard output cannot be written: {error}"))),
        }
    }

    /// Talk.
    pub fn say(&self, sentence: impl std::fmt::Display) {
        if !self.global.quiet {
            self.talk(sentence);
        }
    }

    pub fn say_more(&self, sentence: impl std::fmt::Display) {
        if self.global.verbose > 0 {
            self.talk(sentence);
        }
    }

    pub fn warn(&self, sentence: impl std::fmt::Display) {
        if !self.global.quiet {
            self.talk(format_args!("dkimctl: {}: {sentence}", self.paint_errors().yellow("warning")));
        }
    }

    pub fn error(&self, sentence: impl std::fmt::Display, hints: &[String]) {
        self.talk(format_args!("dkimctl: {}: {sentence}", self.paint_errors().red("error")));
        for hint in hints {
            self.talk(format_args!("dkimctl: hint: {hint}"));
        }
    }

    /// Whether a person sits there and can be asked.
    pub fn is_interactive(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks for a line.
    pub fn ask(&self, question: &str) -> Result<String, Error> {
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{question} ");
        let _ = stderr.flush();
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        read.map_err(|error| Error::new(format!("no answer could be read: {error}")))?;
        Ok(line.trim().to_owned())
    }

    /// The exit code, and the error if there is one.
    pub fn end(&self, ended: Result<Exit, Error>) -> ExitCode {
        match ended {
            Ok(exit) => ExitCode::from(exit.code()),
            Err(error) => {
                self.error(&error.message, &error.hints);
                ExitCode::from(error.code())
            }
        }
    }

    fn talk(&self, sentence: impl std::fmt::Display) {
        // Nobody listens any more; the exit code still says it.
        let _ = writeln!(io::stderr().lock(), "{sentence}");
    }

    fn paint_errors(&self) -> Paint {
        if io::stderr().is_terminal() { self.paint } else { Paint::PLAIN }
    }
}
