use std::path::PathBuf;

use super::error::{Error, Exit};
use super::shell::Shell;
use crate::demo::{DemoError, play};
use crate::report::demo::Story;

/// Play a whole rotation here and now, with nothing installed
///
/// A zone on loopback, OpenDKIM's tables on disk, and a clock that is moved by hand: s1 signs, s2 takes over, 30 days
/// pass, s1 is retired. Everything else is the real program. Nothing outside the directory is touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl demo
  dkimctl demo --dir /tmp/demo")]
pub struct Args {
    /// Where to play; must not exist
    #[arg(long, value_name = "DIR", default_value = "dkimctl-demo")]
    dir: PathBuf,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let mut story = Story::default();
    let mut failed = None;
    let played = play(&args.dir, shell.now(), &mut |at, shown| {
        let line = story.tell(at, &shown, shell.paint);
        if let Some(line) = line.filter(|_| !shell.global.json) {
            failed = failed.take().or(shell.print(&line).err());
        }
    });
    failed.map_or(Ok(()), Err)?;
    played.map_err(|error| match &error {
        DemoError::Exists(dir) => Error::new(error.to_string()).hint(format!("rm -r {}", dir.display())),
        _ => Error::new(error.to_string()),
    })?;
    shell.show(&story.report(&args.dir))?;
    Ok(Exit::Ok)
}
