//! A figure beside its aim: lines of the table for people, JSON for comparisons.
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Failure, now_us};

/// The aim of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    name: String,
    /// `Err` is why there is none.
    value: Result<f64, String>,
    unit: &'static str,
    aim: Option<Aim>,
    /// The lowest and the highest of the rounds whose median it is.
    spread: Option<(f64, f64)>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value: Ok(value), unit, aim: None, spread: None }
    }

    /// The median of several rounds, with the lowest and the highest beside it.
    pub(crate) fn median(name: impl Into<String>, rounds: Vec<f64>, unit: &'static str) -> Self {
        let low = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let high = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let spread = (rounds.len() > 1).then_some((low, high));
        Self { spread, ..Self::new(name, median(rounds), unit) }
    }

    /// One that could not be measured: it is reported, not left out.
    pub(crate) fn missing(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), value: Err(why.into()), unit: "", aim: None, spread: None }
    }

    pub(crate) fn at_most(mut self, aim: f64) -> Self {
        self.aim = Some(Aim::AtMost(aim));
        self
    }

    pub(crate) fn at_least(mut self, aim: f64) -> Self {
        self.aim = Some(Aim::AtLeast(aim));
        self
    }

    /// Whether the aim is reached; `None` without an aim.
    pub(crate) fn reached(&self) -> Option<bool> {
        let value = self.value.as_ref();
        Some(match self.aim? {
            Aim::AtMost(aim) => value.is_ok_and(|v| *v <= aim),
            Aim::AtLeast(aim) => value.is_ok_and(|v| *v >= aim),
        })
    }

    /// Whether it counts what is missing, where nothing may be.
    pub(crate) fn is_of_completeness(&self) -> bool {
        self.aim == Some(Aim::AtMost(0.0))
    }

    /// Its name in the table.
    fn label(&self) -> String {
        self.spread.map_or_else(
            || self.name.clone(),
            |(low, high)| format!("{} ({} to {})", self.name, round(low), round(high)),
        )
    }

    fn json(&self) -> Value {
        let aim = self.aim.map(|aim| match aim {
            Aim::AtMost(most) => json!({ "at_most": most }),
            Aim::AtLeast(least) => json!({ "at_least": least }),
        });
        json!({
            "name": self.name, "measured": self.value.as_ref().ok(), "unit": self.unit,
            "lowest": self.spread.map(|(low, _)| low), "highest": self.spread.map(|(_, high)| high),
            "aim": aim, "reached": self.reached(), "not_measured": self.value.as_ref().err(),
        })
    }
}

/// The figures as lines: name, measured, aim, reached.
pub(crate) fn table(figures: &[Figure]) -> String {
    let width = figures.iter().map(|f| f.label().chars().count()).max().unwrap_or(0);
    let mut table = format!("{:<width$} {:>18} {:>14}  reached\n", "", "measured", "aim");
    for figure in figures {
        let label = figure.label();
        let aim = figure.aim.map_or_else(String::new, |aim| match aim {
            Aim::AtMost(most) => format!("<= {most}"),
            Aim::AtLeast(least) => format!(">= {least}"),
        });
        let reached = figure.reached().map_or("", |yes| if yes { "yes" } else { "NO" });
        let _ = match &figure.value {
            Ok(value) => {
                let value = format!("{} {}", round(*value), figure.unit);
                writeln!(table, "{label:<width$} {value:>18} {aim:>14}  {reached}")
            }
            Err(why) => writeln!(table, "{label:<width$} not measured: {why}"),
        };
    }
    table
}

/// Three significant digits, for a reader.
fn round(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The place of the file: beside the program's directory, in `target`.
pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench.json")
}

/// Writes them to `path`, in a directory that is made if need be.
pub(crate) fn write(path: &Path, figures: &[Figure]) -> Result<(), Failure> {
    let all: Vec<Value> = figures.iter().map(Figure::json).collect();
    let text = format!("{:#}\n", json!({ "at_unix_s": now_us() / 1_000_000, "figures": all }));
    let dir = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(dir).and_then(|()| fs::write(path, text));
    written.map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The middle one of an odd number of values, the upper of the two middle ones otherwise.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which so many thousandths of the sorted `values` are.
pub(crate) fn permille(values: &[u32], permille: usize) -> u32 {
    let last = values.len().saturating_sub(1);
    values.get(last * permille / 1000).copied().unwrap_or(0)
}
