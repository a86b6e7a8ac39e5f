//! A tar archive as a stream (POSIX.1-2001 pax, GNU, ustar), read by the header types of the `tar` crate.
//!
//! The crate's own iterator holds long names and pax headers of any length in memory, which a decompression bomb makes
//! gigabytes, and it ends at the first damage. Here both are bounded, and what follows damage is handed out as octets.

use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

const BLOCK: usize = 512;
/// Octets of one pax header or long name that are held; Linux allows paths of 4096.
const LARGEST_NAME: usize = 256 << 10;

/// One member. Its data is to be read before the next one is asked for, or is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As it stands in the archive.
    pub path: String,
    pub kind: Kind,
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink(String),
    SymbolicLink(String),
    /// A directory or a device: nothing in it.
    Empty,
}

pub struct Tarball<R> {
    input: R,
    /// Octets of the member's data that were not read yet.
    data: u64,
    /// Octets behind the data up to the next block.
    padding: u64,
    block: [u8; BLOCK],
}

/// What came in place of a member.
pub enum Next {
    Member(Member),
    End,
    /// No header stands here. [`Tarball::rest`] has the octets.
    Damage,
}

/// Whether octets begin like a tar archive: a header with a right checksum, or the zeros of an empty one.
pub fn is_tar(head: &[u8]) -> bool {
    head.get(..BLOCK).is_some_and(|block| is_zero(block) || is_header(block))
}

/// Whether octets begin with a member of a tar archive. Files of zeros are common, and no archives.
pub fn begins_with_member(head: &[u8]) -> bool {
    head.get(..BLOCK).is_some_and(is_header)
}

impl<R: Read> Tarball<R> {
    pub fn new(input: R) -> Self {
        Tarball { input, data: 0, padding: 0, block: [0; BLOCK] }
    }

    pub fn next(&mut self) -> io::Result<Next> {
        let mut name: Option<String> = None;
        let mut link: Option<String> = None;
        let mut size: Option<u64> = None;
        loop {
            self.skip()?;
            match self.read_block()? {
                0 => return Ok(Next::End),
                // The end of an archive is two blocks of zeros; what was appended behind them is read as well.
                BLOCK if is_zero(&self.block) => continue,
                BLOCK if is_header(&self.block) => {}
                // Some writers leave the padding at the very end out.
                short if short < BLOCK && is_zero(&self.block) => return Ok(Next::End),
                _ => return Ok(Next::Damage),
            }
            let header = Header::from_byte_slice(&self.block).clone();
            let kind = header.entry_type();
            let Ok(own_size) = header.entry_size() else { return Ok(Next::Damage) };
            self.begin(own_size);
            match kind {
                EntryType::GNULongName => name = Some(self.text()?),
                EntryType::GNULongLink => link = Some(self.text()?),
                EntryType::XHeader => {
                    let held = self.held()?;
                    for field in PaxExtensions::new(&held).flatten() {
                        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
                        match field.key_bytes() {
                            b"path" | b"GNU.sparse.name" => name = Some(value),
                            b"linkpath" => link = Some(value),
                            b"size" => size = value.parse().ok(),
                            _ => {}
                        }
                    }
                }
                EntryType::XGlobalHeader => {}
                kind => {
                    let size = size.unwrap_or(own_size);
                    let lossy = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
                    let path = name.unwrap_or_else(|| lossy(&header.path_bytes()));
                    let target = || link.or_else(|| header.link_name_bytes().map(|octets| lossy(&octets)));
                    let kind = match kind {
                        EntryType::Link => Kind::HardLink(target().unwrap_or_default()),
                        EntryType::Symlink => Kind::SymbolicLink(target().unwrap_or_default()),
                        EntryType::Directory | EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Empty,
                        _ => Kind::File,
                    };
                    // Links, directories and devices have no data, whatever their size says (POSIX.1-2001 pax).
                    let size = if kind == Kind::File { size } else { 0 };
                    self.begin(size);
                    if header.entry_type() == EntryType::GNUSparse {
                        self.skip_sparse_map(&header)?;
                    }
                    return Ok(Next::Member(Member { path, kind, size }));
                }
            }
        }
    }

    /// The data of the member. The holes of a sparse file are left out: there are no keys in them.
    pub fn data(&mut self) -> Data<'_, R> {
        Data(self)
    }

    /// Whether the archive ended inside the data that was just read.
    pub fn is_cut(&self) -> bool {
        self.data > 0
    }

    /// Everything from the block on that is no header.
    pub fn rest(self) -> impl Read {
        io::Cursor::new(self.block).chain(self.input)
    }

    fn begin(&mut self, size: u64) {
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// Goes to the next header. An archive that ends on the way has simply ended.
    fn skip(&mut self) -> io::Result<()> {
        let left = self.data.saturating_add(self.padding);
        (self.data, self.padding) = (0, 0);
        io::copy(&mut self.input.by_ref().take(left), &mut io::sink()).map(drop)
    }

    /// The next block, filled up with zeros; how much of it there was.
    fn read_block(&mut self) -> io::Result<usize> {
        self.block = [0; BLOCK];
        let mut length = 0;
        while length < BLOCK {
            match self.input.read(&mut self.block[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(length)
    }

    fn held(&mut self) -> io::Result<Vec<u8>> {
        let mut held = Vec::new();
        self.data().take(LARGEST_NAME as u64).read_to_end(&mut held)?;
        Ok(held)
    }

    fn text(&mut self) -> io::Result<String> {
        let held = self.held()?;
        let end = held.iter().position(|&octet| octet == 0).unwrap_or(held.len());
        Ok(String::from_utf8_lossy(&held[..end]).into_owned())
    }

    /// The map of an old GNU sparse file goes on in blocks that its size does not count.
    fn skip_sparse_map(&mut self, header: &Header) -> io::Result<()> {
        let mut more = header.as_gnu().is_some_and(|gnu| gnu.is_extended());
        while more {
            if self.read_block()? < BLOCK {
                break;
            }
            more = self.block[504] == 1;
        }
        Ok(())
    }
}

pub struct Data<'a, R>(&'a mut Tarball<R>);

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.data).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.0.input.read(&mut buffer[..most])?;
        self.0.data -= read as u64;
        Ok(read)
    }
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|&octet| octet == 0)
}

/// The checksum counts its own field as spaces; some old writers summed signed characters.
fn is_header(block: &[u8]) -> bool {
    // Most of what is no header has no number there.
    let Ok(stands) = Header::from_byte_slice(block).cksum().map(i64::from) else { return false };
    let field = 148..156;
    let value = |at: usize| if field.contains(&at) { b' ' } else { block[at] };
    let unsigned: i64 = (0..BLOCK).map(|at| i64::from(value(at))).sum();
    let signed: i64 = (0..BLOCK).map(|at| i64::from(value(at).cast_signed())).sum();
    stands == unsigned || stands == signed
}
