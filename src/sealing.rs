//! Sealing keys with age (age-encryption.org/v1): to whom, by whom opened, and the break-glass identity.
//!
//! age hides what is sealed; it does not say who sealed it. Whoever opens a blob therefore compares the public half of
//! what came out with a signed document, always.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::str::FromStr;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::{ExposeSecret as _, SecretString};
use age::{DecryptError, Decryptor, Encryptor};
use zeroize::Zeroizing;

use crate::files::{FileError, read_private};
use crate::keygen::{KeyError, PrivateKey};

/// scrypt's work factor for a break-glass identity, as a power of two: a second or so on today's machines. It is always
/// set, because measuring the machine takes longer than the work itself.
pub const WORK_FACTOR: u8 = 18;

/// The largest work factor that is tried on opening: more is an attack on our memory (2^22 takes 4 GiB).
const MAX_WORK_FACTOR: u8 = 22;

/// Somebody to whom keys are sealed: `age1...`, `ssh-ed25519 ...` or `ssh-rsa ...`.
#[derive(Clone)]
pub enum Recipient {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// Why a text is no recipient. Carries no more of the text than its kind, lest somebody pasted the secret half.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    #[error(
        "that is an age identity, the secret half; it must not be written here: give its recipient (age-keygen -y FILE), and treat the identity as exposed"
    )]
    IsSecret,
    #[error(
        "it is for an age plugin (`{0}...`), which would be an external program with the key in its hands; give an age1, ssh-ed25519 or ssh-rsa recipient"
    )]
    Plugin(String),
    #[error("an `{0}` key cannot open age files; give an age1, ssh-ed25519 or ssh-rsa recipient")]
    SshKind(String),
    #[error("its RSA key is shorter than 2048 or longer than 4096 bits; give an age1 or ssh-ed25519 recipient")]
    SshSize,
    #[error("it is no recipient, so nothing could be sealed to it; write an age1, ssh-ed25519 or ssh-rsa recipient")]
    Unknown,
    #[error("line {line}: {why}")]
    Line { line: usize, why: Box<RecipientError> },
    #[error("there is no recipient in it, and a key sealed to nobody is lost; write one recipient a line")]
    Empty,
}

/// What opens sealed keys.
pub struct Identities {
    held: Vec<Box<dyn age::Identity + Send + Sync>>,
    /// Where they came from, for messages.
    from: String,
}

/// Why an identity or a blob could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "{path} is open to others (mode {mode:04o}), so the identity in it may be no secret any more; chmod go= {path}, and replace it if anybody else uses this machine"
    )]
    OpenToOthers { path: String, mode: u32 },
    #[error("{0} holds no identity; give a file made by age-keygen, or an OpenSSH private key")]
    NoIdentity(String),
    #[error(
        "{0} is encrypted with a passphrase, and nobody is here to be asked; use an identity without one here, or run the command that asks (secrets rewrap)"
    )]
    Encrypted(String),
    #[error("{0} is an SSH key of a kind that age cannot use; give an Ed25519 or RSA key, or an age identity")]
    SshKind(String),
    #[error("the passphrase does not open {0}; try again")]
    Passphrase(String),
    #[error(
        "{0} asks for more scrypt work than 2^{MAX_WORK_FACTOR}, which would fill the memory; it was not made by this program"
    )]
    Work(String),
    #[error(
        "the blob is not sealed to the identity in {0}, so it cannot be opened with it; give the identity of one of its recipients, or seal it again (secrets rewrap)"
    )]
    NotForUs(String),
    #[error("the blob is cut short or was changed, so nothing of it was used; copy it again from the secure host")]
    Damaged,
    #[error("the blob is no age file; copy it again from the secure host")]
    NotAge,
    #[error("the blob opens, but {0}")]
    Key(#[from] KeyError),
}

