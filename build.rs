//! Rebuilds when an embedded file is added: migrations, and the page where it is embedded. Names the
//! commit for `--version`.
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=migrations");
    fs::write(out_dir().join("migrations.rs"), migrations()?)?;
    // A debug build reads the page from the disk.
    if profile().is_none_or(|profile| profile != "debug") {
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

/// Where cargo wants what a build script makes.
#[expect(clippy::disallowed_methods, reason = "a build script learns its place in no other way")]
fn out_dir() -> PathBuf {
    std::env::var_os("OUT_DIR").unwrap_or_default().into()
}

/// The directory of the profile below `target`: cargo tells the profile's own name in no other way.
fn profile() -> Option<OsString> {
    Some(out_dir().ancestors().nth(3)?.file_name()?.to_owned())
}

/// The short name of the commit; none in a source archive.
fn commit() -> Option<String> {
    let out = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let name = String::from_utf8(out.stdout).ok()?;
    (out.status.success() && !name.trim().is_empty()).then(|| name.trim().to_owned())
}
