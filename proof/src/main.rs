//! The program of the library.
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    streamproof::main().await
}
