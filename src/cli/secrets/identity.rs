use std::path::{Path, PathBuf};

use serde::Serialize;

use super::passphrase;
use crate::cli::error::{Error, Exit};
use crate::cli::shell::Shell;
use crate::files::{Access, Dir, split};
use crate::report::{Paint, Report};
use crate::sealing::{break_glass_identity, host_identity};

/// Make an identity that opens sealed keys, and print its recipient
///
/// One for each mail host or CI environment, made where it is used, and one for the day when all others are lost: with
/// --break-glass it is encrypted with a passphrase and belongs on paper or a stick, not on this machine. The recipient
/// is public; it goes into `recipients` of dkimctl.toml. No file is written over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl secrets identity --out /etc/dkimctl/host.identity
  dkimctl secrets identity --out /media/stick/break-glass.age --break-glass")]
pub struct Args {
    /// The new file, mode 0600
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Encrypt it with a passphrase, which is asked for twice
    #[arg(long)]
    break_glass: bool,
    /// Read the passphrase from the first line of this file, mode 0600
    #[arg(long, value_name = "FILE", requires = "break_glass")]
    passphrase_file: Option<PathBuf>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let (parent, name) = split(&args.out)?;
    let dir = Dir::open(parent)?;
    if args.out.symlink_metadata().is_ok() {
        // Before anybody thinks of a passphrase.
        return Err(crate::files::FileError::Exists { path: args.out }.into());
    }
    let recipient = if args.break_glass {
        let passphrase = passphrase::new(shell, args.passphrase_file.as_deref())?;
        let (sealed, recipient) = break_glass_identity(&passphrase);
        dir.create(name, &sealed, Access::mode(0o600))?;
        recipient
    } else {
        let (text, recipient) = host_identity();
        dir.create(name, text.as_bytes(), Access::mode(0o600))?;
        recipient
    };
    dir.sync()?;
    shell.show(&Made { recipient: recipient.to_string(), path: &args.out })?;
    shell.say(format_args!(
        "wrote {}; next: add the recipient to [secrets] recipients in dkimctl.toml, then",
        args.out.display()
    ));
    shell.say("dkimctl secrets rewrap seals the keys that exist to it");
    Ok(Exit::Ok)
}

#[derive(Debug, Serialize)]
struct Made<'a> {
    recipient: String,
    path: &'a Path,
}

impl Report for Made<'_> {
    fn text(&self, _: Paint) -> String {
        format!("{}\n", self.recipient)
    }
}
