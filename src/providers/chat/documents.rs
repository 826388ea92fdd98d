//! Files as documents of the Messages API: PDF, and texts.
use serde_json::{Value, json};

use super::tools;
use crate::domain::prompt::{Attachment, AttachmentKind};

/// The source of a document; `None` for a sound, and for a file that the API does not take.
pub(crate) fn source(attachment: &Attachment) -> Option<Value> {
    if attachment.kind == AttachmentKind::Audio {
        return None;
    }
    match attachment.inline() {
        None | Some(("application/pdf", _)) => Some(tools::source(&attachment.url)),
        Some((kind, data)) if kind.starts_with("text/") => {
            let text = String::from_utf8_lossy(&decoded(data)?).into_owned();
            Some(json!({ "type": "text", "media_type": "text/plain", "data": text }))
        }
        Some(_) => None,
    }
}

/// The bytes of a base64 text, in its usual or its URL-safe alphabet; `None` if it is none.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use crate::providers::chat::documents::*;

    fn document(url: &str) -> Option<Value> {
        source(&Attachment { kind: AttachmentKind::File, url: url.into(), name: None })
    }

    #[test]
    fn pdf_goes_as_it_is_and_a_text_as_text() {
        let pdf = json!({ "type": "base64", "media_type": "application/pdf", "data": "JVBERg==" });
        assert_eq!(document("data:application/pdf;base64,JVBERg=="), Some(pdf));
        let text = |said: &str| json!({ "type": "text", "media_type": "text/plain", "data": said });
        assert_eq!(document("data:text/plain;base64,R3LDvMOfZQ=="), Some(text("Gr\u{fc}\u{df}e")));
        assert_eq!(document("data:text/markdown;base64,YQ"), Some(text("a")));
        assert_eq!(document("data:text/plain;base64,?"), None);
        assert_eq!(document("data:application/zip;base64,AA=="), None);
        let url = json!({ "type": "url", "url": "https://a.example/a.pdf" });
        assert_eq!(document("https://a.example/a.pdf"), Some(url));
    }
}
