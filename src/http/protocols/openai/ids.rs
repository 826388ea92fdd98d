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

/// The generation of an id with `prefix`, with hyphens or without.
pub(in crate::http) fn parse(prefix: &str, text: &str) -> Option<GenerationId> {
    let id = text.strip_prefix(prefix)?;
    matches!(id.len(), 32 | 36).then(|| Uuid::try_parse(id).ok().map(GenerationId)).flatten()
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::openai::ids::*;

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
