//! Passphrases: from a terminal that does not show them, or from a file that nobody else can read.

use std::io::Write as _;
use std::path::Path;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::cli::error::Error;
use crate::cli::shell::Shell;
use crate::files::read_private;

/// scrypt makes a guess take a second; that helps only where there are many guesses to make.
const SHORTEST: usize = 12;

/// A passphrase to encrypt with: typed twice.
pub fn new(shell: &Shell, file: Option<&Path>) -> Result<Zeroizing<String>, Error> {
    let typed = match file {
        Some(file) => from_file(file)?,
        None => {
            let typed = from_terminal(shell, "a new passphrase (not shown):")?;
            // Refused before it is typed once more.
            check(&typed)?;
            if *from_terminal(shell, "the same again:")? != *typed {
                return Err(Error::new("the two passphrases differ; nothing was written"));
            }
            typed
        }
    };
    check(&typed)?;
    Ok(typed)
}

/// A passphrase to decrypt with.
pub fn known(shell: &Shell, file: Option<&Path>, what: &Path) -> Result<Zeroizing<String>, Error> {
    match file {
        Some(file) => from_file(file),
        None => from_terminal(shell, &format!("the passphrase of {} (not shown):", what.display())),
    }
}

fn check(passphrase: &str) -> Result<(), Error> {
    if passphrase.trim().chars().count() < SHORTEST {
        let sentence = format!("the passphrase has fewer than {SHORTEST} characters; nothing was written");
        return Err(Error::new(sentence).hint("five or more random words are easy to write down"));
    }
    Ok(())
}

fn from_file(file: &Path) -> Result<Zeroizing<String>, Error> {
    let bytes = read_private(file)?;
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|_| Error::new(format!("{} is no text", file.display())))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn from_terminal(shell: &Shell, question: &str) -> Result<Zeroizing<String>, Error> {
    if !shell.is_interactive() {
        return Err(Error::usage("a passphrase is needed, and nobody is here to type it")
            .hint("run it on a terminal, or give --passphrase-file FILE (mode 0600)"));
    }
    let failed = |error: nix::errno::Errno| Error::new(format!("the terminal cannot be used: {error}"));
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{question} ").and_then(|()| stderr.flush());
    let _silent = Silent::new().map_err(failed)?;
    // Octet by octet: a buffered reader would keep a copy that nobody wipes.
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    let mut octet = Zeroizing::new([0; 1]);
    while line.len() < line.capacity() {
        match nix::unistd::read(std::io::stdin(), &mut *octet) {
            Ok(0) => break,
            Ok(_) if octet[0] == b'\n' => break,
            Ok(_) => line.push(octet[0]),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let text = std::str::from_utf8(&line).map_err(|_| Error::new("what was typed is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silent(Termios);

impl Silent {
    fn new() -> nix::Result<Silent> {
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        silent.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &silent)?;
        Ok(Silent(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
