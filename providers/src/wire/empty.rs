//! TXT records without a single string: not allowed (RFC 1035 section 3.3.14), and served here and there all the same.
//! The parser refuses the whole message for one; whoever only reads can do without it.

const TXT: u16 = 16;
const SPF: u16 = 99;

/// The message without its empty TXT records; `None` if it has none, or if something in it may point at what would move.
pub(super) fn without_empty_texts(packet: &[u8]) -> Option<Vec<u8>> {
    let count = |at: usize| Some(usize::from(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?)));
    let counts = [count(4)?, count(6)?, count(8)?, count(10)?];
    let mut at = 12;
    for _ in 0..counts[0] {
        at = after_name(packet, at, 12)? + 4;
    }
    // Pointers to what stands before the first record stay true, whatever is taken out behind it.
    let first = at;
    let mut mended = packet.get(..first)?.to_vec();
    let mut dropped = [0; 3];
    for (section, records) in counts[1..].iter().enumerate() {
        for _ in 0..*records {
            let start = at;
            let head = after_name(packet, at, first)?;
            let (rtype, length) = (count(head)? as u16, count(head + 8)?);
            at = head + 10 + length;
            match (rtype, length) {
                (TXT | SPF, 0) => dropped[section] += 1,
                // Data of other types may hold names, and those pointers.
                (TXT | SPF | 1 | 28 | 41, _) => mended.extend_from_slice(packet.get(start..at)?),
                _ => return None,
            }
        }
    }
    if dropped == [0; 3] {
        return None;
    }
    for (section, dropped) in dropped.into_iter().enumerate() {
        let left = (counts[section + 1] - dropped) as u16;
        mended[6 + 2 * section..8 + 2 * section].copy_from_slice(&left.to_be_bytes());
    }
    Some(mended)
}

/// Where a name ends that points nowhere behind `before`.
fn after_name(packet: &[u8], mut at: usize, before: usize) -> Option<usize> {
    loop {
        let length = *packet.get(at)?;
        match length {
            0 => return Some(at + 1),
            0xc0.. => {
                let target = usize::from(length & 0x3f) << 8 | usize::from(*packet.get(at + 1)?);
                return (target < before.max(12)).then_some(at + 2);
            }
            1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x. TXT`, with these strings as records; the owner points at the question.
    fn answer(texts: &[&[u8]]) -> Vec<u8> {
        let mut packet = vec![0, 1, 0x81, 0x80, 0, 1, 0, texts.len() as u8, 0, 0, 0, 0];
        packet.extend([1, b'x', 0, 0, 16, 0, 1]);
        for text in texts {
            packet.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, text.len() as u8]);
            packet.extend_from_slice(text);
        }
        packet
    }

    #[test]
    fn the_others_are_read() {
        let mended = without_empty_texts(&answer(&[b"", b"\x02hi", b""])).unwrap();
        assert_eq!(mended, answer(&[b"\x02hi"]));
        assert!(hickory_proto::op::Message::from_vec(&mended).is_ok());
        assert_eq!(without_empty_texts(&answer(&[b"\x02hi"])), None);
        // An alias before it: nobody knows what points where.
        let mut alias = answer(&[b"", b""]);
        alias[22] = 5;
        assert_eq!(without_empty_texts(&alias), None);
        for cut in 0..answer(&[b"", b"\x02hi"]).len() {
            without_empty_texts(&answer(&[b"", b"\x02hi"])[..cut]);
        }
    }
}
