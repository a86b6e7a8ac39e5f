use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use dkimctl_state::lifecycle::seen::Sweep;
use dkimctl_state::name::{Fqdn, SigningDomain};

use crate::cli::error::{Error, Exit};
use crate::cli::machine::sweeper;
use crate::cli::shell::Shell;
use crate::config::Observe;
use crate::files::{Access, Owner};
use crate::report::secrets::{Verified, WriteReport};
use crate::sealing::Identities;
use crate::secrets::manifest::{KeyOrder, Manifest};
use crate::secrets::outbox::{MANIFEST, Outbox};
use crate::secrets::signed::VerifyKey;
use crate::secrets::write::{InDns, Target, in_dns, write};

/// Write the private keys of an outbox for a signer, in CI or on a mail host
///
/// Needs no configuration, no state and no DNS rights: the outbox and an identity that opens its blobs. The public half
/// of every key is derived from what was decrypted and compared with the manifest. A key has a path of its own,
/// DIR/<domain>/<selector>-<id>.private, and no file is ever written over, so twice is once.
///
/// age does not say who sealed a blob; the manifest's signature does. Without --verify-key anybody who can write to the
/// outbox could name a key of his own: then DNS has to show every key (--check-dns), or --unverified says that the
/// outbox itself is trusted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl secrets write --manifest outbox --identity ci.key --to keys --owner 110:115 \\
      --verify-key dkimctl-pk-...
  dkimctl secrets write --manifest outbox --identity <(printf %s \"$AGE_IDENTITY\") --to keys \\
      --verify-key dkimctl-pk-... --check-dns --json > receipt.json

Exit codes:
  0 every key is there   1 at least one was refused, and why stands in the receipt")]
pub struct Args {
    /// The outbox, or the manifest.signed in it
    #[arg(long, value_name = "PATH")]
    manifest: PathBuf,
    /// The age identity or OpenSSH key that opens the blobs, without a passphrase, mode 0600
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// The directory of the keys; made if missing
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Whose the keys are to be, in numbers, as the signer's container knows them [default: who runs this]
    #[arg(long, value_name = "UID:GID")]
    owner: Option<Owner>,
    /// The mode of each key: 0400, 0600, 0440 or 0640
    #[arg(long, value_name = "MODE", default_value = "0400", value_parser = mode)]
    mode: u32,
    /// The key that has to have signed the manifest, as `dkimctl init` printed it
    #[arg(long, value_name = "KEY")]
    verify_key: Option<VerifyKey>,
    /// Compare every key with what all authoritative name servers show
    #[arg(long)]
    check_dns: bool,
    /// Ask these servers instead of those that the delegation names
    #[arg(long = "nameserver", value_name = "HOST:PORT", requires = "check_dns", value_parser = nameserver)]
    nameservers: Vec<SocketAddr>,
    /// Trust the outbox as it is, whoever wrote it
    #[arg(long, conflicts_with = "verify_key")]
    unverified: bool,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let dir = outbox(&args.manifest)?;
    let (outbox, verified) = match &args.verify_key {
        Some(pinned) => (Outbox::open_signed(dir, pinned)?, Verified::Signature),
        None if args.check_dns => (Outbox::open_unverified(dir)?, Verified::Dns),
        None if args.unverified => (Outbox::open_unverified(dir)?, Verified::Nothing),
        None => {
            return Err(Error::usage("who signed the manifest is not known, and age does not say who sealed a key")
                .hint("add --verify-key dkimctl-pk-..., which `dkimctl init` printed on the secure host")
                .hint("or --check-dns, which compares every key with DNS, or --unverified if the outbox is trusted"));
        }
    };
    if verified != Verified::Signature {
        shell.warn("no --verify-key: the signature of the manifest is not pinned, so whoever can write to the outbox gives the orders");
    }
    let identities = Identities::from_file(&args.identity)?;
    let target = Target { dir: args.to.clone(), access: Access { mode: args.mode, owner: args.owner } };
    let seen = if args.check_dns { sweep(shell, &outbox.manifest, args.nameservers) } else { BTreeMap::new() };
    let compare = |domain: &SigningDomain, key: &KeyOrder| in_dns(key, seen.get(&key.selector.record_name(domain)));
    let written = write(&outbox, &identities, &target, args.check_dns.then_some(&compare as InDns<'_>))?;

    let report = WriteReport::new(&outbox.manifest, verified, written);
    shell.show(&report)?;
    if report.keys.is_empty() {
        shell.say(format_args!("the manifest for {} names no key yet", report.host));
    }
    Ok(if report.is_complete() { Exit::Ok } else { Exit::Failed })
}

/// The directory of an outbox that is named by itself or by its manifest.
fn outbox(path: &Path) -> Result<&Path, Error> {
    if path.is_dir() {
        return Ok(path);
    }
    if path.file_name().is_some_and(|name| name == MANIFEST) {
        return Ok(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    }
    let sentence = format!("{} is neither an outbox nor the {MANIFEST} in one", path.display());
    Err(Error::usage(sentence).hint("give the directory that holds it and blobs/, as the secure host wrote it"))
}

/// Asks for every key's record at once.
fn sweep(shell: &Shell, manifest: &Manifest, nameservers: Vec<SocketAddr>) -> BTreeMap<Fqdn, Sweep> {
    let observe = Observe { nameservers, ipv4: true, ipv6: true, ..Observe::default() };
    let names: Vec<Fqdn> = manifest.keys().map(|(order, key)| key.selector.record_name(&order.domain)).collect();
    if names.is_empty() {
        return BTreeMap::new();
    }
    let sweeps = sweeper(&observe).sweep(&names, shell.now());
    names.into_iter().zip(sweeps).collect()
}

fn mode(text: &str) -> Result<u32, String> {
    match text.trim_start_matches("0o").trim_start_matches('0') {
        "400" => Ok(0o400),
        "600" => Ok(0o600),
        "440" => Ok(0o440),
        "640" => Ok(0o640),
        _ => Err("signers refuse keys that others could read or change; write 0400, 0600, 0440 or 0640".to_owned()),
    }
}

fn nameserver(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, 53));
    }
    let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| format!("`{text}` is no server; write 192.0.2.1:53 or ns1.example.com:53"))
}
