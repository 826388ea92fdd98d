use proptest::prelude::*;

use crate::domain::picture::*;

/// Where nobody shall be found.
const PLACE: &[u8] = b"48.8584N 2.2945E";

fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
    [&[0xff, marker], &length[..], data].concat()
}

/// A camera's notes: the way up, and where it was.
fn camera(orientation: u8) -> Vec<u8> {
    let mut notes = b"II*\0\x08\0\0\0\x02\0".to_vec();
    notes.extend(b"\x0f\x01\x02\0\x01\0\0\0A\0\0\0");
    notes.extend([0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    notes.extend(b"\0\0\0\0");
    notes.extend(PLACE);
    notes
}

fn jpeg(orientation: u8) -> Vec<u8> {
    [
        vec![0xff, 0xd8],
        segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
        segment(0xe1, &[b"Exif\0\0", camera(orientation).as_slice()].concat()),
        segment(0xe1, &[b"http://ns.adobe.com/xap/1.0/\0", PLACE].concat()),
        segment(0xed, &[b"Photoshop 3.0\0", PLACE].concat()),
        segment(0xfe, PLACE),
        segment(0xe2, b"ICC_PROFILE\0\x01\x01colours"),
        segment(0xc0, b"frame"),
        segment(0xda, b"scan"),
        b"pix\xff\0els\xff\xd0more".to_vec(),
        segment(0xda, b"another"),
        b"pixels".to_vec(),
        vec![0xff, 0xd9],
        // A second picture behind the end, as phones add it.
        PLACE.to_vec(),
    ]
    .concat()
}

fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [&length[..], name, data, b"crc!"].concat()
}

fn png() -> Vec<u8> {
    let text = [b"Location\0", PLACE].concat();
    let chunks = [
        chunk(b"IHDR", b"size"),
        chunk(b"iTXt", &text),
        chunk(b"tEXt", &text),
        chunk(b"zTXt", &text),
        chunk(b"eXIf", &camera(6)),
        chunk(b"tIME", b"now"),
        chunk(b"gAMA", b"colours"),
        chunk(b"prVW", PLACE),
        chunk(b"IDAT", b"pixels"),
        chunk(b"IEND", b""),
    ];
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat(), PLACE.to_vec()].concat()
}

fn gif() -> Vec<u8> {
    let blocks: [&[u8]; 8] = [
        b"GIF89a\x01\0\x01\0\x80\0\0",
        b"\0\0\0\xff\xff\xff",
        b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0",
        b"\x21\xfe\x1048.8584N 2.2945E\0",
        b"\x21\xff\x0bXMP DataXMP\x1048.8584N 2.2945E\0",
        b"\x21\xf9\x04\0\0\0\0\0",
        b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0",
        b"\x3b48.8584N 2.2945E",
    ];
    blocks.concat()
}

fn riff(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_le_bytes();
    [&name[..], &length, data, &vec![0; data.len() % 2]].concat()
}

fn webp(orientation: u8) -> Vec<u8> {
    let chunks = [
        b"WEBP".to_vec(),
        riff(b"VP8X", &[0x2c, 0, 0, 0, 1, 0, 0, 1, 0, 0]),
        riff(b"ICCP", b"colours"),
        riff(b"VP8 ", b"pixel"),
        riff(b"EXIF", &camera(orientation)),
        riff(b"XMP ", PLACE),
    ]
    .concat();
    riff(b"RIFF", &chunks)
}

fn says(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn where_a_picture_was_taken_is_left_out_and_its_pixels_stay() {
    let all = [
        (
            PictureKind::Jpeg,
            jpeg(6),
            &[&b"colours"[..], b"pix\xff\0els\xff\xd0more", b"another"][..],
        ),
        (PictureKind::Png, png(), &[b"IHDR", b"colours", b"pixels", b"IEND"]),
        (PictureKind::Gif, gif(), &[b"NETSCAPE2.0", b"\x02\x02D\x01\0\x3b"]),
        (PictureKind::Webp, webp(6), &[b"VP8X", b"colours", b"pixel"]),
    ];
    for (kind, bytes, stay) in all {
        assert!(says(&bytes, PLACE), "{kind:?}");
        let picture = Picture::read(&bytes).unwrap();
        assert_eq!(picture.kind, kind);
        assert!(!says(&picture.bytes, PLACE) && !says(&picture.bytes, b"48.8584"), "{kind:?}");
        for part in stay {
            assert!(says(&picture.bytes, part), "{kind:?} has lost {part:?}");
        }
        assert_eq!(Picture::read(&picture.bytes).unwrap(), picture, "it is kept as it is");
    }
}

#[test]
fn the_way_up_stays() {
    let up = |bytes: &[u8]| {
        let at = bytes.windows(4).position(|window| window == b"MM\0*")?;
        exif::orientation(&bytes[at..])
    };
    for orientation in 1..=8 {
        let expected = (orientation > 1).then_some(orientation);
        assert_eq!(up(&Picture::read(&jpeg(orientation)).unwrap().bytes), expected);
        let webp = Picture::read(&webp(orientation)).unwrap().bytes;
        assert_eq!(up(&webp), expected);
        let flags = if orientation > 1 { 0x28 } else { 0x20 };
        assert_eq!(webp[20], flags, "the flags say what is there");
        let size = u32::from_le_bytes(webp[4..8].try_into().unwrap());
        assert_eq!(usize::try_from(size).unwrap() + 8, webp.len());
    }
}

#[test]
fn what_is_no_picture_is_refused() {
    for other in ["", "<svg xmlns='http://www.w3.org/2000/svg'/>", "BM", "%PDF-1.7", "GIF8"] {
        assert_eq!(Picture::read(other.as_bytes()), Err(PictureError::Unknown), "{other}");
    }
    for (kind, bytes, cut) in [
        (PictureKind::Jpeg, jpeg(1), 60),
        (PictureKind::Png, png(), 40),
        (PictureKind::Gif, gif(), 30),
        (PictureKind::Webp, webp(1), 40),
    ] {
        assert_eq!(Picture::read(&bytes[..cut]), Err(PictureError::Broken(kind)));
    }
}

#[test]
fn an_id_is_one_text() {
    let id = PictureId::of(b"a");
    assert_eq!(id.to_string().parse::<PictureId>().unwrap(), id);
    assert_eq!(PictureId::of_url(&id.url()), Some(id));
    for other in [id.to_string().to_uppercase(), "+f".repeat(32), "0".repeat(63), "é".repeat(32)] {
        assert!(other.parse::<PictureId>().is_err(), "{other}");
    }
}

proptest! {
    /// Any bytes are a picture or are refused, and what is kept is read again as it is.
    #[test]
    fn any_bytes_are_read_or_refused(kind in 0..4usize, cut in 0..200usize, noise in prop::collection::vec(any::<u8>(), 0..80)) {
        let whole = [jpeg(6), png(), gif(), webp(3)][kind].clone();
        let mut bytes = whole[..cut.min(whole.len())].to_vec();
        bytes.extend(&noise);
        if let Ok(picture) = Picture::read(&bytes) {
            prop_assert_eq!(Picture::read(&picture.bytes), Ok(picture));
        }
    }
}
