//! The operators' requests about all tenants.
use serde_json::{Value, json};

use super::operation::{Operation, Row, reference};
use super::schemas::{Named, boolean, count, id, list, object, or_null, status, string, time};
use crate::engine::MOMENTS;

const ADMIN: &str = "admin";
const SCOPE: &str = "Needs the scope `admin`.";

pub(super) fn operations() -> Vec<Row> {
    let overview = json!({
        "type": "string",
        "description": "one Overview, every second",
        "contentMediaType": "application/json",
        "contentSchema": reference("Overview"),
    });
    vec![
        (
            "get",
            "/v1/admin/overview",
            Operation::new(ADMIN, "overview", "Instances, and what runs on them")
                .says(SCOPE)
                .answers(200, "the state of things, at most a second old", "Overview"),
        ),
        (
            "get",
            "/v1/admin/events",
            Operation::new(ADMIN, "overviews", "The same every second")
                .says(SCOPE)
                .frames(200, "until the server stops", overview)
                .refuses(406, &["not_acceptable"]),
        ),
        (
            "get",
            "/v1/admin/generations/{id}/timeline",
            Operation::new(
                ADMIN,
                "timeline",
                "When the events of any tenant's generation were stored",
            )
            .says("Needs the scope `admin`. Nothing of what was asked or said.")
            .id("of the generation")
            .query(
                "after",
                count(),
                &format!(
                    "the first {MOMENTS} events behind this one; without it the last {MOMENTS}"
                ),
            )
            .answers(200, "its events without their texts", "Timeline")
            .refuses(400, &["invalid_cursor"])
            .refuses(404, &["not_found"]),
        ),
        (
            "post",
            "/v1/admin/generations/{id}/cancel",
            Operation::new(ADMIN, "cancelAny", "Cancel any tenant's generation")
                .says(SCOPE)
                .id("of the generation")
                .answers(200, "it has ended", "AdminReceipt")
                .answers(202, "it is ending", "AdminReceipt")
                .refuses(404, &["not_found"]),
        ),
    ]
}

pub(super) fn schemas() -> Vec<Named> {
    let number = || json!({ "type": "number" });
    let counts = || json!({ "type": "object", "additionalProperties": { "type": "integer" } });
    let here = object(
        [
            ("running", count()),
            ("readers", count()),
            ("sockets", count()),
            ("appended_per_s", number()),
            ("delivered_per_s", number()),
            ("lag_p50_ms", or_null(number())),
            ("lag_p99_ms", or_null(number())),
            ("ended", counts()),
        ],
        [],
    );
    let fleet = object(
        [
            ("instances", list(reference("Instance"))),
            ("unfinished", counts()),
            ("generations", list(reference("Unfinished"))),
        ],
        [],
    );
    let overview = object(
        [
            ("at", time()),
            ("version", string()),
            ("instance", id()),
            ("here", here),
            ("fleet", or_null(fleet)),
        ],
        [],
    );
    vec![
        ("Overview".into(), overview),
        ("Instance".into(), instance()),
        ("Unfinished".into(), unfinished()),
        ("Timeline".into(), timeline()),
        (
            "AdminReceipt".into(),
            object(
                [
                    ("id", id()),
                    ("status", status()),
                    ("cancelled", boolean()),
                    ("last_seq", count()),
                    ("usage", or_null(reference("Usage"))),
                ],
                [],
            ),
        ),
    ]
}

fn instance() -> Value {
    let left = json!({ "type": "integer", "description": "negative since others may take over" });
    object(
        [
            ("id", id()),
            ("started_at", time()),
            ("lease_left_ms", left),
            ("leaving", boolean()),
            ("generations", count()),
        ],
        [],
    )
}

fn unfinished() -> Value {
    object(
        [
            ("id", id()),
            ("tenant", string()),
            ("status", status()),
            ("model", string()),
            ("provider", string()),
            ("owner", id()),
            ("epoch", count()),
            ("created_at", time()),
        ],
        [],
    )
}

fn timeline() -> Value {
    let moment = object(
        [
            ("seq", count()),
            ("type", string()),
            ("at_ms", json!({ "type": "number", "description": "since the first event" })),
            ("bytes", count()),
            ("epoch", count()),
        ],
        [],
    );
    object(
        [
            ("id", id()),
            ("tenant", string()),
            ("model", string()),
            ("provider", string()),
            ("status", status()),
            ("created_at", time()),
            ("last_seq", count()),
            ("data", list(moment)),
        ],
        [],
    )
}
