use std::path::{Path, PathBuf};

use dkimctl_state::name::{Fqdn, Label, SigningDomain};
use dkimctl_state::store::sqlite;

use crate::cli::error::{Error, Exit};
use crate::cli::init;
use crate::cli::shell::Shell;
use crate::config::Config;
use crate::files::{Access, Dir, FileError, read_private};
use crate::host::run::RECEIPT_KEY;
use crate::report::stack::{self as words, Written};
use crate::sealing::{host_identity, recipient_of};
use crate::secrets::signed::{SigningKey, VerifyKey};
use crate::stack::files::files;
use crate::stack::place::{compare, directories, keys_are_the_signers};
use crate::stack::relay::Relay;
use crate::stack::signs::Signs;
use crate::stack::subnet::Subnet;
use crate::stack::{Choices, Introduced};

/// Write a mail host as a Compose stack: image, configuration, both sides of dkimctl, timers, DNS records
///
/// Nothing that exists is written over: a file that differs is named, and then nothing is written at all. Run again with
/// the same words it writes what is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl stack init /srv/mail --domain example.com
  dkimctl stack init /srv/mail --domain example.com --hostname out.example.com --relay ses
  dkimctl stack init /srv/mail --domain example.com --signer rspamd
  dkimctl stack init /srv/mail --domain example.com --diff          what would differ, and nothing else

Exit codes:
  0 written, or nothing to do   1 a file differs   5 --diff: there is a difference")]
pub struct Args {
    /// The directory of the stack
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The domain in From
    #[arg(long, value_name = "DOMAIN")]
    domain: SigningDomain,
    /// The full name of the mail host, which its reverse name repeats [default: mail.DOMAIN]
    #[arg(long, value_name = "NAME")]
    hostname: Option<Fqdn>,
    /// Who carries the mail on
    #[arg(long, value_name = "RELAY", value_enum, default_value = "none")]
    relay: Relay,
    /// What signs
    #[arg(long, value_name = "SIGNER", value_enum, default_value = "opendkim")]
    signer: Signs,
    /// The applications' network, exactly
    #[arg(long, value_name = "NETWORK", default_value = "172.30.25.0/28")]
    subnet: Subnet,
    /// The mail host, as [signer.NAME] of the secure host has it
    #[arg(long, value_name = "NAME", default_value = "mail")]
    name: Label,
    /// The key of a secure host that exists: its side is not written here
    #[arg(long, value_name = "KEY")]
    manifest_key: Option<VerifyKey>,
    /// Print the differences as a patch, and write nothing
    #[arg(long)]
    diff: bool,
}

const SECURE_CONFIG: &str = "secure/dkimctl.toml";

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let dir = absolute(&args.dir)?;
    let keys = Keys::find_or_make(&dir, args.manifest_key.clone())?;
    let files = files(&choices(&args, &dir, &keys)?);
    let dns = files.iter().find(|file| file.path == "dns.txt").map(|file| file.text.clone()).unwrap_or_default();
    let compared = compare(&dir, files)?;
    if args.diff {
        shell.print(&compared.diff())?;
        let differs = !compared.missing.is_empty() || !compared.differs.is_empty();
        return Ok(if differs { Exit::Pending } else { Exit::Ok });
    }
    if !compared.differs.is_empty() {
        let names: Vec<&str> = compared.differs.iter().map(|(file, _)| file.path).collect();
        return Err(Error::new(words::differs(&args.dir, &names)).hint(words::DIFFERS_HINT));
    }
    directories(&dir, args.signer)?;
    keys.keep(&dir)?;
    first_password(&dir)?;
    let written = compared.write(&dir)?;
    if args.manifest_key.is_none() && !dir.join("secure/state").join(sqlite::FILE).exists() {
        init::begin(shell, &Config::load(&dir.join(SECURE_CONFIG))?)?;
    }
    let needs_relay = args.relay.facts().filter(|_| !dir.join("secrets/relay").exists()).map(|relay| relay.name);
    shell.show(&Written {
        keys_are_the_signers: keys_are_the_signers(&dir, args.signer),
        keys: args.signer.keys(),
        dir: args.dir,
        domain: args.domain,
        written,
        same: compared.same,
        needs_relay,
        dns,
    })?;
    Ok(Exit::Ok)
}

