//! Readers that know their beginning, count, or hold what is small.

use std::cell::Cell;
use std::io::{self, BufReader, Read};

/// Octets whose beginning is known.
pub struct Peeked<R> {
    pub head: Vec<u8>,
    rest: BufReader<R>,
    at: usize,
}

impl<R: Read> Peeked<R> {
    pub fn new(input: R) -> io::Result<Self> {
        let mut rest = BufReader::with_capacity(64 << 10, input);
        let mut head = Vec::new();
        rest.by_ref().take(512).read_to_end(&mut head)?;
        Ok(Peeked { head, rest, at: 0 })
    }
}

impl<R: Read> Read for Peeked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at < self.head.len() {
            let read = (&self.head[self.at..]).read(buffer)?;
            self.at += read;
            return Ok(read);
        }
        self.rest.read(buffer)
    }
}

impl<R: Read> io::BufRead for Peeked<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.head.len() { Ok(&self.head[self.at..]) } else { self.rest.fill_buf() }
    }

    fn consume(&mut self, amount: usize) {
        if self.at < self.head.len() { self.at += amount } else { self.rest.consume(amount) }
    }
}

/// Octets that are counted, up to a limit.
pub struct Metered<'a, R> {
    pub input: R,
    pub spent: &'a Cell<u64>,
    pub limit: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("more than is looked at")]
pub struct TooMuch {
    pub limit: u64,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.spent.get() > self.limit {
            return Err(io::Error::other(TooMuch { limit: self.limit }));
        }
        let read = self.input.read(buffer)?;
        self.spent.set(self.spent.get() + read as u64);
        Ok(read)
    }
}

/// Octets that flow through, held as well as long as they are few.
pub struct Keep<'a, R> {
    pub kept: Option<&'a mut Vec<u8>>,
    pub most: usize,
    pub input: R,
}

impl<R: Read> Read for Keep<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        if let Some(kept) = &mut self.kept {
            if kept.len() + read > self.most {
                kept.clear();
                self.kept = None;
            } else {
                kept.extend_from_slice(&buffer[..read]);
            }
        }
        Ok(read)
    }
}
