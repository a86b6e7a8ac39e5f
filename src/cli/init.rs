use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use dkimctl_state::name::{Label, SigningDomain};
use dkimctl_state::store::lock::{Holder, Lock};
use dkimctl_state::store::sqlite::{FILE, Options, SqliteStore};

use super::error::{Error, Exit};
use super::init_text::{configuration, next_steps};
use super::machine::options;
use super::shell::Shell;
use crate::config::Config;
use crate::config::find::NAME;
use crate::files::{Access, Dir};
use crate::secrets::signed::SigningKey;

/// Begin: write dkimctl.toml, make the state and the key that signs orders for mail hosts
///
/// Asks only what no flag says, and only on a terminal. Nothing that exists is written over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl init --domain example.com --provider zonefile --recipient age1...
  dkimctl init --domain example.com --provider rfc2136 --server ns1.example.com:53 --key-name dkimctl \\
      --secret-file /etc/dkimctl/tsig --recipients-file /etc/dkimctl/recipients")]
pub struct Args {
    /// The domains
    #[arg(long = "domain", value_name = "DOMAIN")]
    pub domains: Vec<SigningDomain>,
    /// Where their DNS is changed: cloudflare, route53, powerdns, rfc2136, zonefile, manual or memory
    #[arg(long, value_name = "TYPE")]
    pub provider: Option<String>,
    /// rfc2136: the primary server
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// rfc2136: the name of the TSIG key
    #[arg(long, value_name = "NAME")]
    pub key_name: Option<String>,
    /// rfc2136: the file with the TSIG secret, mode 0600
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// To whom private keys are sealed: age1..., ssh-ed25519 ...
    #[arg(long = "recipient", value_name = "RECIPIENT")]
    pub recipients: Vec<String>,
    /// The same, from a file
    #[arg(long = "recipients-file", value_name = "FILE")]
    pub recipients_files: Vec<PathBuf>,
    /// The mail host that signs
    #[arg(long, value_name = "NAME", default_value = "mail")]
    pub signer: Label,
    /// The directory of configuration and state [default: this one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Ask nothing
    #[arg(long)]
    pub no_input: bool,
}

pub fn run(shell: &Shell, mut args: Args) -> Result<Exit, Error> {
    let file = shell.global.config.clone().unwrap_or_else(|| args.dir.clone().unwrap_or_default().join(NAME));
    if file.exists() {
        let sentence = format!("{} exists, and nothing is written over", file.display());
        return Err(Error::new(sentence).hint("dkimctl status, or init --dir DIR elsewhere"));
    }
    complete(shell, &mut args)?;
    let text = configuration(&args);
    // What is written must be what is read.
    let config = Config::parse(&file, &text)?;
    let here = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(here)?;

    let key = begin(shell, &config)?;
    write_new(&file, &text)?;

    shell.say(format_args!("wrote {}", file.display()));
    shell.say(format_args!("made  {} (mode 0700)", config.state.display()));
    if !shell.global.quiet {
        shell.print(&next_steps(&args, &config, &key.verify_key()))?;
    }
    Ok(Exit::Ok)
}

/// Makes the state, the places that it works with, and the key that signs its orders. Whatever is there is kept.
pub(super) fn begin(shell: &Shell, config: &Config) -> Result<SigningKey, Error> {
    Dir::open_own(&config.state, Access::mode(0o700))?;
    let lock = Lock::take(&config.state, &Holder::here("dkimctl init", shell.now()))?;
    if config.state.join(FILE).exists() {
        shell.say(format_args!("{} holds a state already; it is kept", config.state.display()));
    } else {
        SqliteStore::create(&config.state, uuid::Uuid::new_v4(), &options(shell, Options::read_write()))?;
    }
    drop(lock);
    for signer in config.signers.values() {
        make(&signer.outbox)?;
        make(&signer.receipts)?;
    }
    for file in config.providers.values().flat_map(|provider| provider.files()).filter_map(|(_, file)| file.parent()) {
        make(file)?;
    }
    Ok(SigningKey::open_or_create(&config.secrets.manifest_key)?)
}

/// Asks for what is missing, if somebody is there.
fn complete(shell: &Shell, args: &mut Args) -> Result<(), Error> {
    let ask = |question| match args.no_input || !shell.is_interactive() {
        true => Ok(None),
        false => shell.ask(question).map(|answer| Some(answer).filter(|answer| !answer.is_empty())),
    };
    let domain = if args.domains.is_empty() { ask("which domain? (example.com)")? } else { None };
    let provider = match args.provider {
        Some(_) => None,
        None => ask("how is its DNS changed? (cloudflare, route53, powerdns, rfc2136, zonefile, manual) [zonefile]")?,
    };
    if let Some(domain) = domain {
        let domain = domain.parse().map_err(|error: dkimctl_state::name::NameError| Error::usage(error.to_string()))?;
        args.domains.push(domain);
    }
    if args.domains.is_empty() {
        return Err(Error::usage("which domain is not said").hint("dkimctl init --domain example.com"));
    }
    args.provider = args.provider.take().or(provider).or(Some("zonefile".to_owned()));
    Ok(())
}

fn make(dir: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(dir).map_err(|error| Error::new(format!("{}: {error}", dir.display())))
}

fn write_new(file: &Path, text: &str) -> Result<(), Error> {
    let fault = |error: std::io::Error| Error::new(format!("{}: {error}", file.display()));
    let mut written = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(file).map_err(fault)?;
    written.write_all(text.as_bytes()).and_then(|()| written.sync_all()).map_err(fault)
}
