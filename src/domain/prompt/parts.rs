//! The parts of a message in their order: texts, pictures, files, sounds.
use serde::{Deserialize, Serialize};

use super::{Image, Message, Role};
use crate::domain::json::JsonObject;
use crate::domain::source::WireProtocol;

/// A file or a sound for the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which of the two.
    pub kind: AttachmentKind,
    /// `data:` with its bytes, or the `https:` address of a file.
    pub url: String,
    /// The file's name, or the sound's format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The kind of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachmentKind {
    /// A document.
    File,
    /// Speech or another sound.
    Audio,
}

impl Attachment {
    /// The media type and the base64 text of inline bytes; `None` for an address.
    #[must_use]
    pub fn inline(&self) -> Option<(&str, &str)> {
        self.url.strip_prefix("data:")?.split_once(";base64,")
    }
}

/// A part that only one protocol has, as its client wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnPart {
    /// The protocol that it is written in.
    pub protocol: WireProtocol,
    /// The part with its `type`.
    pub data: JsonObject,
}

/// The place of a part. The texts in a message's `content` have a line break between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartPlace {
    /// So many bytes of `content`.
    Text(usize),
    /// The next picture.
    Image,
    /// The next attachment; so many bytes of `content` name it for who cannot be given it.
    Attachment(usize),
    /// The next part of one protocol; so many bytes of `content` name it for all others.
    Own(usize),
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessagePart<'a> {
    /// A text, which may be empty.
    Text(&'a str),
    /// A picture.
    Image(&'a Image),
    /// A file or a sound, and its name for who cannot be given it.
    Attachment(&'a Attachment, &'a str),
    /// A part of one protocol, and its name for all others.
    Own(&'a OwnPart, &'a str),
}

/// The parts of a message as they are read.
#[derive(Debug, Default)]
pub struct MessageParts {
    texts: Vec<String>,
    images: Vec<Image>,
    attachments: Vec<Attachment>,
    own: Vec<OwnPart>,
    places: Vec<PartPlace>,
}

impl MessageParts {
    /// Adds a text.
    pub fn text(&mut self, text: String) {
        self.places.push(PartPlace::Text(text.len()));
        self.texts.push(text);
    }

    /// Adds a text before all others.
    pub fn first(&mut self, text: &str) {
        self.places.insert(0, PartPlace::Text(text.len()));
        self.texts.insert(0, text.to_owned());
    }

    /// Adds a picture.
    pub fn image(&mut self, image: Image) {
        self.places.push(PartPlace::Image);
        self.images.push(image);
    }

    /// Adds a file or a sound, which is called `[name]` where it cannot go.
    pub fn attachment(&mut self, attachment: Attachment, name: &str) {
        let name = format!("[{name}]");
        self.places.push(PartPlace::Attachment(name.len()));
        self.texts.push(name);
        self.attachments.push(attachment);
    }

    /// Adds a part of one protocol, which is called `[name]` elsewhere.
    pub fn own(&mut self, part: OwnPart, name: &str) {
        let name = format!("[{name}]");
        self.places.push(PartPlace::Own(name.len()));
        self.texts.push(name);
        self.own.push(part);
    }

    /// Takes pictures, files and sounds out.
    pub fn take_media(&mut self) -> Self {
        let all = std::mem::take(self);
        let mut texts = all.texts.into_iter();
        let mut media =
            Self { images: all.images, attachments: all.attachments, ..Self::default() };
        self.own = all.own;
        for place in all.places {
            match place {
                PartPlace::Image => media.places.push(place),
                PartPlace::Attachment(_) => {
                    media.places.push(place);
                    media.texts.extend(texts.next());
                }
                PartPlace::Text(_) | PartPlace::Own(_) => {
                    self.places.push(place);
                    self.texts.extend(texts.next());
                }
            }
        }
        media
    }

    /// Adds the parts of another.
    pub fn append(&mut self, mut other: Self) {
        self.texts.append(&mut other.texts);
        self.images.append(&mut other.images);
        self.attachments.append(&mut other.attachments);
        self.own.append(&mut other.own);
        self.places.append(&mut other.places);
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The texts.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The message that they make.
    #[must_use]
    pub fn message(self, role: Role) -> Message {
        let plain = match self.places.as_slice() {
            [] | [PartPlace::Text(_)] => true,
            [first, rest @ ..] => {
                let begins = matches!(first, PartPlace::Text(1..) | PartPlace::Image);
                begins && rest.iter().all(|place| *place == PartPlace::Image)
            }
        };
        Message {
            images: self.images,
            attachments: self.attachments,
            own: self.own,
            places: if plain { Vec::new() } else { self.places },
            ..Message::text(role, self.texts.join("\n"))
        }
    }
}

/// The type of the item of Responses that adds tools to a request.
const ADDS_TOOLS: &str = "additional_tools";

impl Message {
    /// An item of Responses that adds tools. It has a place among the messages; models of other
    /// protocols get its tools with all others.
    #[must_use]
    pub fn adding_tools(item: JsonObject) -> Self {
        let mut parts = MessageParts::default();
        parts.own(OwnPart { protocol: WireProtocol::OpenaiResponses, data: item }, ADDS_TOOLS);
        parts.message(Role::Developer)
    }

    /// The item that adds tools, if the message is one.
    #[must_use]
    pub fn tools_item(&self) -> Option<&JsonObject> {
        let [own] = self.own.as_slice() else { return None };
        let name = self.content.strip_prefix('[')?.strip_suffix(']')?;
        (self.role == Role::Developer && name == ADDS_TOOLS).then_some(&own.data)
    }

    /// Its parts in their order. Without places of their own pictures stand behind the text.
    #[must_use]
    pub fn parts(&self) -> Vec<MessagePart<'_>> {
        self.placed().unwrap_or_else(|| {
            let text = Some(self.content.as_str()).filter(|text| !text.is_empty());
            let files = self.attachments.iter().map(|file| MessagePart::Attachment(file, ""));
            let images = self.images.iter().map(MessagePart::Image);
            text.map(MessagePart::Text).into_iter().chain(images).chain(files).collect()
        })
    }

    /// Whether it is text and nothing else.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.images.is_empty() && self.attachments.is_empty() && self.own.is_empty()
    }

    /// Whether it is one text.
    #[must_use]
    pub fn is_one_text(&self) -> bool {
        self.is_text() && self.places.is_empty()
    }

    /// Takes everything out that is said in words, pictures or files.
    pub fn silence(&mut self) {
        self.content.clear();
        self.images.clear();
        self.attachments.clear();
        self.own.clear();
        self.places.clear();
    }

    /// `None` where the places are not those of the content.
    fn placed(&self) -> Option<Vec<MessagePart<'_>>> {
        if self.places.is_empty() {
            return None;
        }
        let mut images = self.images.iter();
        let mut attachments = self.attachments.iter();
        let mut own = self.own.iter();
        let mut rest = Some(self.content.as_str());
        let mut parts = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let mut text = |bytes: usize| {
                let (text, behind) = rest?.split_at_checked(bytes)?;
                rest = match behind.strip_prefix('\n') {
                    Some(behind) => Some(behind),
                    None if behind.is_empty() => None,
                    None => return None,
                };
                Some(text)
            };
            parts.push(match *place {
                PartPlace::Text(bytes) => MessagePart::Text(text(bytes)?),
                PartPlace::Image => MessagePart::Image(images.next()?),
                PartPlace::Attachment(bytes) => {
                    MessagePart::Attachment(attachments.next()?, text(bytes)?)
                }
                PartPlace::Own(bytes) => MessagePart::Own(own.next()?, text(bytes)?),
            });
        }
        let all = rest.is_none_or(str::is_empty) && images.len() == 0 && attachments.len() == 0;
        (all && own.len() == 0).then_some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(url: &str) -> Image {
        Image { url: url.into(), detail: None }
    }

    fn file() -> Attachment {
        let url = "data:application/pdf;base64,AA==".into();
        Attachment { kind: AttachmentKind::File, url, name: None }
    }

    #[test]
    fn parts_come_back_in_their_order() {
        let mut parts = MessageParts::default();
        parts.text("a\n".into());
        parts.image(image("1"));
        parts.text(String::new());
        parts.attachment(file(), "input_file");
        parts.text("\nb".into());
        parts.image(image("2"));
        let message = parts.message(Role::User);
        assert_eq!(message.content, "a\n\n\n[input_file]\n\nb");
        let expected = [
            MessagePart::Text("a\n"),
            MessagePart::Image(&message.images[0]),
            MessagePart::Text(""),
            MessagePart::Attachment(&message.attachments[0], "[input_file]"),
            MessagePart::Text("\nb"),
            MessagePart::Image(&message.images[1]),
        ];
        assert_eq!(message.parts(), expected);
        let stored: Message =
            serde_json::from_str(&serde_json::to_string(&message).unwrap()).unwrap();
        assert_eq!(stored, message);
    }

    #[test]
    fn the_usual_order_needs_no_places_and_places_of_another_text_are_not_believed() {
        let mut parts = MessageParts::default();
        parts.text("see".into());
        parts.image(image("1"));
        let mut message = parts.message(Role::User);
        assert!(message.places.is_empty());
        let usual = [MessagePart::Text("see"), MessagePart::Image(&message.images[0])];
        assert_eq!(message.parts(), usual);
        for places in [
            vec![PartPlace::Text(2), PartPlace::Image],
            vec![PartPlace::Text(3)],
            vec![PartPlace::Image, PartPlace::Text(4)],
            vec![PartPlace::Text(3), PartPlace::Image, PartPlace::Image],
        ] {
            message.places = places;
            assert_eq!(message.parts().len(), 2, "{message:?}");
            assert_eq!(message.parts()[0], MessagePart::Text("see"));
        }
    }
}
