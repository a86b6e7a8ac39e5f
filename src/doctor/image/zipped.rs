//! The members of a zip archive (APPNOTE.TXT 6.3), as it flows by.
//!
//! The crate that reads them elsewhere here begins at the archive's end, so that all of it would have to be held. Every
//! member has a header of its own as well, and what was deleted from the directory at the end is still found by it.

use std::io::{self, BufRead, Read};

use flate2::bufread::DeflateDecoder;

const MEMBER: u32 = 0x0403_4b50;
const DIRECTORY: u32 = 0x0201_4b50;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED: u16 = 1;
/// The sizes stand behind the data.
const DESCRIBED_LATER: u16 = 1 << 3;
/// Octets of a data descriptor with a signature and sizes of 64 bits; both may be left out.
const DESCRIPTOR: u64 = 24;

/// What is said before a member's data.
struct Header {
    flags: u16,
    method: u16,
    /// Octets of the data as they are packed.
    packed: u64,
    name: String,
}

/// Shows every member, and returns how many could not be opened: encrypted, or packed in another way.
pub fn members(
    input: &mut dyn BufRead,
    show: &mut dyn FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> io::Result<u64> {
    let mut closed = 0;
    let mut signature = next_signature(input, 4)?;
    while signature == Some(MEMBER) {
        let Header { flags, method, packed, name } = header(input)?;
        let is_later = flags & DESCRIBED_LATER != 0;
        let ends = !is_later || packed > 0;
        let mut data = (&mut *input).take(if ends { packed } else { u64::MAX });
        match method {
            DEFLATED if flags & ENCRYPTED == 0 => {
                let mut unpacked = DeflateDecoder::new(&mut data);
                show(&name, &mut unpacked)?;
                // Deflate knows its own end.
                io::copy(&mut unpacked, &mut io::sink())?;
            }
            STORED if flags & ENCRYPTED == 0 && ends => show(&name, &mut data)?,
            // Where its data ends is not to be known from here.
            _ if !ends => return Ok(closed + 1),
            _ => closed += 1,
        }
        if ends {
            io::copy(&mut data, &mut io::sink())?;
        }
        signature = next_signature(input, if is_later { 4 + DESCRIPTOR } else { 4 })?;
    }
    Ok(closed)
}

/// What begins within the next octets: a member, the directory, or nothing that is known.
fn next_signature(input: &mut dyn BufRead, within: u64) -> io::Result<Option<u32>> {
    let mut seen = 0;
    for octet in (&mut *input).take(within).bytes() {
        seen = seen >> 8 | u32::from(octet?) << 24;
        if seen == MEMBER || seen == DIRECTORY {
            return Ok(Some(seen));
        }
    }
    Ok(None)
}

/// What follows a member's signature.
fn header(input: &mut dyn BufRead) -> io::Result<Header> {
    let mut fixed = [0; 26];
    input.read_exact(&mut fixed)?;
    let short = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
    let long = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let mut name = vec![0; usize::from(short(22))];
    input.read_exact(&mut name)?;
    let mut extra = vec![0; usize::from(short(24))];
    input.read_exact(&mut extra)?;
    let packed = match long(14) {
        u32::MAX => zip64(&extra, long(18) == u32::MAX).unwrap_or(u64::from(u32::MAX)),
        packed => u64::from(packed),
    };
    Ok(Header { flags: short(2), method: short(4), packed, name: String::from_utf8_lossy(&name).into_owned() })
}

/// The packed size in the extra field 1, behind the unpacked one.
fn zip64(extra: &[u8], both: bool) -> Option<u64> {
    let mut rest = extra;
    while let [kind, high, short, long, ..] = *rest {
        let length = usize::from(u16::from_le_bytes([short, long]));
        let field = rest.get(4..4 + length)?;
        if [kind, high] == [1, 0] {
            let size = field.get(if both { 8..16 } else { 0..8 })?;
            return size.try_into().ok().map(u64::from_le_bytes);
        }
        rest = &rest[4 + length..];
    }
    None
}
