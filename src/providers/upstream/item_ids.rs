//! Ids of output items that a client sends back. Ours hold those that the upstream gave: what it
//! says of an item, such as encrypted thoughts, it says of its own id.
use serde_json::value::RawValue;

use super::json_body::Object;

/// Fields of an item that hold the id of one.
const IDS: [&str; 2] = ["id", "approval_request_id"];

/// Writes the upstream's own ids into the input.
pub(crate) fn restore(body: &mut Object) {
    let Some(items) = body.read::<Vec<Box<RawValue>>>("input") else { return };
    let mut changed = false;
    let restored: Vec<Object> = items
        .iter()
        .map(|item| {
            let mut item: Object = serde_json::from_str(item.get()).unwrap_or_default();
            for name in IDS {
                let theirs = item.read::<String>(name).and_then(|id| theirs(&id));
                if let Some(id) = theirs {
                    item.set(name, &id);
                    changed = true;
                }
            }
            item
        })
        .collect();
    if changed {
        body.set("input", &restored);
    }
}

/// The id that the upstream gave, in `<kind>_<generation>_<index>_<rest>`.
fn theirs(id: &str) -> Option<String> {
    let mut parts = id.splitn(4, '_');
    let (kind, of, index, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_generation = of.len() == 32 && of.bytes().all(|b| b.is_ascii_hexdigit());
    let is_index = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
    let is_kind = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase());
    (is_generation && is_index && is_kind).then(|| format!("{kind}_{rest}"))
}

#[cfg(test)]
mod tests {
    use crate::providers::upstream::item_ids::*;

    #[test]
    fn only_our_ids_are_changed() {
        let of = "0123456789abcdef0123456789abcdef";
        let input = format!(
            r#"[{{"type":"reasoning","id":"rs_{of}_0_68af_1","encrypted_content":"x"}},{{"role":"user","content":"q"}},{{"type":"mcp_approval_response","approval_request_id":"mcpr_{of}_2_9","approve":true}},{{"type":"message","id":"msg_{of}_1","n":1.0}}]"#
        );
        let mut body = Object::parse(&format!(r#"{{"input":{input}}}"#)).unwrap();
        restore(&mut body);
        let expected = input
            .replace(&format!("rs_{of}_0_68af_1"), "rs_68af_1")
            .replace(&format!("mcpr_{of}_2_9"), "mcpr_9");
        assert_eq!(body.get("input"), Some(expected.as_str()), "the rest byte for byte");
        let spaced = r#"{"input":[ {"id": "rs_1"} ]}"#;
        let mut body = Object::parse(spaced).unwrap();
        restore(&mut body);
        assert_eq!(serde_json::to_string(&body).unwrap(), spaced, "nothing is written anew");
    }
}
