//! Probes on their way out, by the path that real mail takes: SMTP submission, STARTTLS, authentication (RFC 6409).

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport as _};

use super::imap::Encryption;
use super::probe::{FIELD, Token};
use crate::mail::header::harmless;

/// Where mail is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    pub host: String,
    pub port: u16,
    /// `None` on this very machine alone.
    pub encryption: Option<Encryption>,
    pub user: Option<String>,
    pub ca_file: Option<PathBuf>,
    /// The address in `From` and in the envelope.
    pub from: String,
}

/// What became of one probe at the submission server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// The server's answer; most name the queue's number in it.
    Taken(String),
    /// It said no, for now (4yz) or for good (5yz).
    Refused { permanent: bool, answer: String },
}

/// Why nothing could be submitted. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("{0}")]
    Message(String),
    #[error("{0}")]
    Certificates(String),
    #[error("{host}:{port}: {why}")]
    Server { host: String, port: u16, why: String },
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Submission {
    /// A connection that serves several probes.
    pub fn open(&self, secret: Option<&str>) -> Result<SmtpTransport, SubmitError> {
        let tls = match self.encryption {
            None => Tls::None,
            Some(Encryption::Implicit) => Tls::Wrapper(self.tls()?),
            Some(Encryption::StartTls) => Tls::Required(self.tls()?),
        };
        let mut builder = SmtpTransport::builder_dangerous(&self.host).port(self.port).tls(tls).timeout(Some(PATIENCE));
        if let (Some(user), Some(secret)) = (&self.user, secret) {
            builder = builder.credentials(Credentials::new(user.clone(), secret.to_owned()));
        }
        Ok(builder.build())
    }

    fn tls(&self) -> Result<TlsParameters, SubmitError> {
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(path) = &self.ca_file {
            let unreadable = |why: String| SubmitError::Certificates(format!("{}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|why| unreadable(why.to_string()))?;
            builder =
                builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|why| unreadable(why.to_string()))?);
        }
        builder.build_rustls().map_err(|why| SubmitError::Certificates(why.to_string()))
    }

    /// Submits one probe.
    pub fn send(&self, through: &SmtpTransport, to: &str, token: &Token, text: &str) -> Result<Submitted, SubmitError> {
        let message = self.message(to, token, text)?;
        match through.send(&message) {
            Ok(response) => {
                let answer = response.message().collect::<Vec<_>>().join(" ");
                Ok(Submitted::Taken(harmless(&answer, 300).into_owned()))
            }
            Err(error) if error.status().is_some() => {
                Ok(Submitted::Refused { permanent: error.is_permanent(), answer: with_causes(&error) })
            }
            Err(error) => {
                Err(SubmitError::Server { host: self.host.clone(), port: self.port, why: with_causes(&error) })
            }
        }
    }

    fn message(&self, to: &str, token: &Token, text: &str) -> Result<Message, SubmitError> {
        let mailbox = |address: &str| {
            let parsed = address.parse::<Mailbox>();
            parsed.map_err(|why| SubmitError::Message(format!("`{address}` is no mail address: {why}")))
        };
        let domain = self.from.rsplit_once('@').map_or("localhost", |(_, domain)| domain.trim_end_matches('>'));
        let token_field = HeaderValue::new(HeaderName::new_from_ascii_str(FIELD), token.to_string());
        Message::builder()
            .from(mailbox(&self.from)?)
            .to(mailbox(to)?)
            .subject(token.subject())
            .date_now()
            .message_id(Some(format!("<{}.{}@{domain}>", token, uuid::Uuid::new_v4().simple())))
            .header(ContentType::TEXT_PLAIN)
            .raw_header(token_field)
            .body(text.to_owned())
            .map_err(|why| SubmitError::Message(why.to_string()))
    }
}

/// An error and what caused it: lettre's own sentence is often no more than "Connection error".
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    harmless(&text, 300).into_owned()
}
