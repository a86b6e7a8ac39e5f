//! Colour: only where a person looks, and never the only carrier of a meaning.

use std::fmt::Display;
use std::io::IsTerminal as _;

use dkimctl_state::record::lint::Severity;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paint {
    on: bool,
}

/// `--color`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb; CLICOLOR_FORCE colours pipes too.
    #[default]
    Auto,
    Always,
    Never,
}

impl Paint {
    pub const PLAIN: Paint = Paint { on: false };

    pub fn new(when: When) -> Paint {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()); // https://no-color.org
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let on = match when {
            When::Always => true,
            When::Never => false,
            When::Auto if no_color => false,
            When::Auto if set("CLICOLOR_FORCE") => true,
            When::Auto => !dumb && std::io::stdout().is_terminal(),
        };
        Paint { on }
    }

    pub fn bold(self, text: impl Display) -> String {
        self.with("1", text)
    }

    pub fn dim(self, text: impl Display) -> String {
        self.with("2", text)
    }

    pub fn red(self, text: impl Display) -> String {
        self.with("31", text)
    }

    pub fn green(self, text: impl Display) -> String {
        self.with("32", text)
    }

    pub fn yellow(self, text: impl Display) -> String {
        self.with("33", text)
    }

    /// The word for it, in its colour.
    pub fn severity(self, severity: Severity) -> String {
        match severity {
            Severity::Error => self.red(severity.as_str()),
            Severity::Warning => self.yellow(severity.as_str()),
            Severity::Info => self.dim(severity.as_str()),
        }
    }

    fn with(self, code: &str, text: impl Display) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}
