//! The peers, each in the form that its makers publish; `scripts/peers` installs them.
mod durable_streams;
mod gateways;
mod nchan;
pub(crate) mod process;
mod publish;
mod resumable;

use std::path::{Path, PathBuf};

use crate::Failure;

pub(crate) use durable_streams::run as durable_streams;
pub(crate) use gateways::run as gateways;
pub(crate) use nchan::run as fanout;
pub(crate) use resumable::run as resumable;

/// The folder of `scripts/peers`.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.peers")
}

/// A script of ours that runs one of them.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// The installed version of the npm package `name`; the failure names the reason.
fn npm_version(name: &str) -> Result<String, Failure> {
    let path = installed().join("node_modules").join(name).join("package.json");
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|_| format!("{name} is not installed: scripts/peers does it"))?;
    let package: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    Ok(package["version"].as_str().unwrap_or("unknown").to_owned())
}
