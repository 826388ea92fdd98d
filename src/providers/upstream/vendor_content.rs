//! Encrypted content of a vendor: it goes out with a mark of the server that made it, and back to
//! that server only. Others could not read it, and would refuse the whole request.
use futures_util::StreamExt;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};

use super::json_body::Object;
use crate::domain::extra::{Extra, Fields};
use crate::domain::left_out::COMPACTED;
use crate::ports::{Delta, Deltas};

/// How marked content begins.
const MARK: &str = "lastword-v1.";
/// How all content begins that some version of lastword has written. During a rolling deploy a
/// newer one runs beside this one, and no model's server can read what is its own.
const OURS: &str = "lastword-";
const FIELD: &str = "encrypted_content";

/// The mark of a server, by the host and port of its URL.
pub(crate) fn mark(base_url: &str) -> String {
    let authority = base_url.split("://").nth(1).unwrap_or(base_url);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let digest = Sha256::digest(authority.to_ascii_lowercase().as_bytes());
    let hex = digest.iter().take(8).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("{MARK}{hex}.")
}

/// The deltas with `mark` before all content that their server has encrypted.
pub(crate) fn marked(deltas: Deltas, mark: String) -> Deltas {
    let with_mark = move |delta| match delta {
        Delta::Extra(extra) => Delta::Extra(extra_with(extra, &mark)),
        Delta::Text(_)
        | Delta::Reasoning(_)
        | Delta::Refusal(_)
        | Delta::ToolCall(_)
        | Delta::Usage(_)
        | Delta::Background(_)
        | Delta::Repeated(_)
        | Delta::AskedAgain
        | Delta::Forgotten
        | Delta::Notice { .. }
        | Delta::Finish { .. } => delta,
    };
    deltas.map(move |item| item.map(&with_mark)).boxed()
}

fn extra_with(extra: Extra, mark: &str) -> Extra {
    if !extra.data.text().contains(FIELD) {
        return extra;
    }
    let mut event = Fields::of(&extra.data);
    let Some(mut item) = event.read::<Fields>("item") else { return extra };
    let theirs: Option<String> = item.read(FIELD);
    let Some(theirs) = theirs.filter(|content| !content.is_empty()) else { return extra };
    let set = |fields: &mut Fields, name: &str, value: Option<Box<RawValue>>| {
        value.into_iter().for_each(|value| fields.set(name.into(), value));
    };
    set(&mut item, FIELD, to_raw_value(&format!("{mark}{theirs}")).ok());
    set(&mut event, "item", to_raw_value(&item).ok());
    let text = serde_json::to_string(&event).unwrap_or_default();
    match serde_json::from_str(&text) {
        Ok(data) => Extra { data, ..extra },
        Err(_) => extra,
    }
}

/// Writes the server's own content into the input. Items that another server has encrypted are
/// left out, and those with a mark that is not known here; their types.
pub(crate) fn restore(body: &mut Object, mark: &str) -> Vec<String> {
    let marked = body.get("input").is_some_and(|input| input.contains(OURS));
    let Some(items) = body.read::<Vec<Object>>("input").filter(|_| marked) else {
        return Vec::new();
    };
    let mut left_out = Vec::new();
    let mut kept = Vec::with_capacity(items.len());
    for mut item in items {
        let content: Option<String> = item.read(FIELD);
        match content.as_deref().filter(|content| content.starts_with(OURS)) {
            None => kept.push(item),
            Some(marked) => match marked.strip_prefix(mark) {
                Some(theirs) => {
                    item.set(FIELD, &theirs);
                    kept.push(item);
                }
                None => left_out.extend(item.read::<String>("type")),
            },
        }
    }
    body.set("input", &kept);
    sorted(left_out)
}

/// The types of the items that somebody else has encrypted: none of them can be written out.
pub(crate) fn encrypted(body: &Object) -> Vec<String> {
    let items: Vec<Object> = body.read("input").unwrap_or_default();
    let is_lost = |item: &&Object| {
        let content: Option<String> = item.read(FIELD);
        content.is_some_and(|content| !content.is_empty() && !content.starts_with(COMPACTED))
    };
    sorted(items.iter().filter(is_lost).filter_map(|item| item.read("type")).collect())
}

fn sorted(mut types: Vec<String>) -> Vec<String> {
    types.sort();
    types.dedup();
    types
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::vendor_content::*;

    #[test]
    fn content_goes_back_to_the_server_that_made_it_only() {
        let ours = mark("https://a.example/v1");
        assert_eq!(ours, mark("https://A.example/other"), "another path, the same server");
        assert_ne!(ours, mark("https://a.example:444/v1"));
        let input = format!(
            r#"[{{"type":"reasoning","id":"rs_1","encrypted_content":"{ours}gAAA"}},{{"type":"compaction","encrypted_content":"theirs"}},{{"role":"user","content":"q"}}]"#
        );
        let own = format!(r#"{{"input":{input}}}"#);
        let mut body = Object::parse(&own).unwrap();
        assert!(restore(&mut body, &ours).is_empty());
        assert_eq!(body.get("input").unwrap(), input.replace(&ours, ""));
        let mut body = Object::parse(&own).unwrap();
        assert_eq!(restore(&mut body, &mark("https://b.example/v1")), ["reasoning"]);
        let left =
            r#"[{"type":"compaction","encrypted_content":"theirs"},{"role":"user","content":"q"}]"#;
        assert_eq!(body.get("input"), Some(left), "content without a mark goes up as it came");
        for newer in ["lastword-v2.0011.Z0FB", "lastword-s9.AAAA"] {
            let own = own.replace("theirs", newer);
            let mut body = Object::parse(&own).unwrap();
            assert_eq!(restore(&mut body, &ours), ["compaction"], "{newer}");
            assert!(!body.get("input").unwrap().contains("lastword-"));
            assert_eq!(encrypted(&Object::parse(&own).unwrap()), ["compaction", "reasoning"]);
        }
        let written = own.replace("theirs", "lastword-1.said").replace("gAAA", "");
        assert_eq!(encrypted(&Object::parse(&written).unwrap()), ["reasoning"]);
        let spaced = r#"{"input": [ {"type":"reasoning"} ]}"#;
        let mut body = Object::parse(spaced).unwrap();
        assert!(restore(&mut body, &ours).is_empty());
        assert_eq!(serde_json::to_string(&body).unwrap(), r#"{"input":[ {"type":"reasoning"} ]}"#);
    }
}
