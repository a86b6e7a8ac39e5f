//! The octets of one report, on their way to the XML parser: counted, and made UTF-8.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use super::limits;

/// Hands out valid UTF-8, and stops at the limits. What was neither UTF-8 nor UTF-16 is read as Latin-1: every octet
/// is a character then, and nothing that decides anything lies outside ASCII.
pub struct Source<R> {
    inner: R,
    encoding: Option<Encoding>,
    /// What was read and waits for more: the first `kept` octets.
    raw: Box<[u8]>,
    kept: usize,
    clean: Vec<u8>,
    at: usize,
    read: u64,
    ended: bool,
    /// Octets since the parser finished a token.
    token: Rc<Cell<usize>>,
    pub repaired: Rc<Cell<bool>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16 { big: bool },
}

/// The reader said stop; told apart from what the disk says by its text.
pub const TOO_LARGE: &str = "the report is larger than 64 MiB";
pub const TOKEN_TOO_LARGE: &str = "one element of the report is larger than 1 MiB";

const CHUNK: usize = 16 << 10;

impl<R: Read> Source<R> {
    pub fn new(inner: R) -> Self {
        Source {
            inner,
            encoding: None,
            raw: vec![0; CHUNK + 8].into_boxed_slice(),
            kept: 0,
            clean: Vec::with_capacity(CHUNK + 8),
            at: 0,
            read: 0,
            ended: false,
            token: Rc::default(),
            repaired: Rc::default(),
        }
    }

    /// To be set to zero after every token.
    pub fn token(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.token)
    }

    fn refill(&mut self) -> io::Result<()> {
        self.clean.clear();
        self.at = 0;
        while self.clean.is_empty() && !self.ended {
            let n = loop {
                match self.inner.read(&mut self.raw[self.kept..self.kept + CHUNK]) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
            self.kept += n;
            self.ended = n == 0;
            self.read += n as u64;
            if self.read > limits::XML {
                return Err(io::Error::other(TOO_LARGE));
            }
            if self.encoding.is_none() {
                if self.kept < 4 && !self.ended {
                    continue;
                }
                self.encoding = Some(self.recognize());
            }
            match self.encoding {
                Some(Encoding::Utf16 { big }) => self.take_utf16(big),
                _ => self.take_utf8(),
            }
        }
        Ok(())
    }

    fn recognize(&mut self) -> Encoding {
        let (encoding, mark) = match &self.raw[..self.kept] {
            [0xef, 0xbb, 0xbf, ..] => (Encoding::Utf8, 3),
            [0xff, 0xfe, ..] => (Encoding::Utf16 { big: false }, 2),
            [0xfe, 0xff, ..] => (Encoding::Utf16 { big: true }, 2),
            [b'<', 0, ..] => (Encoding::Utf16 { big: false }, 0),
            [0, b'<', ..] => (Encoding::Utf16 { big: true }, 0),
            _ => (Encoding::Utf8, 0),
        };
        self.forget(mark);
        encoding
    }

    /// The first `used` octets are done with.
    fn forget(&mut self, used: usize) {
        self.raw.copy_within(used..self.kept, 0);
        self.kept -= used;
    }

    fn take_utf8(&mut self) {
        let mut used = 0;
        while used < self.kept {
            let rest = &self.raw[used..self.kept];
            let error = match std::str::from_utf8(rest) {
                Ok(good) => {
                    self.clean.extend_from_slice(good.as_bytes());
                    used = self.kept;
                    break;
                }
                Err(error) => error,
            };
            let (good, bad) = rest.split_at(error.valid_up_to());
            self.clean.extend_from_slice(good);
            used += good.len();
            // A character that is cut by the end of the chunk waits for its rest.
            if error.error_len().is_none() && !self.ended {
                break;
            }
            let wrong = error.error_len().unwrap_or(bad.len());
            for &byte in &bad[..wrong] {
                self.clean.extend_from_slice(char::from(byte).encode_utf8(&mut [0; 4]).as_bytes());
            }
            self.repaired.set(true);
            used += wrong;
        }
        self.forget(used);
    }

    fn take_utf16(&mut self, big: bool) {
        let whole = self.kept & !1;
        let units = self.raw[..whole].chunks_exact(2).map(|pair| match big {
            true => u16::from_be_bytes([pair[0], pair[1]]),
            false => u16::from_le_bytes([pair[0], pair[1]]),
        });
        let mut used = whole;
        let mut units: Vec<u16> = units.collect();
        // Half of a surrogate pair waits for the other half.
        if !self.ended && units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            units.pop();
            used -= 2;
        }
        for c in char::decode_utf16(units) {
            let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.clean.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        self.forget(if self.ended { self.kept } else { used });
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.token.get() > limits::TOKEN {
            return Err(io::Error::other(TOKEN_TOO_LARGE));
        }
        if self.at == self.clean.len() {
            self.refill()?;
        }
        Ok(&self.clean[self.at..])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
        self.token.set(self.token.get() + n);
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
