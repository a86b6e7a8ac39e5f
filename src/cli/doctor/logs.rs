use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{Error, Exit, Shell};
use crate::doctor::logs;
use crate::report::doctor::logs::LogsReport;

/// Count what other servers answer, by code, and say which check looks at the cause
///
/// Reads Postfix's log of deliveries. The codes of Gmail, Microsoft and Yahoo for missing reverse names, SPF, DKIM,
/// DMARC, TLS, block lists and rates are known; every other code is counted too. Ends with 3 if a reply has a cause that
/// a check looks at, with 4 if there is no delivery in what was read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl doctor logs /var/log/mail.log
  dkimctl doctor logs /var/log/mail.log.*.gz --json
  docker logs mail 2>&1 | dkimctl doctor logs -")]
pub struct Args {
    /// Logs, packed by gzip or not; - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let mut inputs = Vec::new();
    for path in &args.files {
        inputs.push((path.as_path(), open(path)?));
    }
    let mut failed = None;
    let logs =
        logs::read(inputs.into_iter().flat_map(|(path, input)| Lines { path, input }).map_while(|line| match line {
            Ok(line) => Some(line),
            Err(error) => {
                failed = Some(error);
                None
            }
        }));
    if let Some(error) = failed {
        return Err(error);
    }
    let exit = match () {
        () if logs.explained().next().is_some() => Exit::ChecksFailed,
        () if logs.sent == 0 && logs.rows.is_empty() && logs.without_code == 0 => Exit::NotChecked,
        () => Exit::Ok,
    };
    if exit == Exit::NotChecked {
        shell.warn("no line tells of a delivery, so nothing is known; is this Postfix's log?");
    }
    shell.show(&LogsReport { logs })?;
    Ok(exit)
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let unreadable = |error: io::Error| Error::new(format!("{}: it cannot be read: {error}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let is_gzip = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_gzip { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) })
}

struct Lines<'p> {
    path: &'p Path,
    input: Box<dyn BufRead>,
}

/// Octets of one line; Postfix's own are much shorter.
const LONGEST: u64 = 64 << 10;

impl Iterator for Lines<'_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.input.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(Ok(String::from_utf8_lossy(&line).trim_end().to_owned())),
            Err(error) => {
                Some(Err(Error::new(format!("{}: it cannot be read to its end: {error}", self.path.display()))))
            }
        }
    }
}
