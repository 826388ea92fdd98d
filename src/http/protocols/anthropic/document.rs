//! Documents, search results and pictures, as what every model can read.
use serde_json::Value;

use crate::domain::prompt::{Attachment, AttachmentKind, Image};

/// A picture's source as a URL; `None` for a file that only its vendor has.
pub(super) fn image(source: &Value) -> Option<Image> {
    let text = |name: &str| source.get(name).and_then(Value::as_str);
    let url = match text("type")? {
        "base64" => format!("data:{};base64,{}", text("media_type")?, text("data")?),
        "url" => text("url")?.to_owned(),
        _ => return None,
    };
    Some(Image { url, detail: None })
}

/// A document with its bytes or its address; `None` for one that only its vendor has.
pub(super) fn file(source: &Value, title: Option<&str>) -> Option<Attachment> {
    let Image { url, .. } = image(source)?;
    let name = title.map(str::to_owned);
    // Others name files by their endings.
    let name =
        name.or_else(|| url.starts_with("data:application/pdf").then(|| "document.pdf".into()));
    Some(Attachment { kind: AttachmentKind::File, url, name })
}

/// The text of a document; `None` for a PDF and what else is not text.
pub(super) fn document(block: &Value) -> Option<String> {
    let source = block.get("source")?;
    let said = match source.get("type")?.as_str()? {
        "text" => source.get("data")?.as_str()?.to_owned(),
        "content" => texts(source.get("content")?)?,
        _ => return None,
    };
    let heads = ["title", "context"].into_iter().filter_map(|name| block.get(name)?.as_str());
    Some(heads.chain([said.as_str()]).collect::<Vec<_>>().join("\n"))
}

/// The text of a search result, below its title and where it is from.
pub(super) fn search_result(block: &Value) -> Option<String> {
    let heads = ["title", "source"].into_iter().filter_map(|name| block.get(name)?.as_str());
    let said = texts(block.get("content")?)?;
    Some(heads.chain([said.as_str()]).collect::<Vec<_>>().join("\n"))
}

/// A text, or text blocks and nothing else.
fn texts(content: &Value) -> Option<String> {
    if let Some(text) = content.as_str() {
        return Some(text.to_owned());
    }
    let texts: Option<Vec<&str>> = content
        .as_array()?
        .iter()
        .map(|block| (block.get("type")? == "text").then(|| block.get("text")?.as_str())?)
        .collect();
    Some(texts?.join("\n"))
}
