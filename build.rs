//! Rebuilds when an embedded file is added: migrations, and in release builds the page. Names the
//! commit for `--version`.
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=migrations");
    let out = PathBuf::from(variable("OUT_DIR").unwrap_or_default());
    fs::write(out.join("migrations.rs"), migrations()?)?;
    // A debug build reads the page from the disk.
    if variable("PROFILE").is_some_and(|profile| profile == "release") {
        println!("cargo::rerun-if-changed=static");
    }
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rustc-env=BUILD_COMMIT={}", commit().unwrap_or_else(|| "unknown".into()));
    Ok(())
}

/// `VERSION_DESCRIPTION.sql` as a table for `store/migrate/files.rs`.
fn migrations() -> io::Result<String> {
    let mut rows = Vec::new();
    for file in fs::read_dir("migrations")? {
        let path = file?.path().canonicalize()?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().replace('_', " ");
        if let Some((version, description)) = stem.split_once(' ') {
            rows.push(format!("({version}, {description:?}, include_str!({path:?})),"));
        }
    }
    rows.sort();
    Ok(format!("static FILES: &[(i64, &str, &str)] = &[{}];", rows.concat()))
}

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script in no other way")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The short name of the commit; none in a source archive.
fn commit() -> Option<String> {
    let out = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let name = String::from_utf8(out.stdout).ok()?;
    (out.status.success() && !name.trim().is_empty()).then(|| name.trim().to_owned())
}
