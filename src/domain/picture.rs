//! Pictures that people send: known by their bytes, and free of what tells where they were taken.
mod exif;
mod gif;
mod jpeg;
mod png;
#[cfg(test)]
mod tests;
mod webp;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// Where pictures are served; a prompt names a picture by this and its id.
const ADDRESS: &str = "/v1/pictures/";

/// The largest picture, in bytes: what a phone makes, and what vendors take.
pub const PICTURE_BYTES: usize = 10 * 1024 * 1024;

/// The name of a picture: the SHA-256 of its bytes as they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PictureId(pub [u8; 32]);

impl PictureId {
    /// The id of a picture of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The address under which a prompt names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{ADDRESS}{self}")
    }

    /// The picture that an address names, if it is one of ours.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        url.strip_prefix(ADDRESS)?.parse().ok()
    }
}

impl fmt::Display for PictureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that names no picture.
#[derive(Debug, thiserror::Error)]
#[error("a picture's id is 64 hexadecimal digits")]
pub struct NotAPictureId;

impl FromStr for PictureId {
    type Err = NotAPictureId;

    fn from_str(text: &str) -> Result<Self, NotAPictureId> {
        let digits = text.as_bytes();
        if digits.len() != 64 || digits.iter().any(u8::is_ascii_uppercase) {
            return Err(NotAPictureId);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NotAPictureId)?;
            let signed = pair.starts_with('+');
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAPictureId)?;
            if signed {
                return Err(NotAPictureId);
            }
        }
        Ok(Self(bytes))
    }
}

impl Serialize for PictureId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PictureId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The kinds of pictures that browsers and models read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// PNG, also animated.
    Png,
    /// JPEG.
    Jpeg,
    /// GIF.
    Gif,
    /// WebP.
    Webp,
}

impl PictureKind {
    const ALL: [Self; 4] = [Self::Png, Self::Jpeg, Self::Gif, Self::Webp];

    /// The kind of a picture that begins with these bytes.
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            _ => None,
        }
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }

    /// The kind of that media type.
    #[must_use]
    pub fn parse(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.media_type() == media_type)
    }
}

/// A picture as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its kind.
    pub kind: PictureKind,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Why bytes are no picture for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// The beginning of none that we know.
    #[error("this is no PNG, JPEG, WebP or GIF")]
    Unknown,
    /// It begins like one and is not made like one.
    #[error("this {} is broken or cut off", .0.media_type())]
    Broken(PictureKind),
}

impl Picture {
    /// Reads a picture by its bytes, whatever its name says. Everything that its pixels do not need
    /// is left out: positions, times, names of people and cameras, previews, comments. The way up
    /// stays.
    ///
    /// # Errors
    /// See [`PictureError`].
    pub fn read(bytes: &[u8]) -> Result<Self, PictureError> {
        let kind = PictureKind::of(bytes).ok_or(PictureError::Unknown)?;
        let pixels = match kind {
            PictureKind::Png => png::pixels(bytes),
            PictureKind::Jpeg => jpeg::pixels(bytes),
            PictureKind::Gif => gif::pixels(bytes),
            PictureKind::Webp => webp::pixels(bytes),
        };
        Ok(Self { kind, bytes: pixels.ok_or(PictureError::Broken(kind))? })
    }

    /// The name of it.
    #[must_use]
    pub fn id(&self) -> PictureId {
        PictureId::of(&self.bytes)
    }

    /// The whole picture as an address, as all vendors take it.
    #[must_use]
    pub fn data_url(&self) -> String {
        let mut url = format!("data:{};base64,", self.kind.media_type());
        STANDARD.encode_string(&self.bytes, &mut url);
        url
    }
}

/// The bytes that `data_url` makes of so many, about.
#[must_use]
pub fn encoded(bytes: u64) -> u64 {
    bytes.div_ceil(3) * 4
}
