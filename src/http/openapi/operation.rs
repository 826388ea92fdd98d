//! One operation of the document, from what it takes and what it answers.
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Method, path, operation.
pub(super) type Row = (&'static str, &'static str, Operation);

/// In whose words an operation refuses.
#[derive(Clone, Copy)]
enum Words {
    Problem,
    OpenAi,
    Anthropic,
}

/// An operation that is being described.
pub(super) struct Operation {
    object: Map<String, Value>,
    parameters: Vec<Value>,
    responses: BTreeMap<u16, Value>,
    refusals: BTreeMap<u16, Vec<&'static str>>,
    words: Words,
}

impl Operation {
    /// One that anybody may ask for.
    pub(super) fn public(tag: &str, id: &str, summary: &str) -> Self {
        let mut operation = Self::bare(tag, id, summary);
        operation.object.insert("security".into(), json!([]));
        operation.refuses(400, &["credentials_in_url"]).refuses(403, &["csrf_failed"])
    }

    /// One that needs to know who asks.
    pub(super) fn new(tag: &str, id: &str, summary: &str) -> Self {
        Self::bare(tag, id, summary)
            .refuses(400, &["credentials_in_url"])
            .refuses(401, &["unauthenticated", "invalid_api_key", "key_expired", "key_revoked"])
            .refuses(403, &["insufficient_scope", "csrf_failed", "origin_not_allowed"])
            .refuses(403, &["host_not_allowed"])
            .refuses(429, &["rate_limited"])
            .refuses(500, &["internal"])
            .refuses(503, &["storage_unavailable", "overloaded", "draining"])
    }

    fn bare(tag: &str, id: &str, summary: &str) -> Self {
        let object = json!({ "tags": [tag], "operationId": id, "summary": summary });
        let object = object.as_object().cloned().unwrap_or_default();
        let (responses, refusals) = (BTreeMap::new(), BTreeMap::new());
        Self { object, parameters: Vec::new(), responses, refusals, words: Words::Problem }
    }

    /// Refuses in OpenAI's shape.
    pub(super) fn openai_errors(mut self) -> Self {
        self.words = Words::OpenAi;
        self
    }

    /// Refuses in Anthropic's shape.
    pub(super) fn anthropic_errors(mut self) -> Self {
        self.words = Words::Anthropic;
        // Its own status for too much to do.
        self.refuses(529, &["overloaded", "draining"])
    }

    /// Adds to the description.
    pub(super) fn says(mut self, text: &str) -> Self {
        self.object.insert("description".into(), text.into());
        self
    }

    fn takes(mut self, place: &str, name: &str, schema: Value, text: &str) -> Self {
        self.parameters.push(json!({
            "name": name, "in": place, "required": place == "path", "schema": schema, "description": text,
        }));
        self
    }

    /// An id in the path; what is unknown, malformed or somebody else's is 404.
    pub(super) fn id(self, text: &str) -> Self {
        let schema = json!({ "type": "string", "minLength": 1 });
        self.takes("path", "id", schema, text).refuses(404, &["not_found"])
    }

    /// Another name in the path.
    pub(super) fn place(self, name: &str, text: &str) -> Self {
        let schema = json!({ "type": "string", "minLength": 1 });
        self.takes("path", name, schema, text).refuses(404, &["not_found"])
    }

    /// A parameter of the query.
    pub(super) fn query(self, name: &str, schema: Value, text: &str) -> Self {
        self.takes("query", name, schema, text).refuses(400, &["invalid_query"])
    }

    /// A header.
    pub(super) fn header(self, name: &str, schema: Value, text: &str) -> Self {
        self.takes("header", name, schema, text)
    }

    /// A JSON body of at most so many bytes.
    pub(super) fn body(mut self, schema: &str, example: Value, bytes: usize) -> Self {
        self.object.insert(
            "requestBody".into(),
            json!({
                "required": true,
                "description": format!("at most {bytes} bytes with the usual limits"),
                "content": { "application/json": { "schema": reference(schema), "example": example } },
            }),
        );
        self.refuses(400, &["invalid_json", "invalid_body"])
            .refuses(408, &["request_timeout"])
            .refuses(413, &["payload_too_large"])
            .refuses(415, &["unsupported_media_type", "unsupported_content_encoding"])
            .refuses(422, &["missing_field", "unknown_field", "invalid_type", "unsupported_value"])
            .refuses(422, &["out_of_range", "invalid_character"])
    }

    /// The same without a body is a request, too.
    pub(super) fn body_may_be_absent(mut self) -> Self {
        if let Some(body) = self.object.get_mut("requestBody") {
            body["required"] = false.into();
        }
        self
    }

