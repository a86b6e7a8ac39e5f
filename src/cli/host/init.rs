use std::path::{Path, PathBuf};

use dkimctl_state::name::Label;

use crate::cli::error::{Error, Exit};
use crate::cli::shell::Shell;
use crate::files::{Access, Dir};
use crate::host::run::receipt_key;
use crate::host::settings::HostSettings;
use crate::report::host::{SignerText, host_toml, introduce};
use crate::sealing::host_identity;
use crate::secrets::signed::VerifyKey;

/// Begin on a mail host: an age identity, the key that signs its receipts, and a commented host.toml
///
/// The secure host's public key is pinned: orders that another key signed are refused. Nothing is written over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl host init --name mail1 --manifest-key dkimctl-pk-...
  dkimctl host init --name mail1 --manifest-key dkimctl-pk-... --dir /srv/dkimctl --conf /srv/mail/opendkim.conf
  dkimctl host init --name mail1 --manifest-key dkimctl-pk-... --signer rspamd")]
pub struct Args {
    /// This host, as [signer.NAME] of the secure host has it
    #[arg(long, value_name = "NAME")]
    name: Label,
    /// The public key that `dkimctl init` printed
    #[arg(long, value_name = "KEY")]
    manifest_key: VerifyKey,
    /// Where host.toml, the identity and this host's memory go
    #[arg(long, value_name = "DIR", default_value = "/etc/dkimctl")]
    dir: PathBuf,
    /// Where the outbox arrives [default: DIR/outbox]
    #[arg(long, value_name = "DIR")]
    outbox: Option<PathBuf>,
    /// Where receipts are left [default: DIR/receipts]
    #[arg(long, value_name = "DIR")]
    receipts: Option<PathBuf>,
    /// What signs mail here
    #[arg(long, value_name = "SIGNER", default_value = "opendkim")]
    signer: Kind,
    /// Where keys are written for the signer [default: /etc/opendkim/keys, or /var/lib/rspamd/dkim/keys]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// OpenDKIM's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/opendkim.conf")]
    conf: PathBuf,
    /// Where rspamd's KeyTable and SigningTable are
    #[arg(long, value_name = "DIR", default_value = "/var/lib/rspamd/dkim/tables")]
    tables: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Opendkim,
    Rspamd,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let file = args.dir.join("host.toml");
    if file.exists() {
        let sentence = format!("{} exists, and nothing is written over", file.display());
        return Err(Error::new(sentence).hint(format!("dkimctl host apply --host {}", file.display())));
    }
    std::fs::create_dir_all(&args.dir).map_err(|error| Error::new(format!("{}: {error}", args.dir.display())))?;
    let dir = absolute(&args.dir)?;
    let signer = match args.signer {
        Kind::Opendkim => SignerText::OpenDkim { conf: &args.conf },
        Kind::Rspamd => SignerText::Rspamd { tables: &args.tables },
    };
    let text = host_toml(
        &args.name,
        &args.manifest_key,
        &args.outbox.unwrap_or_else(|| dir.join("outbox")),
        &args.receipts.unwrap_or_else(|| dir.join("receipts")),
        &args.keys.unwrap_or_else(|| signer.keys().into()),
        &signer,
    );
    // What is written must be what is read.
    let settings = HostSettings::parse(&dir.join("host.toml"), &text)?;

    let receipts = receipt_key(&settings.state)?;
    let home = Dir::open(&dir)?;
    let (identity, recipient) = host_identity();
    home.create("host.age", identity.as_bytes(), Access::mode(0o600))?;
    home.create("host.toml", text.as_bytes(), Access::mode(0o644))?;
    home.sync()?;
    shell.say(format_args!("wrote {}", dir.join("host.toml").display()));
    shell.print(&introduce(&args.name, &recipient.to_string(), &receipts.verify_key()))?;
    Ok(Exit::Ok)
}

fn absolute(dir: &Path) -> Result<PathBuf, Error> {
    dir.canonicalize().map_err(|error| Error::new(format!("{}: {error}", dir.display())))
}
