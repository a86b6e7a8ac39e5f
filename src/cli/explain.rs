use super::doctor::check_named;
use super::error::{Error, Exit};
use super::shell::Shell;
use crate::report::doctor::explain::{AllExplained, explained};

/// Say what a check of the doctor is about
///
/// What it looks at, why it matters, how the failure looks in the wild, how to mend it, how to see that it is mended.
/// Without an id, lists every check.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl explain RELAY001
  dkimctl explain")]
pub struct Args {
    /// The check
    #[arg(value_name = "ID")]
    id: Option<String>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    match args.id {
        Some(id) => shell.show(&explained(check_named(&id)?.id))?,
        None => shell.show(&AllExplained::default())?,
    }
    Ok(Exit::Ok)
}
