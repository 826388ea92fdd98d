//! Lists of items, a page at a time: what a response was asked, and what a conversation has.
use actix_web::web;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::problem::Problem;

/// Items of a page, unless the client wants another number.
const USUAL: usize = 20;
/// The most items of a page.
const MOST: usize = 100;

/// Others are ignored: SDKs add `include`.
#[derive(Debug, Default, Deserialize)]
struct Wire {
    order: Option<String>,
    limit: Option<String>,
    after: Option<String>,
}

/// The page of `items`, oldest first, that a query asks for: the newest first unless it says so.
///
/// # Errors
/// 400 for an order, a limit or an id that does not exist.
pub(crate) fn page(query: &str, mut items: Vec<Value>) -> Result<Value, Problem> {
    let Wire { order, limit, after } = web::Query::<Wire>::from_query(query)
        .map_err(|e| Problem::bad_request("invalid_query", e.to_string()))?
        .into_inner();
    match order.as_deref() {
        Some("asc") => {}
        None | Some("desc") => items.reverse(),
        Some(_) => return Err(wrong("order", "`order` is `asc` or `desc`")),
    }
    let limit = match limit.map(|limit| limit.parse::<usize>()) {
        None => USUAL,
        Some(Ok(limit)) if (1..=MOST).contains(&limit) => limit,
        Some(_) => return Err(wrong("limit", &format!("`limit` is a number from 1 to {MOST}"))),
    };
    let from = match after {
        None => 0,
        Some(after) => {
            let place = items.iter().position(|item| item["id"] == after.as_str());
            let unknown = || wrong("after", "`after` is the id of one of these items");
            place.ok_or_else(unknown)? + 1
        }
    };
    let has_more = items.len() > from + limit;
    Ok(list(items.into_iter().skip(from).take(limit).collect(), has_more))
}

/// A list of items.
pub(crate) fn list(data: Vec<Value>, has_more: bool) -> Value {
    let id = |item: Option<&Value>| item.map(|item| item["id"].clone());
    json!({
        "object": "list", "first_id": id(data.first()), "last_id": id(data.last()),
        "has_more": has_more, "data": data,
    })
}

fn wrong(field: &str, detail: &str) -> Problem {
    Problem::bad_request("invalid_query", detail).with("field", field)
}

#[cfg(test)]
mod tests {
    use crate::http::protocols::openai_responses::items::*;

    fn ids(query: &str) -> (Vec<String>, bool) {
        let items = (0..45).map(|n| json!({ "id": format!("in_{n}") })).collect();
        let page = page(query, items).unwrap();
        let ids = page["data"].as_array().unwrap().iter();
        let ids: Vec<String> = ids.map(|item| item["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(page["first_id"].as_str(), ids.first().map(String::as_str));
        assert_eq!(page["last_id"].as_str(), ids.last().map(String::as_str));
        (ids, page["has_more"] == true)
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let (first, more) = ids("");
        assert_eq!((first.len(), first[0].as_str(), more), (20, "in_44", true));
        assert_eq!(ids("order=asc&limit=2").0, ["in_0", "in_1"]);
        assert_eq!(ids("order=asc&limit=2&after=in_1").0, ["in_2", "in_3"]);
        assert_eq!(ids("after=in_1"), (vec!["in_0".to_owned()], false));
        assert_eq!(ids("after=in_0"), (Vec::new(), false), "and not the same again");
        assert!(!ids("limit=45").1);
        for (query, field) in [
            ("order=up", "order"),
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("after=x", "after"),
        ] {
            assert_eq!(page(query, Vec::new()).unwrap_err().field(), Some(field), "{query}");
        }
    }
}
