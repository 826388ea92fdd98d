//! A message's content in OpenAI's two protocols: a text, or parts.
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::elsewhere::Elsewhere;
use super::fields::{missing, read, unsupported};
use super::texts::TextOr;
use crate::domain::nearest::shown;
use crate::domain::prompt::{Attachment, AttachmentKind, Image, MessageParts, OwnPart};
use crate::domain::source::WireProtocol;
use crate::http::problem::Problem;

/// A text, or parts as they came.
pub(crate) type Content = TextOr<Box<RawValue>>;

/// A part, in the words of both APIs.
#[derive(Debug, Deserialize)]
struct ContentPart {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<Value>,
    detail: Option<String>,
    file_id: Option<String>,
    /// Chat completions: all of a file.
    file: Option<Value>,
    /// Responses: the same beside the type.
    file_data: Option<Value>,
    file_url: Option<Value>,
    filename: Option<Value>,
    input_audio: Option<Value>,
}

/// The reader of one content.
struct Reading<'a> {
    protocol: WireProtocol,
    elsewhere: &'a mut Elsewhere,
    parts: MessageParts,
}

impl Content {
    /// Its parts in their order; `field` is its name in the request. A part that only `protocol`
    /// has is noted in `elsewhere`, and its type stands in its place.
    pub(crate) fn read(
        self,
        protocol: WireProtocol,
        field: &str,
        elsewhere: &mut Elsewhere,
    ) -> Result<MessageParts, Problem> {
        let mut reading = Reading { protocol, elsewhere, parts: MessageParts::default() };
        match self {
            Self::Text(text) => reading.parts.text(text),
            Self::List(parts) => {
                for (n, raw) in parts.into_iter().enumerate() {
                    reading.part(&format!("{field}[{n}]"), &raw)?;
                }
            }
        }
        Ok(reading.parts)
    }
}

impl Reading<'_> {
    fn part(&mut self, at: &str, raw: &RawValue) -> Result<(), Problem> {
        let part: ContentPart = read(at, raw)?;
        let needs = |name: &str| missing(&format!("{at}.{name}"));
        match part.kind.as_str() {
            "text" | "input_text" | "output_text" => {
                self.parts.text(part.text.ok_or_else(|| needs("text"))?);
            }
            "refusal" => self.parts.text(part.refusal.ok_or_else(|| needs("refusal"))?),
            "image_url" | "input_image" => {
                let is_file = part.file_id.is_some();
                match image(part) {
                    Some(image) => self.parts.image(image),
                    None if is_file => {
                        let why = "this model gets pictures by URL only";
                        self.own(&format!("{at}.file_id"), why, "input_image", raw)?;
                    }
                    None => return Err(needs("image_url")),
                }
            }
            "file" | "input_file" => match file(&part) {
                Some(file) => {
                    self.limits(at, &part.kind, &file);
                    self.parts.attachment(file, &part.kind);
                }
                None => {
                    let inner = if part.kind == "file" { "file.file_id" } else { "file_id" };
                    let why = "this model gets files with their bytes only";
                    self.own(&format!("{at}.{inner}"), why, &part.kind, raw)?;
                }
            },
            "input_audio" => match part.input_audio.as_ref().and_then(sound) {
                Some(sound) => {
                    let why = "models that speak Anthropic's Messages get no sound";
                    let refusal = unsupported(&format!("{at}.type"), why);
                    self.elsewhere.refuse_for(WireProtocol::AnthropicMessages, refusal);
                    self.parts.attachment(sound, "input_audio");
                }
                None => {
                    let why = "this model gets sounds with their bytes only";
                    self.own(&format!("{at}.input_audio"), why, "input_audio", raw)?;
                }
            },
            other => {
                let why = format!("this model gets no parts of type `{}`", shown(other));
                self.own(&format!("{at}.type"), &why, other, raw)?;
            }
        }
        Ok(())
    }

    /// Notes which models cannot be given a file.
    fn limits(&mut self, at: &str, kind: &str, file: &Attachment) {
        let inner = if kind == "file" { "file.file_data" } else { "file_data" };
        match file.inline() {
            Some((kind, _)) if kind == "application/pdf" || kind.starts_with("text/") => {}
            Some(_) => {
                let why = "models that speak Anthropic's Messages get PDF files and texts only";
                let refusal = unsupported(&format!("{at}.{inner}"), why);
                self.elsewhere.refuse_for(WireProtocol::AnthropicMessages, refusal);
            }
            None => {
                let why = "models that speak chat completions get files with their bytes only";
                let refusal = unsupported(&format!("{at}.file_url"), why);
                self.elsewhere.refuse_for(WireProtocol::OpenaiChat, refusal);
            }
        }
    }

    /// Keeps a part that only its own protocol has.
    fn own(&mut self, field: &str, why: &str, kind: &str, raw: &RawValue) -> Result<(), Problem> {
        self.elsewhere.refuse(unsupported(field, why));
        let part = OwnPart { protocol: self.protocol, data: read(field, raw)? };
        self.parts.own(part, &shown(kind));
        Ok(())
    }
}

