//! GIF: blocks, each of sub-blocks.

/// The picture without blocks that its pixels do not need; `None` if it is none.
pub(super) fn pixels(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut at = 13 + colours(*bytes.get(10)?);
    let mut out = bytes.get(..at)?.to_vec();
    loop {
        let begins = at;
        match *bytes.get(at)? {
            0x3b => {
                out.push(0x3b);
                return Some(out);
            }
            0x2c => {
                // Its place, its colours, and how wide its codes are.
                at += 10 + colours(*bytes.get(at + 9)?) + 1;
                at = behind_blocks(bytes, at)?;
                out.extend(bytes.get(begins..at)?);
            }
            0x21 => {
                let label = *bytes.get(at + 1)?;
                at = behind_blocks(bytes, at + 2)?;
                let extension = bytes.get(begins..at)?;
                // When a picture is shown, and how often an animation runs.
                let loops = extension
                    .get(3..14)
                    .is_some_and(|name| name == b"NETSCAPE2.0" || name == b"ANIMEXTS1.0");
                if label == 0xf9 || (label == 0xff && loops) {
                    out.extend(extension);
                }
            }
            _ => return None,
        }
    }
}

/// The bytes of a table of colours, by the flags of what it belongs to.
fn colours(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

fn behind_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}
