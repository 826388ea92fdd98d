//! The ids that OpenAI's clients see: ours with a prefix.
use uuid::Uuid;

use crate::domain::id::GenerationId;

/// The id without hyphens, as OpenAI's look.
pub(in crate::http) fn short(id: GenerationId) -> String {
    id.0.simple().to_string()
}

/// `resp_…`.
pub(crate) fn response_id(id: GenerationId) -> String {
    format!("resp_{}", short(id))
}

/// `chatcmpl-…`.
pub(crate) fn completion_id(id: GenerationId) -> String {
    format!("chatcmpl-{id}")
}

/// `cmpl-…`.
pub(crate) fn text_completion_id(id: GenerationId) -> String {
    format!("cmpl-{id}")
}

/// The id of an output item. The item's id at an upstream of the same protocol is in it. Encrypted
/// thoughts and other facts about the item belong to that id.
pub(crate) fn item_id(prefix: &str, of: &str, index: usize, theirs: Option<&str>) -> String {
    let plain = |id: &&str| id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic());
    match theirs.filter(plain).and_then(|id| id.split_once('_')) {
        Some((kind, rest)) if kind.bytes().all(|b| b.is_ascii_lowercase()) && !kind.is_empty() => {
            format!("{kind}_{of}_{index}_{rest}")
        }
        Some(_) | None => format!("{prefix}_{of}_{index}"),
    }
}

/// The generation of an item's id, see [`item_id`].
pub(crate) fn item_of(id: &str) -> Option<GenerationId> {
    let (kind, rest) = id.split_once('_')?;
    let (of, index) = rest.split_once('_')?;
    let number = index.split('_').next()?;
    let is_ours = kind.bytes().all(|b| b.is_ascii_lowercase())
        && kind != "in"
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit());
    is_ours.then(|| parse(&format!("{kind}_"), &format!("{kind}_{of}"))).flatten()
}

/// The generation of an id with `prefix`, with hyphens or without.
pub(in crate::http) fn parse(prefix: &str, text: &str) -> Option<GenerationId> {
    let id = text.strip_prefix(prefix)?;
    matches!(id.len(), 32 | 36).then(|| Uuid::try_parse(id).ok().map(GenerationId)).flatten()
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::openai::ids::*;

    #[test]
    fn an_items_id_holds_its_generation() {
        let of = short(GenerationId(Uuid::from_u128(7)));
        for theirs in [None, Some("rs_68af"), Some("mcpr_1_2"), Some("plain"), Some("_x")] {
            let id = item_id("rs", &of, 12, theirs);
            assert_eq!(item_of(&id), Some(GenerationId(Uuid::from_u128(7))), "{id}");
        }
        assert_eq!(item_id("rs", &of, 3, Some("ws_ab_c")), format!("ws_{of}_3_ab_c"));
        let others = [format!("in_{of}_1"), format!("rs_{of}"), format!("rs_{of}_x"), of];
        for id in ["", "msg", "msg_1_2", "msg_é_1", "msg__1"]
            .iter()
            .map(ToString::to_string)
            .chain(others)
        {
            assert_eq!(item_of(&id), None, "{id}");
        }
    }

    #[test]
    fn an_id_round_trips_and_others_are_none() {
        let id = GenerationId(Uuid::from_u128(7));
        assert_eq!(parse("resp_", &response_id(id)), Some(id));
        assert_eq!(parse("chatcmpl-", &completion_id(id)), Some(id));
        assert_eq!(parse("resp_", &format!("resp_{id}")), Some(id));
        for wrong in ["", "resp_", "resp_1", "chatcmpl-1", &id.to_string(), "resp_{}"] {
            assert_eq!(parse("resp_", wrong), None, "{wrong}");
        }
    }
}
