//! Zip archives: several members, and a directory that is looked at before it is believed.

use std::io::{Read, Seek, SeekFrom};

use zip::ZipArchive;

use super::{Envelope, Visitor, inside};
use crate::dmarc::limits;

/// A directory of more members than this is not even listed.
const MOST_LISTED: u64 = 4096;

pub(super) fn zip<R: Read + Seek>(
    name: &str,
    input: &mut R,
    nesting: usize,
    envelope: Option<&Envelope<'_>>,
    to: &mut dyn Visitor,
) {
    if let Err(why) = look_at_directory(input) {
        return to.refused(name, why);
    }
    let mut archive = match ZipArchive::new(input) {
        Ok(archive) => archive,
        Err(error) => return to.refused(name, format!("the zip archive is damaged: {error}")),
    };
    if archive.is_empty() {
        return to.refused(name, "the zip archive is empty".to_owned());
    }
    let mut files = 0;
    for index in 0..archive.len().min(limits::MEMBERS) {
        let member = archive.by_index(index);
        match member {
            Ok(member) if member.is_dir() || member.name().starts_with("__MACOSX/") => {}
            Ok(mut member) => {
                files += 1;
                let inner = format!("{name}!{}", member.name().escape_debug());
                inside(&inner, &mut member, nesting + 1, envelope, to);
            }
            Err(error) => {
                files += 1;
                to.refused(&format!("{name}!{index}"), format!("this member cannot be unpacked: {error}"));
            }
        }
    }
    if files == 0 {
        to.refused(name, "the zip archive has directories, and no file".to_owned());
    }
    if archive.len() > limits::MEMBERS {
        let (all, most) = (archive.len(), limits::MEMBERS);
        to.refused(name, format!("the archive has {all} members, and those after the first {most} were not read"));
    }
}

/// The end record says how many members there are (APPNOTE 4.3.16). A directory that is large, or claims to be
/// (zip64), would be held in memory whole.
fn look_at_directory(input: &mut (impl Read + Seek)) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
    let length = input.seek(SeekFrom::End(0)).map_err(unreadable)?;
    if length > limits::MESSAGE {
        return Err(format!("the archive is larger than {} MiB", limits::MESSAGE >> 20));
    }
    let tail = length.min(22 + 65_535 + 20);
    input.seek(SeekFrom::End(-(tail as i64))).map_err(unreadable)?;
    let mut end = Vec::new();
    input.read_to_end(&mut end).map_err(unreadable)?;
    input.rewind().map_err(unreadable)?;
    let members = end.windows(22).filter(|window| window.starts_with(b"PK\x05\x06"));
    let most = members.map(|record| u64::from(u16::from_le_bytes([record[10], record[11]]))).max();
    let zip64 = end.windows(4).any(|window| window == b"PK\x06\x07");
    match most {
        None => Err("the zip archive is cut off: its end is missing".to_owned()),
        Some(most) if most > MOST_LISTED => Err(format!("the archive claims {most} members; it was not opened")),
        Some(_) if zip64 && length > 4 << 20 => Err("it is a zip64 archive, which no report needs".to_owned()),
        Some(_) => Ok(()),
    }
}