    /// A body of at most so many bytes that is no JSON.
    pub(super) fn file(mut self, text: &str, bytes: usize) -> Self {
        let schema = json!({ "type": "string", "format": "binary" });
        self.object.insert(
            "requestBody".into(),
            json!({
                "required": true,
                "description": format!("{text}, of at most {bytes} bytes"),
                "content": { "application/octet-stream": { "schema": schema } },
            }),
        );
        self.refuses(400, &["invalid_body"])
            .refuses(408, &["request_timeout"])
            .refuses(413, &["payload_too_large"])
            .refuses(415, &["unsupported_content_encoding"])
    }

    /// An answer in JSON.
    pub(super) fn answers(self, status: u16, text: &str, schema: &str) -> Self {
        self.with(status, text, "application/json", reference(schema))
    }

    /// An answer without a body.
    pub(super) fn empty(mut self, status: u16, text: &str) -> Self {
        self.responses.insert(status, json!({ "description": text }));
        self
    }

    /// An answer of another type; a status may have several.
    pub(super) fn with(mut self, status: u16, text: &str, kind: &str, schema: Value) -> Self {
        let response = self
            .responses
            .entry(status)
            .or_insert_with(|| json!({ "description": text, "content": {} }));
        response["content"][kind] = json!({ "schema": schema });
        self
    }

    /// An answer that is an event stream of ours.
    pub(super) fn streams(self, status: u16, text: &str) -> Self {
        self.frames(
            status,
            text,
            json!({
                "type": "string",
                "description": "one Event",
                "contentMediaType": "application/json",
                "contentSchema": reference("Event"),
            }),
        )
    }

    /// An event stream whose frames have such `data`; the schema is that of one frame.
    pub(super) fn frames(self, status: u16, text: &str, data: Value) -> Self {
        let string = || json!({ "type": "string" });
        let frame = json!({
            "type": "object",
            "description": "Server-Sent Events, of which this is one",
            "properties": { "id": string(), "event": string(), "data": data },
        });
        self.with(status, text, "text/event-stream", frame)
    }

    /// Headers of an answer, each with its meaning.
    pub(super) fn tells(mut self, status: u16, headers: &[(&str, &str)]) -> Self {
        if let Some(response) = self.responses.get_mut(&status) {
            for (name, text) in headers {
                response["headers"][*name] =
                    json!({ "description": text, "schema": { "type": "string" } });
            }
        }
        self
    }

    /// Codes of refusals with this status.
    pub(super) fn refuses(mut self, status: u16, codes: &[&'static str]) -> Self {
        let all = self.refusals.entry(status).or_default();
        // JSON Schema wants the words of an `enum` to be unique.
        all.extend(codes.iter().filter(|code| !all.contains(code)).collect::<Vec<_>>());
        self
    }

    /// The object of the document.
    pub(super) fn build(mut self) -> Value {
        let words = self.words;
        match words {
            Words::Problem => {}
            // There, every fault of a request is 400.
            Words::OpenAi | Words::Anthropic => {
                let codes = self.refusals.remove(&422).unwrap_or_default();
                self = self.refuses(400, &codes);
            }
        }
        for (status, codes) in &self.refusals {
            let refusal = refusal(words, *status, codes);
            match self.responses.get_mut(status) {
                // Such as 503 of a readiness check.
                Some(response) => {
                    response["content"]["application/problem+json"] =
                        refusal["content"]["application/problem+json"].clone()
                }
                None => {
                    self.responses.insert(*status, refusal);
                }
            }
        }
        if !self.parameters.is_empty() {
            self.object.insert("parameters".into(), self.parameters.into());
        }
        let responses: Map<String, Value> =
            self.responses.into_iter().map(|(status, value)| (status.to_string(), value)).collect();
        self.object.insert("responses".into(), responses.into());
        self.object.into()
    }
}

fn refusal(words: Words, status: u16, told: &[&str]) -> Value {
    // Some are told by the routes' own words and by what all routes have.
    let mut codes: Vec<&str> = Vec::new();
    for code in told {
        if !codes.contains(code) {
            codes.push(code);
        }
    }
    let (kind, schema) = match words {
        Words::Problem => {
            let code = json!({ "enum": codes });
            let mut schema = reference("Problem");
            schema["properties"] = json!({ "code": code, "status": { "const": status } });
            ("application/problem+json", schema)
        }
        Words::OpenAi => ("application/json", reference("OpenAiError")),
        Words::Anthropic => ("application/json", reference("AnthropicError")),
    };
    let list: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let mut refusal = json!({
        "description": list.join(", "),
        "content": { kind: { "schema": schema } },
    });
    if matches!(status, 429 | 503) {
        refusal["headers"]["Retry-After"] = json!({
            "description": "seconds to wait", "schema": { "type": "integer", "minimum": 1 },
        });
    }
    if status == 401 {
        refusal["headers"]["WWW-Authenticate"] =
            json!({ "description": "Bearer", "schema": { "type": "string" } });
    }
    refusal
}

/// A schema of the components by its name.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
