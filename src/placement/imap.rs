//! Probes in mailboxes, by IMAP (RFC 9051): INBOX and the junk folder, looked at without marking anything as read.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_imap::types::NameAttribute;
use async_imap::{Authenticator, Client, Session};
use futures_util::TryStreamExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::messages::Message;
use super::probe::{FIELD, Token};
use crate::mail::header::harmless;

/// How a connection is encrypted. There is no third way: passwords go over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// From the first octet on (RFC 8314).
    Implicit,
    StartTls,
}

/// How a mailbox's owner proves to be it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Password,
    /// An OAuth access token, as Google and Microsoft ask for.
    XOAuth2,
}

/// A mailbox that can be looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    pub login: Login,
    pub user: String,
    /// Certificates to trust besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// The folders to look into; INBOX and junk when empty.
    pub folders: Vec<String>,
}

/// Why a mailbox could not be looked into. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum ImapError {
    #[error("no connection to {host}:{port}: {why}")]
    Connect { host: String, port: u16, why: io::Error },
    #[error("{0}")]
    Certificates(String),
    #[error("{host} does not take the user {user}: {why}")]
    Login { host: String, user: String, why: String },
    #[error("{host}: {why}")]
    Protocol { host: String, why: String },
    #[error("{host} did not answer within {seconds} s")]
    Slow { host: String, seconds: u64 },
}

const PATIENCE: Duration = Duration::from_secs(60);

/// The probes with this token in the account's folders.
pub fn read(account: &Account, secret: &str, token: &Token) -> Result<Vec<Message>, ImapError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| account.unreachable(why))?;
    let slow = |_| ImapError::Slow { host: account.host.clone(), seconds: PATIENCE.as_secs() };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, look(account, secret, token)).await.map_err(slow)? })
}

async fn look(account: &Account, secret: &str, token: &Token) -> Result<Vec<Message>, ImapError> {
    let protocol = |error: async_imap::error::Error| account.protocol(error);
    let mut session = sign_in(account, secret).await?;
    let folders =
        if account.folders.is_empty() { standard(account, &mut session).await? } else { account.folders.clone() };
    let mut found = Vec::new();
    for folder in folders {
        // EXAMINE, not SELECT: nothing is changed.
        session.examine(&folder).await.map_err(protocol)?;
        let query = format!("OR HEADER {FIELD} {token} SUBJECT {token}");
        let mut numbers: Vec<u32> = session.uid_search(query).await.map_err(protocol)?.into_iter().collect();
        numbers.sort_unstable();
        for number in numbers.into_iter().take(20) {
            let fetched = session.uid_fetch(number.to_string(), "BODY.PEEK[HEADER]").await.map_err(protocol)?;
            let fetched: Vec<_> = fetched.try_collect().await.map_err(protocol)?;
            let headers = fetched.iter().filter_map(|message| message.header());
            found.extend(headers.map(|header| Message {
                name: format!("{folder}/{number}"),
                folder: Some(folder.clone()),
                header: header.to_vec(),
            }));
        }
    }
    // What was asked for is here; how the server says goodbye is its own affair.
    let _ = session.logout().await;
    Ok(found)
}

async fn sign_in(account: &Account, secret: &str) -> Result<Session<TlsStream<TcpStream>>, ImapError> {
    let stream = TcpStream::connect((account.host.as_str(), account.port)).await;
    let stream = stream.map_err(|why| account.unreachable(why))?;
    let client = match account.encryption {
        Encryption::Implicit => {
            let mut client = Client::new(account.encrypt(stream).await?);
            account.greeting(client.read_response().await)?;
            client
        }
        Encryption::StartTls => {
            let mut client = Client::new(stream);
            account.greeting(client.read_response().await)?;
            client.run_command_and_check_ok("STARTTLS", None).await.map_err(|error| account.protocol(error))?;
            // What the plain connection had buffered is left behind with it, or it could speak for the server.
            Client::new(account.encrypt(client.into_inner()).await?)
        }
    };
    let refused = |error: async_imap::error::Error| ImapError::Login {
        host: account.host.clone(),
        user: account.user.clone(),
        why: plain(&error),
    };
    match account.login {
        Login::Password => client.login(&account.user, secret).await.map_err(|(error, _)| refused(error)),
        Login::XOAuth2 => {
            let bearer = Bearer(Zeroizing::new(format!("user={}\x01auth=Bearer {secret}\x01\x01", account.user)));
            client.authenticate("XOAUTH2", bearer).await.map_err(|(error, _)| refused(error))
        }
    }
}

struct Bearer(Zeroizing<String>);

impl Authenticator for Bearer {
    type Response = String;

    fn process(&mut self, challenge: &[u8]) -> String {
        // A second challenge carries the error; an empty answer ends the exchange.
        if challenge.is_empty() { self.0.to_string() } else { String::new() }
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(..)")
    }
}

/// INBOX, and what the server marks as junk (RFC 6154), or calls by a name for it.
async fn standard(account: &Account, session: &mut Session<TlsStream<TcpStream>>) -> Result<Vec<String>, ImapError> {
    let listed = session.list(Some(""), Some("*")).await.map_err(|error| account.protocol(error))?;
    let listed: Vec<_> = listed.try_collect().await.map_err(|error| account.protocol(error))?;
    let is_marked = |name: &async_imap::types::Name| name.attributes().contains(&NameAttribute::Junk);
    let is_called =
        |name: &async_imap::types::Name| super::evidence::named_folder(name.name()) == super::evidence::Folder::Junk;
    let mut junk: Vec<String> =
        listed.iter().filter(|name| is_marked(name)).map(|name| name.name().to_owned()).collect();
    if junk.is_empty() {
        junk = listed.iter().filter(|name| is_called(name)).map(|name| name.name().to_owned()).collect();
    }
    junk.insert(0, "INBOX".to_owned());
    Ok(junk)
}

/// What a server says goes to a terminal.
fn plain(error: &async_imap::error::Error) -> String {
    harmless(&error.to_string(), 300).into_owned()
}

impl Account {
    fn unreachable(&self, why: io::Error) -> ImapError {
        ImapError::Connect { host: self.host.clone(), port: self.port, why }
    }

    fn protocol(&self, error: async_imap::error::Error) -> ImapError {
        ImapError::Protocol { host: self.host.clone(), why: plain(&error) }
    }

    fn greeting<T>(&self, read: io::Result<Option<T>>) -> Result<(), ImapError> {
        match read {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(self.unreachable(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up at once"))),
            Err(why) => Err(self.unreachable(why)),
        }
    }

    async fn encrypt(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, ImapError> {
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|why| ImapError::Certificates(format!("{}: {why}", self.host)))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &self.ca_file {
            let unreadable = |why: String| ImapError::Certificates(format!("{}: {why}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|why| unreadable(why.to_string()))? {
                let certificate = certificate.map_err(|why| unreadable(why.to_string()))?;
                roots.add(certificate).map_err(|why| unreadable(why.to_string()))?;
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| ImapError::Certificates(why.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|why| self.unreachable(why))
    }
}
