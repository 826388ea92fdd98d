//! Rebuilds when an embedded file is added: migrations, and in release builds the page. Names the
//! commit for `--version`.
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=migrations");
    // A debug build reads the page from the disk.
    if profile().is_some_and(|profile| profile == "release") {
        println!("cargo::rerun-if-changed=static");
    }
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rustc-env=BUILD_COMMIT={}", commit().unwrap_or_else(|| "unknown".into()));
}

#[expect(clippy::disallowed_methods, reason = "a build script learns its profile in no other way")]
fn profile() -> Option<std::ffi::OsString> {
    std::env::var_os("PROFILE")
}

/// The short name of the commit; none in a source archive.
fn commit() -> Option<String> {
    let out = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let name = String::from_utf8(out.stdout).ok()?;
    (out.status.success() && !name.trim().is_empty()).then(|| name.trim().to_owned())
}
