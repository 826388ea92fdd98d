//! `schemathesis` (PyPI) makes requests from the document, good and bad, and holds the answers
//! against it.
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::installed;
use crate::harness::TestApp;

/// Half a minute on a quiet machine.
const MOST: Duration = Duration::from_secs(300);

/// Answers that no request may get, and answers that are not described.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_schema_conformance,response_headers_conformance,unsupported_method,use_after_free";

#[tokio::test(flavor = "multi_thread")]
async fn no_request_made_from_the_document_is_answered_otherwise() {
    let app = TestApp::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(installed("schemathesis"));
    command.current_dir(dir.path()).env("NO_COLOR", "1");
    command.args(["run", &format!("{}/openapi.json", app.client.base)]);
    // The same requests each time, and few: a longer run is for people (CONTRIBUTING.md).
    command.args(["--seed", "1", "--max-examples", "4", "--generation-deterministic"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--checks", CHECKS]);
    command.args(["--request-timeout", "10", "--warnings", "off", "--no-shrink"]);
    // A socket is no request and answer, and the operator's stream has no end.
    for path in ["/v1/ws", "/api/chat/ws", "/v1/admin/events"] {
        command.args(["--exclude-path", path]);
    }
    command.args(["--exclude-operation-id", "openResponsesSocket"]);
    command.args(["--suppress-health-check", "all"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let out = timeout(MOST, command.output()).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    app.stop().await;
}