fn choices(args: &Args, dir: &Path, keys: &Keys) -> Result<Choices, Error> {
    let hostname = match &args.hostname {
        Some(name) => name.clone(),
        None => args.domain.as_fqdn().child("mail").map_err(|error| Error::usage(error.to_string()))?,
    };
    if hostname.labels().count() < 2 {
        return Err(Error::usage(words::short_name(&hostname)));
    }
    // The path stands in systemd units and in crontabs, which have quoting rules of their own, and that of the socket
    // below it has to fit into an address (unix(7): 108 octets).
    let text = dir.to_str().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !text.chars().all(plain) || text.is_empty() || text.len() > 80 {
        return Err(Error::usage(words::odd_path(dir)));
    }
    Ok(Choices {
        domain: args.domain.clone(),
        hostname,
        relay: args.relay,
        signs: args.signer,
        subnet: args.subnet,
        signer: args.name.clone(),
        dir: text.to_owned(),
        keys: Introduced {
            manifest: keys.manifest_key(),
            receipts: keys.receipts.verify_key(),
            recipient: keys.recipient.clone(),
            secure_here: args.manifest_key.is_none(),
        },
    })
}

/// The absolute path of a directory that need not be there yet.
fn absolute(dir: &Path) -> Result<PathBuf, Error> {
    let failed = |error: std::io::Error| Error::new(format!("{}: {error}", dir.display()));
    match dir.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::path::absolute(dir).map_err(failed),
        found => found.map_err(failed),
    }
}

/// The keys by which the two hosts know each other: those that are there, or new ones that nobody has seen yet.
struct Keys {
    manifest: Manifest,
    receipts: SigningKey,
    identity: Option<zeroize::Zeroizing<String>>,
    recipient: String,
}

enum Manifest {
    /// The secure host is elsewhere.
    Pinned(VerifyKey),
    Here(SigningKey),
}

const MANIFEST_KEY: &str = "secure/state/manifest.key";
const IDENTITY: &str = "host/host.age";

impl Keys {
    fn find_or_make(dir: &Path, pinned: Option<VerifyKey>) -> Result<Keys, Error> {
        let found = |path: PathBuf| match path.exists() {
            true => SigningKey::open_or_create(&path).map_err(Error::from),
            false => Ok(SigningKey::generate()),
        };
        let manifest = match pinned {
            Some(key) => Manifest::Pinned(key),
            None => Manifest::Here(found(dir.join(MANIFEST_KEY))?),
        };
        let receipts = found(dir.join("host/state").join(RECEIPT_KEY))?;
        let file = dir.join(IDENTITY);
        let (identity, recipient) = if file.exists() {
            let text = read_private(&file)?;
            let recipient = std::str::from_utf8(&text).ok().and_then(recipient_of);
            (None, recipient.ok_or_else(|| Error::new(words::no_identity(&file)))?.to_string())
        } else {
            let (identity, recipient) = host_identity();
            (Some(identity), recipient.to_string())
        };
        Ok(Keys { manifest, receipts, identity, recipient })
    }

    fn manifest_key(&self) -> VerifyKey {
        match &self.manifest {
            Manifest::Pinned(key) => key.clone(),
            Manifest::Here(key) => key.verify_key(),
        }
    }

    /// Writes those that are new.
    fn keep(&self, dir: &Path) -> Result<(), Error> {
        let own = Access::mode(0o700);
        let state = Dir::open_own(&dir.join("host/state"), own)?;
        let keep_new = |home: &Dir, name: &str, text: &str| match home.open_file(name)? {
            Some(_) => Ok(()),
            None => home.create(name, text.as_bytes(), Access::mode(0o600)),
        };
        keep_new(&state, RECEIPT_KEY, &self.receipts.pem())?;
        if let Some(identity) = &self.identity {
            keep_new(&Dir::open(&dir.join("host"))?, "host.age", identity)?;
        }
        if let Manifest::Here(key) = &self.manifest {
            let secure = Dir::open_own(&dir.join("secure"), Access::mode(0o755))?;
            keep_new(&secure.child("state", own)?, "manifest.key", &key.pem())?;
        }
        Ok(())
    }
}

/// A password for the first application, which nobody had to think of.
fn first_password(dir: &Path) -> Result<(), FileError> {
    let secrets = Dir::open_own(&dir.join("secrets"), Access::mode(0o700))?;
    if secrets.open_file("submission")?.is_some() {
        return Ok(());
    }
    let random: String = uuid::Uuid::new_v4().simple().to_string();
    secrets.create("submission", format!("app:{random}\n").as_bytes(), Access::mode(0o600))
}
