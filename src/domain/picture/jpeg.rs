//! JPEG: segments, each with a marker.
use super::exif;

/// The mark in front of a camera's notes.
const EXIF: &[u8] = b"Exif\0\0";

/// The picture without segments that its pixels do not need; `None` if it is none.
pub(super) fn pixels(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0xff, 0xd8];
    let mut up = None;
    let mut scanned = false;
    let mut at = 2;
    loop {
        let Some(marker) = marker(bytes, &mut at) else {
            // Cut off behind its pixels: browsers show such a picture.
            return scanned.then(|| finished(out, up));
        };
        match marker {
            // Data behind the end is not part of the picture.
            0xd9 => return scanned.then(|| finished(out, up)),
            0x01 | 0xd0..=0xd7 => out.extend([0xff, marker]),
            0x00 | 0xd8 => return None,
            _ => {
                let length =
                    usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
                let data = bytes.get(at + 2..at + length)?;
                if marker == 0xe1 && data.starts_with(EXIF) {
                    up = up.or(exif::orientation(&data[EXIF.len()..]));
                }
                if is_needed(marker, data) {
                    out.extend([0xff, marker]);
                    out.extend(&bytes[at..at + length]);
                }
                at += length;
                if marker == 0xda {
                    scanned = true;
                    let end = end_of_scan(bytes, at);
                    out.extend(&bytes[at..end]);
                    at = end;
                }
            }
        }
    }
}

/// The next marker; `at` stands behind it then.
fn marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    if *bytes.get(*at)? != 0xff {
        return None;
    }
    while *bytes.get(*at)? == 0xff {
        *at += 1;
    }
    *at += 1;
    bytes.get(*at - 1).copied()
}

/// Of the segments for applications: sizes, colours, and how Adobe has coded these.
fn is_needed(marker: u8, data: &[u8]) -> bool {
    match marker {
        0xe0 => data.starts_with(b"JFIF\0"),
        0xe2 => data.starts_with(b"ICC_PROFILE\0"),
        0xee => data.starts_with(b"Adobe"),
        0xe1 | 0xe3..=0xed | 0xef | 0xfe => false,
        _ => true,
    }
}

/// Where pixels end: at a marker that is none of theirs.
fn end_of_scan(bytes: &[u8], mut at: usize) -> usize {
    while let Some(next) = bytes.get(at) {
        if *next == 0xff && !matches!(bytes.get(at + 1), Some(0x00 | 0xd0..=0xd7)) {
            return at;
        }
        at += 1;
    }
    at
}

fn finished(mut out: Vec<u8>, up: Option<u8>) -> Vec<u8> {
    out.extend([0xff, 0xd9]);
    if let Some(up) = up {
        let notes = exif::notes(up);
        let segment = [&[0xff, 0xe1, 0, 2 + 6 + 26], EXIF, &notes].concat();
        out.splice(2..2, segment);
    }
    out
}
