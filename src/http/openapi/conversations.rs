//! `/v1/conversations` and below, and shared links.
use serde_json::json;

use super::generations::{cursor, flag, most_bytes, page, seq};
use super::operation::{Operation, Row};
use crate::http::protocols::native::conversation::MESSAGES;
use crate::http::protocols::native::conversations::SHORT;
use crate::http::protocols::native::shares::BODY as LINK_BODY;

const TAG: &str = "conversations";
const HERE: &str = "the conversation";

pub(super) fn operations() -> Vec<Row> {
    let [list, create] = many();
    let [get, change, post, delete] = one();
    let [items, add, item, take] = self::items();
    let [share, revoke, shared, follow] = links();
    vec![
        ("get", "/v1/conversations", list),
        ("post", "/v1/conversations", create),
        ("get", "/v1/conversations/{id}", get),
        ("patch", "/v1/conversations/{id}", change),
        ("post", "/v1/conversations/{id}", post),
        ("delete", "/v1/conversations/{id}", delete),
        ("get", "/v1/conversations/{id}/items", items),
        ("post", "/v1/conversations/{id}/items", add),
        ("get", "/v1/conversations/{id}/items/{item}", item),
        ("delete", "/v1/conversations/{id}/items/{item}", take),
        ("get", "/v1/conversations/{id}/messages", messages()),
        ("post", "/v1/conversations/{id}/shares", share),
        ("delete", "/v1/conversations/{id}/shares", revoke),
        ("get", "/v1/shared/{token}", shared),
        ("get", "/v1/shared/{token}/events", follow),
    ]
}

fn many() -> [Operation; 2] {
    let search = json!({ "type": "string", "maxLength": SHORT });
    let key = json!({ "type": "string", "pattern": "^[!-~]{1,255}$" });
    [
        Operation::new(TAG, "listConversations", "Conversations, the most recently updated first")
            .query("q", search, "words of titles and messages; the last may be a beginning")
            .query("limit", page(), "the most to show")
            .query("cursor", cursor(), "`next_cursor` of the page before")
            .answers(200, "a page", "ConversationList")
            .refuses(400, &["invalid_cursor"])
            .refuses(422, &["out_of_range", "invalid_character"]),
        Operation::new(TAG, "openConversation", "Open a conversation")
            .header("Idempotency-Key", key, "a repeat with the same key opens no second one")
            .body("NewConversation", json!({ "title": "Colours" }), most_bytes())
            .answers(201, "it is there", "Conversation")
            .answers(200, "it had been opened before by this key", "Conversation")
            .tells(201, &[("Location", HERE)])
            .tells(200, &[("Location", HERE), ("Idempotency-Replayed", "`true`")])
            .refuses(400, &["invalid_idempotency_key"])
            .refuses(422, &["prompt_empty", "prompt_too_long", "metadata_too_large"])
            .refuses(422, &["idempotency_key_reused"]),
    ]
}

fn one() -> [Operation; 4] {
    let change = |id: &str, summary: &str| {
        Operation::new(TAG, id, summary)
            .says("What is absent stays, `null` takes away.")
            .id(HERE)
            .body("ConversationChange", json!({ "title": "Colours" }), most_bytes())
            .answers(200, "as it is now", "Conversation")
            .refuses(422, &["prompt_empty", "prompt_too_long", "metadata_too_large"])
    };
    [
        Operation::new(TAG, "getConversation", "A conversation as it stands").id(HERE).answers(
            200,
            HERE,
            "Conversation",
        ),
        change("changeConversation", "Change a conversation"),
        change("updateConversation", "The same, as OpenAI's SDKs ask for it"),
        Operation::new(TAG, "deleteConversation", "Erase it with messages, generations and links")
            .id(HERE)
            .answers(200, "it is gone", "Object")
            .refuses(409, &["generation_running"]),
    ]
}