/// Reads recipients, one a line; blank lines and `#` comments are skipped, as age and authorized_keys do.
pub fn recipients_in(text: &str) -> Result<Vec<Recipient>, RecipientError> {
    let mut found = Vec::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if !line.is_empty() && !line.starts_with('#') {
            let recipient = line.parse().map_err(|why| RecipientError::Line { line: index + 1, why: Box::new(why) })?;
            found.push(recipient);
        }
    }
    if found.is_empty() { Err(RecipientError::Empty) } else { Ok(found) }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Self, RecipientError> {
        let text = text.trim();
        let lower = text.get(..16).unwrap_or(text).to_ascii_lowercase();
        if lower.starts_with("age-secret-key-") || lower.starts_with("age-plugin-") || lower.starts_with("-----begin") {
            return Err(RecipientError::IsSecret);
        }
        if let Ok(recipient) = text.parse() {
            return Ok(Recipient::X25519(recipient));
        }
        // Plugins and hybrid recipients write `age1name1...`; a native one has no second `1` so early.
        if let Some((name, _)) = lower.strip_prefix("age1").and_then(|rest| rest.split_once('1')) {
            return Err(RecipientError::Plugin(format!("age1{name}")));
        }
        use age::ssh::ParseRecipientKeyError as Ssh;
        match text.parse() {
            Ok(recipient) => Ok(Recipient::Ssh(recipient)),
            Err(Ssh::Unsupported(kind)) => Err(RecipientError::SshKind(kind)),
            Err(Ssh::RsaModulusTooLarge | Ssh::RsaModulusTooSmall) => Err(RecipientError::SshSize),
            Err(_) => Err(RecipientError::Unknown),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recipient::X25519(recipient) => recipient.fmt(f),
            Recipient::Ssh(recipient) => recipient.fmt(f),
        }
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Recipient {}

/// Seals a key to all recipients at once: any one of them opens it. `None` without recipients: a blob that nobody can
/// open is a lost key.
pub fn seal(key: &PrivateKey, recipients: &[Recipient]) -> Option<Vec<u8>> {
    let each = recipients.iter().map(|recipient| match recipient {
        Recipient::X25519(recipient) => recipient as &dyn age::Recipient,
        Recipient::Ssh(recipient) => recipient,
    });
    let encryptor = Encryptor::with_recipients(each).ok()?;
    Some(encrypt(encryptor, key.pem().as_bytes()).expect("memory takes every write"))
}

/// Opens a blob. The caller compares what comes out with what it expects: age does not say who sealed it.
pub fn open(blob: &[u8], identities: &Identities) -> Result<PrivateKey, OpenError> {
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(blob)).map_err(|e| match e {
        // A header that ends early reads like an end of file.
        DecryptError::Io(_) if blob.starts_with(b"age-encryption.org/v1") => OpenError::Damaged,
        DecryptError::Io(_) | DecryptError::UnknownFormat => OpenError::NotAge,
        DecryptError::InvalidHeader if !blob.starts_with(b"age-encryption.org/") => OpenError::NotAge,
        _ => OpenError::Damaged,
    })?;
    let held = identities.held.iter().map(|identity| &**identity as &dyn age::Identity);
    let mut plain = Zeroizing::new(Vec::with_capacity(blob.len()));
    decryptor
        .decrypt(held)
        .map_err(|e| match e {
            DecryptError::NoMatchingKeys => OpenError::NotForUs(identities.from.clone()),
            _ => OpenError::Damaged,
        })?
        .read_to_end(&mut plain)
        .map_err(|_| OpenError::Damaged)?;
    Ok(PrivateKey::from_pem(&*plain)?)
}

impl Identities {
    /// Reads a file made by `age-keygen`, or an unencrypted OpenSSH private key. A file that others can read or change
    /// is refused; a pipe or a file descriptor (`/dev/fd/3`) is taken as it is.
    pub fn from_file(path: &Path) -> Result<Identities, OpenError> {
        Identities::from_text(&path.display().to_string(), &read_private(path)?)
    }

    /// The same for an identity file encrypted with a passphrase, as [`break_glass_identity`] makes it.
    pub fn from_encrypted_file(path: &Path, passphrase: &str) -> Result<Identities, OpenError> {
        Identities::from_encrypted(&path.display().to_string(), &read_private(path)?, passphrase)
    }

