//! The one fact of a camera's notes that a picture needs: its way up.

/// How a tag of the way up is named.
const ORIENTATION: u16 = 0x0112;
/// The most tags that are looked through.
const MOST: u16 = 512;

/// The way up in a camera's notes (TIFF), 2 to 8; none where it is the usual one.
pub(super) fn orientation(tiff: &[u8]) -> Option<u8> {
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| -> Option<u16> {
        let two = [*tiff.get(at)?, *tiff.get(at + 1)?];
        Some(if little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) })
    };
    let (first, second) = (usize::from(short(4)?), usize::from(short(6)?));
    let directory = if little { second << 16 | first } else { first << 16 | second };
    for n in 0..short(directory)?.min(MOST) {
        let entry = directory + 2 + usize::from(n) * 12;
        if short(entry)? == ORIENTATION {
            let value = u8::try_from(short(entry + 8)?).ok()?;
            return (2..=8).contains(&value).then_some(value);
        }
    }
    None
}

/// Notes that say the way up and nothing else.
pub(super) fn notes(orientation: u8) -> [u8; 26] {
    let mut notes = *b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
    notes[19] = orientation;
    notes
}
