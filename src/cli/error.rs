//! How a command ends. The kind of an error decides the exit code; its sentence and its hint are for people.

use dkimctl_state::store::StoreError;
use dkimctl_state::store::export::ExportError;

use crate::config::ConfigError;
use crate::config::providers::ProviderBuildError;
use crate::files::FileError;
use crate::guarded::PublishError;
use crate::host::run::RunError;
use crate::report::hints;
use crate::sealing::OpenError;
use crate::secrets::outbox::OutboxError;
use crate::secrets::signed::SigningKeyError;
use crate::secrets::write::WriteError;
use crate::vault::VaultError;

/// A command that did what it was asked to do, and what came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok,
    /// What went wrong was said already.
    Failed,
    ChecksFailed,
    NotChecked,
    Pending,
}

/// A command that could not do what it was asked to do.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    pub hints: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Failed,
    Usage,
    Locked,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::ChecksFailed => 3,
            Exit::NotChecked => 4,
            Exit::Pending => 5,
        }
    }
}

impl Error {
    pub fn new(message: impl Into<String>) -> Self {
        Error { kind: Kind::Failed, message: message.into(), hints: Vec::new() }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Error { kind: Kind::Usage, ..Error::new(message) }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub fn code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Locked => 6,
        }
    }

    /// An error whose own sentence says everything.
    pub fn said(error: impl std::fmt::Display) -> Self {
        Error::new(error.to_string())
    }

    fn hinted(error: impl std::fmt::Display, hint: Option<String>) -> Self {
        Error { hints: hint.into_iter().collect(), ..Error::new(error.to_string()) }
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Lock(error) => error.into(),
            error => Error::new(error.to_string()),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = if matches!(error, StoreError::Locked(_)) { Kind::Locked } else { Kind::Failed };
        Error { kind, ..Error::hinted(&error, hints::store(&error)) }
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Error::hinted(&error, error.mistake.hint())
    }
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        Error::hinted(&error, hints::vault(&error))
    }
}

macro_rules! said_by_themselves {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Error::hinted(error, None)
            }
        }
    )*};
}

said_by_themselves!(
    ExportError,
    FileError,
    OpenError,
    OutboxError,
    ProviderBuildError,
    SigningKeyError,
    WriteError,
    crate::keygen::KeyError
);

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Store(error) => error.into(),
            error => Error::hinted(&error, hints::publish(&error)),
        }
    }
}