/// OpenAI's items.
fn items() -> [Operation; 4] {
    let example = json!({ "items": [{ "type": "message", "role": "user", "content": "hi" }] });
    let new = |id: &str, summary: &str| Operation::new(TAG, id, summary).id(HERE);
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 20 });
    [
        new("listItems", "The active branch as OpenAI's items")
            .query("order", super::schemas::words(["asc", "desc"]), "`desc`: the newest first")
            .query("limit", limit, "the most to show")
            .query("after", json!({ "type": "string" }), "behind the item of this id")
            .answers(200, "a page", "Object"),
        new("addItems", "Add items at the end of the active branch")
            .body("Object", example, most_bytes())
            .answers(200, "the new items", "Object")
            .refuses(409, &["generation_running"])
            .refuses(422, &["prompt_empty", "prompt_too_long"]),
        new("getItem", "One item").place("item", "its id").answers(200, "the item", "Object"),
        new("deleteItem", "Take an item out")
            .place("item", "its id")
            .answers(200, "the conversation", "Conversation")
            .refuses(409, &["generation_running"]),
    ]
}

fn messages() -> Operation {
    let most = json!({ "type": "integer", "minimum": 1, "maximum": MESSAGES, "default": MESSAGES });
    Operation::new(TAG, "listMessages", "The messages of a branch, or all")
        .says("Root to leaf, the newest `limit` of them; all of them each behind its parent.")
        .id(HERE)
        .query(
            "leaf",
            json!({ "type": "string", "format": "uuid" }),
            "of the branch that ends there",
        )
        .query("all", flag(), "the whole tree; not with `leaf`")
        .query("limit", most, "the most to show")
        .query("cursor", cursor(), "`next_cursor` of the page before: older messages")
        .answers(200, "the messages", "MessageList")
        .refuses(400, &["invalid_cursor"])
        .refuses(422, &["out_of_range"])
}

fn links() -> [Operation; 4] {
    [
        Operation::new(
            TAG,
            "shareConversation",
            "A read-only link to the active branch and the answer that is being made there",
        )
        .says("With `later_turns` it also shows the turns that are asked below it afterwards.")
        .id(HERE)
        .body("NewShare", json!({ "later_turns": true }), LINK_BODY)
        .body_may_be_absent()
        .answers(201, "shown once", "Share")
        .refuses(409, &["nothing_said"]),
        Operation::new(TAG, "revokeShares", "Make every link worthless")
            .id(HERE)
            .empty(204, "done"),
        Operation::public(TAG, "readShared", "What a link leads to")
            .place("token", "of the link: its own credential")
            .answers(200, "the branch", "Shared")
            .refuses(500, &["internal"])
            .refuses(503, &["storage_unavailable"]),
        Operation::public(TAG, "followShared", "The answer of a link, live")
            .says("The events of the answer that was being made when the link was made, without what is not for its bearers: ids, notices' words, usage, errors' words. With `turn`, of a link that shows later turns, those of the answer that the branch ends with; behind its end the stream waits until the branch has another end.")
            .place("token", "of the link: its own credential")
            .header("Last-Event-ID", seq(), "the cursor; wins over `after`")
            .query("after", seq(), "the cursor: the seq of the last event that was applied")
            .query("lastEventId", seq(), "the header's place in polyfills; wins over `after`")
            .query("turn", json!({ "type": "string" }), "`turn` of the branch as it was read; ignored where the link shows no later turns")
            .query("coalesce", flag(), "joins neighbouring texts of the backlog")
            .streams(200, "the events; ends early when the link is revoked, or the branch has another end than `turn`")
            .empty(204, "nothing will come: there is no such answer, the cursor is at its end, or the branch has another end than `turn`")
            .refuses(400, &["invalid_cursor"])
            .refuses(406, &["not_acceptable"])
            .refuses(429, &["too_many_viewers"])
            .refuses(500, &["internal"])
            .refuses(503, &["storage_unavailable"]),
    ]
}
