//! One file of an image: searched as it lies there, and what it holds if it is an archive or compressed. A key in a
//! backup that was copied into an image is as easily taken out as one beside it.
//!
//! What is opened is bounded in depth and in octets, and never held. What cannot be opened is counted, and said.

use std::cell::Cell;
use std::io::{self, Read};

use zeroize::Zeroizing;

use super::flow::{Metered, Peeked};
use super::scan::{self, Hit, Scanner};
use super::tarball::{self, Kind, Member, Next, Tarball};
use super::unpack::{self, Packing};
use super::walk::{Walk, normal};
use super::{Why, hints, zipped};

/// A key, and the path of the file that it is in: `srv/backup.tar.gz!etc/opendkim/keys/s1.private`.
pub type Found = (String, Hit);

/// What a file held, as far as it could be read.
pub struct Searched {
    pub found: Vec<Found>,
    pub failed: Option<io::Error>,
}

impl Searched {
    fn into(self, found: &mut Vec<Found>) -> io::Result<()> {
        found.extend(self.found);
        self.failed.map_or(Ok(()), Err)
    }
}

/// What is looked at before it is known what a file is.
const BEGINNING: usize = 64 << 10;

impl Walk<'_> {
    /// Searches one file, and below it as deep as the limits allow. What was found before an error is found.
    pub(super) fn search(&mut self, path: &str, input: &mut dyn Read, depth: usize) -> Searched {
        let mut scanner = self.scanners.pop().unwrap_or_default();
        let mut file = File { about_dkim: hints::is_about_dkim(path), text: Zeroizing::default(), input, failed: None };
        let mut inside = Vec::new();
        let mut beginning = Zeroizing::default();
        file.begin(&mut scanner, &mut beginning);
        let packing = unpack::packing(&beginning);
        let is_archive = packing != Packing::Plain || tarball::begins_with_member(&beginning);
        if is_archive {
            if packing == Packing::Closed || depth == self.limits.depth {
                self.image.closed += 1;
            } else {
                let mut both = Both { beginning: &beginning, file: &mut file, scanner: &mut scanner };
                inside = self.inside(path, packing, &mut both, depth);
            }
        }
        file.rest(&mut scanner);
        let mut hits = scan::of_file(path, scanner.finish());
        self.scanners.push(scanner);
        let File { about_dkim, text, failed, .. } = file;
        if about_dkim && self.image.hints.len() < 20_000 {
            self.image.hints.extend(hints::of_text(&String::from_utf8_lossy(&text)));
        }
        // What an archive does not compress is seen from outside as well.
        hits.retain(|hit| !inside.iter().any(|(_, known)| known.kind == hit.kind));
        let room = self.limits.keys - self.keys;
        if hits.len() > room {
            hits.truncate(room);
            self.unscanned(self.image.name.clone(), Why::TooManyKeys { limit: self.limits.keys });
        }
        self.keys += hits.len();
        inside.extend(hits.into_iter().map(|hit| (path.to_owned(), hit)));
        Searched { found: inside, failed }
    }

    /// Opens an archive or a compressed file. One that is damaged is counted among those that could not be opened.
    fn inside(&mut self, path: &str, packing: Packing, input: &mut Both<'_, '_>, depth: usize) -> Vec<Found> {
        let mut found = Vec::new();
        let limit = self.limits.inside.min(self.limits.all_inside.saturating_sub(self.spent_inside));
        let spent = Cell::new(0);
        let looked = if packing == Packing::Zip {
            self.members_of_zip(path, input, (&spent, limit), depth, &mut found)
        } else {
            self.unpacked(path, packing, input, (&spent, limit), depth, &mut found)
        };
        self.spent_inside = self.spent_inside.saturating_add(spent.get());
        self.image.opened += 1;
        let failed = match looked {
            // A fault of what the file itself lies in is told by whoever reads that.
            Err(error) if input.file.failed.is_none() => error,
            _ => return found,
        };
        match self.why(&failed) {
            why @ Why::TooMuch { .. } => self.unscanned(path, why),
            _ => {
                self.image.opened -= 1;
                self.image.closed += 1;
            }
        }
        found
    }

    fn unpacked(
        &mut self,
        path: &str,
        packing: Packing,
        input: &mut Both<'_, '_>,
        (spent, limit): (&Cell<u64>, u64),
        depth: usize,
        found: &mut Vec<Found>,
    ) -> io::Result<()> {
        let unpacked = unpack::unpack(packing, io::BufReader::with_capacity(BEGINNING, input));
        let mut unpacked = Peeked::new(Metered { input: unpacked, spent, limit })?;
        if !tarball::begins_with_member(&unpacked.head) {
            return self.search(path, &mut unpacked, depth + 1).into(found);
        }
        let mut tar = Tarball::new(unpacked);
        loop {
            match tar.next()? {
                Next::Member(Member { path: member, kind: Kind::File, .. }) => {
                    let member = format!("{path}!{}", normal(&member));
                    if self.too_many_members() {
                        return Ok(());
                    }
                    self.search(&member, &mut tar.data(), depth + 1).into(found)?;
                }
                Next::Member(_) => {}
                Next::End => return Ok(()),
                Next::Damage => {
                    self.search(path, &mut tar.rest(), self.limits.depth).into(found)?;
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
    }

    fn members_of_zip(
        &mut self,
        path: &str,
        input: &mut Both<'_, '_>,
        (spent, limit): (&Cell<u64>, u64),
        depth: usize,
        found: &mut Vec<Found>,
    ) -> io::Result<()> {
        let mut show = |member: &str, data: &mut dyn Read| {
            if self.too_many_members() {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            let member = format!("{path}!{}", normal(member));
            let mut data = Metered { input: data, spent, limit };
            self.search(&member, &mut data, depth + 1).into(found)
        };
        let closed = zipped::members(&mut io::BufReader::with_capacity(BEGINNING, input), &mut show)?;
        self.image.closed += closed;
        Ok(())
    }

    fn too_many_members(&mut self) -> bool {
        self.members += 1;
        let over = self.members > self.limits.files;
        if over {
            self.unscanned(self.image.name.clone(), Why::TooManyFiles { limit: self.limits.files });
        }
        over
    }
}

/// A file as it flows by.
struct File<'a> {
    about_dkim: bool,
    /// What hints are looked for in.
    text: Zeroizing<Vec<u8>>,
    input: &'a mut dyn Read,
    failed: Option<io::Error>,
}

impl File<'_> {
    /// Reads until it is known what the file is.
    fn begin(&mut self, scanner: &mut Scanner, beginning: &mut Zeroizing<Vec<u8>>) {
        beginning.reserve_exact(BEGINNING);
        while beginning.len() < 512 {
            match self.read(scanner, BEGINNING - beginning.len()) {
                Some(octets) if !octets.is_empty() => beginning.extend_from_slice(octets),
                _ => return,
            }
        }
    }

    fn rest(&mut self, scanner: &mut Scanner) {
        while self.read(scanner, usize::MAX).is_some_and(|octets| !octets.is_empty()) {}
    }

    /// Reads once; nothing at the end, `None` after an error.
    fn read<'s>(&mut self, scanner: &'s mut Scanner, most: usize) -> Option<&'s [u8]> {
        if self.failed.is_some() {
            return None;
        }
        match scanner.read(self.input, most) {
            Ok(octets) => {
                let room = hints::TEXT.saturating_sub(self.text.len());
                if self.about_dkim {
                    self.text.extend_from_slice(&octets[..octets.len().min(room)]);
                }
                Some(octets)
            }
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }
}

/// A file that is searched while it is unpacked.
struct Both<'a, 'f> {
    beginning: &'a [u8],
    file: &'a mut File<'f>,
    scanner: &'a mut Scanner,
}

impl Read for Both<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.beginning.is_empty() {
            return self.beginning.read(buffer);
        }
        match self.file.read(self.scanner, buffer.len()) {
            Some(octets) => {
                buffer[..octets.len()].copy_from_slice(octets);
                Ok(octets.len())
            }
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}