fn image(part: ContentPart) -> Option<Image> {
    let wire = part.image_url?;
    let url = wire.as_str().or_else(|| wire.get("url")?.as_str())?.to_owned();
    let inner = wire.get("detail").and_then(Value::as_str).map(str::to_owned);
    Some(Image { url, detail: part.detail.or(inner) })
}

/// A file with its bytes or its address; `None` for one that is stored at its vendor.
fn file(part: &ContentPart) -> Option<Attachment> {
    let inner = |name: &str| part.file.as_ref()?.get(name)?.as_str();
    let text = |value: &'_ Option<Value>| value.as_ref()?.as_str().map(str::to_owned);
    let name = text(&part.filename).or_else(|| inner("filename").map(str::to_owned));
    let data = text(&part.file_data).or_else(|| inner("file_data").map(str::to_owned));
    let url = match data.filter(|data| !data.is_empty()) {
        Some(data) if data.starts_with("data:") => data,
        Some(data) => format!("data:{};base64,{data}", media_type(name.as_deref())),
        None => text(&part.file_url)?,
    };
    Some(Attachment { kind: AttachmentKind::File, url, name })
}

/// The media type that a name says, where the bytes came without one.
fn media_type(name: Option<&str>) -> &'static str {
    let name = name.unwrap_or_default().to_ascii_lowercase();
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("txt" | "log" | "csv" | "json" | "xml" | "html") => "text/plain",
        Some("md") => "text/markdown",
        Some("pdf") | None => "application/pdf",
        Some(_) => "application/octet-stream",
    }
}

fn sound(audio: &Value) -> Option<Attachment> {
    let format = audio.get("format").and_then(Value::as_str).unwrap_or("wav");
    let url = format!("data:audio/{format};base64,{}", audio.get("data")?.as_str()?);
    Some(Attachment { kind: AttachmentKind::Audio, url, name: Some(format.to_owned()) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::domain::prompt::{Message, Role};
    use crate::http::protocols::openai::content::*;

    const CHAT: WireProtocol = WireProtocol::OpenaiChat;
    const MESSAGES: WireProtocol = WireProtocol::AnthropicMessages;

    fn read_parts(parts: &Value) -> (Message, Elsewhere) {
        let mut elsewhere = Elsewhere::default();
        let content: Content = serde_json::from_str(&parts.to_string()).unwrap();
        let parts = content.read(CHAT, "content", &mut elsewhere).unwrap();
        (parts.message(Role::User), elsewhere)
    }

    #[test]
    fn files_of_both_protocols_are_one() {
        let pdf = "data:application/pdf;base64,JVBERg==";
        let chat = json!([{ "type": "file", "file": { "filename": "a.pdf", "file_data": pdf } }]);
        let flat = json!([{ "type": "input_file", "filename": "a.pdf", "file_data": pdf }]);
        let bare = json!([{ "type": "input_file", "filename": "a.pdf", "file_data": "JVBERg==" }]);
        for parts in [chat, flat, bare] {
            let (message, elsewhere) = read_parts(&parts);
            let name = Some("a.pdf".to_owned());
            let file = Attachment { kind: AttachmentKind::File, url: pdf.into(), name };
            assert_eq!(message.attachments, [file]);
            elsewhere.check(false, Some(MESSAGES)).unwrap();
        }
    }

    #[test]
    fn what_a_protocol_has_no_place_for_is_refused_by_the_clients_own_path() {
        let zip =
            json!({ "type": "file", "file": { "file_data": "data:application/zip;base64,AA==" } });
        let sound =
            json!({ "type": "input_audio", "input_audio": { "data": "AA==", "format": "wav" } });
        let address = json!({ "type": "input_file", "file_url": "https://a.example/a.pdf" });
        let stored = json!({ "type": "file", "file": { "file_id": "file-1" } });
        for (part, speaks, field) in [
            (&zip, MESSAGES, "content[0].file.file_data"),
            (&sound, MESSAGES, "content[0].type"),
            (&address, CHAT, "content[0].file_url"),
            (&stored, MESSAGES, "content[0].file.file_id"),
            (&stored, WireProtocol::OpenaiResponses, "content[0].file.file_id"),
        ] {
            let (_, elsewhere) = read_parts(&json!([part]));
            let refused = elsewhere.check(false, Some(speaks)).unwrap_err();
            assert_eq!(refused.field(), Some(field), "{part}");
        }
        for (part, speaks) in [(&zip, CHAT), (&sound, CHAT), (&address, MESSAGES)] {
            read_parts(&json!([part])).1.check(false, Some(speaks)).unwrap();
        }
    }

    #[test]
    fn a_part_that_nobody_else_has_is_kept_as_it_came() {
        let part = r#"{"type":"file","file":{"file_id":"f"},"x":1.0}"#;
        let content: Content = serde_json::from_str(&format!("[{part}]")).unwrap();
        let mut elsewhere = Elsewhere::default();
        let message = content.read(CHAT, "c", &mut elsewhere).unwrap().message(Role::User);
        assert_eq!((message.content.as_str(), message.own[0].data.text()), ("[file]", part));
    }
}
