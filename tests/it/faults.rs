//! Faults, one at a time, under real instances on a real Postgres. The history checker judges the
//! clients' records.
use std::path::Path;

use crate::history::History;

mod clock;
mod database;
mod deploy;
mod disk;
mod model;
mod owner;
mod restore;
mod rivals;

/// The number of log lines about another owner that went on.
fn taken_over(histories: &[History]) -> usize {
    histories.iter().flat_map(|h| &h.log).filter(|e| e.name == "resumed").count()
}

/// A file with one model that can go on from a text.
fn continuing_model(dir: &Path, base_url: &str) -> std::path::PathBuf {
    let file = dir.join("lastword.toml");
    let model = format!(
        "[[models]]\nname = 'scripted'\nprovider = 'openai'\nbase_url = '{base_url}'\n\
         continuation = 'prefix'"
    );
    std::fs::write(&file, model).unwrap();
    file
}
