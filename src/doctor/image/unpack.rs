//! What octets are packed with, by their first ones: names and media types lie too often.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How something begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952; several members in a row, as eStargz writes them.
    Gzip,
    /// RFC 8878; several frames in a row, some to be skipped, as zstd:chunked writes them.
    Zstd,
    /// The .xz format 1.2; several streams in a row.
    Xz,
    /// An archive whose members are packed one by one (APPNOTE 6.3), as Java's and Python's packages are.
    Zip,
    Plain,
    /// Compressed or an archive, in a way that is not opened.
    Closed,
}

pub fn packing(head: &[u8]) -> Packing {
    match head {
        [0x1f, 0x8b, 8, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
        [b'P', b'K', 3, 4, ..] => Packing::Zip,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] | [b'7', b'z', 0xbc, 0xaf, ..] | [0x04, 0x22, 0x4d, 0x18, ..] => {
            Packing::Closed
        }
        _ => Packing::Plain,
    }
}

/// KiB that the dictionary of `xz -9` needs, and a little more.
const XZ_MEMORY: u32 = 68 << 10;

/// The octets without their packing. A zip archive has no octets but those of its members: [`super::zipped`].
pub fn unpack<'a>(packing: Packing, packed: impl BufRead + 'a) -> Box<dyn Read + 'a> {
    match packing {
        Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
        Packing::Zstd => Box::new(Zstd { packed, frame: FrameDecoder::new(), within: false }),
        Packing::Xz => Box::new(XzReader::new_mem_limit(packed, true, XZ_MEMORY)),
        Packing::Plain | Packing::Zip | Packing::Closed => Box::new(packed),
    }
}

/// Frames one after the other. A frame that wants a window of more than 128 MiB is refused by the decoder.
struct Zstd<R> {
    packed: R,
    frame: FrameDecoder,
    /// Whether a frame is being read.
    within: bool,
}

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame; `false` at the end.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            let mut magic = [0; 4];
            if self.packed.fill_buf()?.is_empty() {
                return Ok(false);
            }
            self.packed.read_exact(&mut magic)?;
            // RFC 8878 section 3.1.2: frames that hold something else.
            if u32::from_le_bytes(magic) & 0xffff_fff0 == 0x184d_2a50 {
                let mut length = [0; 4];
                self.packed.read_exact(&mut length)?;
                let length = u64::from(u32::from_le_bytes(length));
                if io::copy(&mut self.packed.by_ref().take(length), &mut io::sink())? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            }
            self.frame.reset(magic.chain(&mut self.packed)).map_err(io::Error::other)?;
            self.within = true;
            return Ok(true);
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within && !self.begin()? {
                return Ok(0);
            }
            while self.frame.can_collect() == 0 && !self.frame.is_finished() {
                let block = BlockDecodingStrategy::UptoBlocks(1);
                self.frame.decode_blocks(&mut self.packed, block).map_err(io::Error::other)?;
            }
            let read = self.frame.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.within = false;
        }
    }
}