    /// Reads identities from memory; `from` names their origin in messages.
    pub fn from_text(from: &str, text: &[u8]) -> Result<Identities, OpenError> {
        let none = || OpenError::NoIdentity(from.to_owned());
        if is_age_file(text) {
            return Err(OpenError::Encrypted(from.to_owned()));
        }
        let held: Vec<Box<dyn age::Identity + Send + Sync>> = if text.trim_ascii_start().starts_with(b"-----BEGIN") {
            match age::ssh::Identity::from_buffer(text.trim_ascii_start(), None).map_err(|_| none())? {
                age::ssh::Identity::Unencrypted(key) => vec![Box::new(age::ssh::Identity::from(key))],
                age::ssh::Identity::Encrypted(_) => return Err(OpenError::Encrypted(from.to_owned())),
                age::ssh::Identity::Unsupported(_) => return Err(OpenError::SshKind(from.to_owned())),
            }
        } else {
            age::IdentityFile::from_buffer(text)
                .and_then(|file| file.into_identities().map_err(std::io::Error::other))
                .map_err(|_| none())?
        };
        if held.is_empty() { Err(none()) } else { Ok(Identities { held, from: from.to_owned() }) }
    }

    /// Reads identities that are encrypted with a passphrase from memory.
    pub fn from_encrypted(from: &str, bytes: &[u8], passphrase: &str) -> Result<Identities, OpenError> {
        let decryptor = Decryptor::new_buffered(ArmoredReader::new(bytes)).map_err(|_| OpenError::Damaged)?;
        if !decryptor.is_scrypt() {
            return Err(OpenError::NoIdentity(from.to_owned()));
        }
        let mut scrypt = age::scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
        scrypt.set_max_work_factor(MAX_WORK_FACTOR);
        let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
        decryptor
            .decrypt(std::iter::once(&scrypt as &dyn age::Identity))
            .map_err(|e| match e {
                DecryptError::ExcessiveWork { .. } => OpenError::Work(from.to_owned()),
                DecryptError::DecryptionFailed | DecryptError::NoMatchingKeys => OpenError::Passphrase(from.to_owned()),
                _ => OpenError::Damaged,
            })?
            .read_to_end(&mut plain)
            .map_err(|_| OpenError::Damaged)?;
        Identities::from_text(from, &plain)
    }
}

/// A new age identity, encrypted with a passphrase, to be kept offline for the day when all others are lost, and the
/// recipient to seal to. (age mixes no passphrase with recipients in one file, so the passphrase guards the identity.)
pub fn break_glass_identity(passphrase: &str) -> (Vec<u8>, Recipient) {
    break_glass_identity_with(passphrase, WORK_FACTOR)
}

/// The same with another work factor (a power of two): tests take 10.
pub fn break_glass_identity_with(passphrase: &str, work_factor: u8) -> (Vec<u8>, Recipient) {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public();
    let mut scrypt = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
    scrypt.set_work_factor(work_factor);
    let encryptor = Encryptor::with_recipients(std::iter::once(&scrypt as &dyn age::Recipient))
        .expect("one recipient mixes with none");
    let text = Zeroizing::new(format!("# public key: {recipient}\n{}\n", identity.to_string().expose_secret()));
    let sealed = encrypt_armored(encryptor, text.as_bytes()).expect("memory takes every write");
    (sealed, Recipient::X25519(recipient))
}

/// A new identity without a passphrase, as the text of its file, for a host's or a CI's own use, and its recipient.
pub fn host_identity() -> (Zeroizing<String>, Recipient) {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public();
    let text = Zeroizing::new(format!("# public key: {recipient}\n{}\n", identity.to_string().expose_secret()));
    (text, Recipient::X25519(recipient))
}

/// The recipient that the first X25519 identity of a file stands for.
pub fn recipient_of(identity: &str) -> Option<Recipient> {
    let identities = identity.lines().filter_map(|line| line.trim().parse::<age::x25519::Identity>().ok());
    identities.map(|identity| Recipient::X25519(identity.to_public())).next()
}

fn encrypt(encryptor: Encryptor, plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut sealed = Vec::new();
    let mut writer = encryptor.wrap_output(&mut sealed)?;
    writer.write_all(plain)?;
    writer.finish()?;
    Ok(sealed)
}

fn encrypt_armored(encryptor: Encryptor, plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?)?;
    writer.write_all(plain)?;
    writer.finish()?.finish()
}

fn is_age_file(text: &[u8]) -> bool {
    text.starts_with(b"age-encryption.org/") || text.trim_ascii_start().starts_with(b"-----BEGIN AGE ENCRYPTED FILE")
}

#[cfg(test)]
#[path = "sealing_tests.rs"]
mod tests;
