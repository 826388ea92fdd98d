//! The documents are true. Every route and every frame is in them, and the server's answers match
//! them. `scripts/setup test` installs the programs from PyPI that try it.
mod real;
mod routes;
mod tried;

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::TestApp;

fn installed(name: &str) -> PathBuf {
    let path = crate::program::root().join(".openapi/python/bin").join(name);
    let how = "run `scripts/setup test`, which installs it and says why it cannot";
    assert!(path.exists(), "{} is not there: {how}", path.display());
    path
}

async fn document(app: &TestApp, path: &str) -> Value {
    let response = app.client.get(path).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}

/// The text of a source.
fn source(path: &str) -> String {
    std::fs::read_to_string(crate::program::root().join("src").join(path)).unwrap()
}
