//! WebP: chunks in a RIFF file.
use super::exif;

/// The chunks of the pixels, their colours, and of how they move.
const NEEDED: [&[u8; 4]; 7] = [b"VP8 ", b"VP8L", b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH"];
/// In the flags of `VP8X`: there are a camera's notes.
const HAS_EXIF: u8 = 0x08;
/// In the same: there are an editor's notes.
const HAS_XMP: u8 = 0x04;

/// The picture without chunks that its pixels do not need; `None` if it is none.
pub(super) fn pixels(bytes: &[u8]) -> Option<Vec<u8>> {
    let size = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    let bytes = bytes.get(..usize::try_from(size).ok()?.checked_add(8)?)?;
    let mut out = bytes.get(..12)?.to_vec();
    let mut up = None;
    let mut flags = None;
    let mut at = 12;
    while at < bytes.len() {
        let name = bytes.get(at..at + 4)?;
        let length = u32::from_le_bytes(bytes.get(at + 4..at + 8)?.try_into().ok()?);
        let end = (at + 8).checked_add(usize::try_from(length).ok()?)?;
        let data = bytes.get(at + 8..end)?;
        if name == b"EXIF" {
            up = up.or(exif::orientation(data.strip_prefix(b"Exif\0\0").unwrap_or(data)));
        }
        if NEEDED.iter().any(|needed| *needed == name) {
            if name == b"VP8X" {
                flags = Some(out.len() + 8).filter(|_| length >= 10);
            }
            add(&mut out, name.try_into().ok()?, data)?;
        }
        // Chunks begin at even places.
        at = end + usize::try_from(length & 1).ok()?;
    }
    if out.len() == 12 {
        return None;
    }
    if let Some(flags) = flags {
        out[flags] &= !(HAS_EXIF | HAS_XMP);
        if let Some(up) = up {
            out[flags] |= HAS_EXIF;
            add(&mut out, b"EXIF", &exif::notes(up))?;
        }
    }
    let size = u32::try_from(out.len() - 8).ok()?;
    out[4..8].copy_from_slice(&size.to_le_bytes());
    Some(out)
}

fn add(out: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) -> Option<()> {
    out.extend(name);
    out.extend(u32::try_from(data.len()).ok()?.to_le_bytes());
    out.extend(data);
    out.extend(vec![0; data.len() % 2]);
    Some(())
}
