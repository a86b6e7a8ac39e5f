use std::io::Read;

use super::*;

/// Gives one octet at a time, so that every character is cut.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.0.len().min(out.len()).min(1);
        out[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

fn text(bytes: &[u8]) -> (String, bool) {
    let mut source = Source::new(Drops(bytes));
    let mut out = Vec::new();
    source.read_to_end(&mut out).unwrap();
    (String::from_utf8(out).unwrap(), source.repaired.get())
}

#[test]
fn every_encoding_becomes_utf8() {
    let utf16 = |big: bool| {
        let units = "\u{feff}<ü𝄞>".encode_utf16();
        units.flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect::<Vec<u8>>()
    };
    assert_eq!(text("\u{feff}<ü𝄞>".as_bytes()), ("<ü𝄞>".into(), false));
    assert_eq!(text(&utf16(true)), ("<ü𝄞>".into(), false));
    assert_eq!(text(&utf16(false)), ("<ü𝄞>".into(), false));
    assert_eq!(text(b"<\xfc>"), ("<ü>".into(), true));
    assert_eq!(text(b"<a>\xe2\x82"), ("<a>â\u{82}".into(), true));
    assert_eq!(text(b""), (String::new(), false));
}

#[test]
fn what_is_too_large_is_stopped() {
    let mut source = Source::new(io::repeat(b'x'));
    let error = io::copy(&mut source, &mut io::sink()).unwrap_err();
    assert_eq!(error.to_string(), TOKEN_TOO_LARGE);
    let mut source = Source::new(io::repeat(b'x'));
    let token = source.token();
    let error = loop {
        token.set(0);
        match source.fill_buf().map(<[u8]>::len) {
            Ok(n) => source.consume(n),
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), TOO_LARGE);
}
