//! The documents' references exist: files, headings, commands, flags and variables.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    crate::program::root()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All documents for people, by their path.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    for dir in ["", "docs", "docs/adr", "deploy", "examples"] {
        let Ok(entries) = std::fs::read_dir(root().join(dir)) else { continue };
        for entry in entries {
            let path = Path::new(dir).join(entry.unwrap().file_name());
            if path.extension().is_some_and(|e| e == "md") {
                pages.insert(path.clone(), read(&path));
            }
        }
    }
    assert!(pages.len() > 6, "{:?}", pages.keys());
    pages
}

/// The lines of a page: whether each is in a block of code.
fn lines(page: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut fenced = false;
    page.lines().filter_map(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fence).then_some((fenced, line))
    })
}

/// The code of a page: lines of blocks, and the text between backticks.
fn code(page: &str) -> Vec<String> {
    let mut code: Vec<String> =
        lines(page).filter(|(fenced, _)| *fenced).map(|(_, line)| line.to_owned()).collect();
    // A span may go on in the next line.
    let prose: Vec<&str> = lines(page).filter(|(fenced, _)| !fenced).map(|(_, l)| l).collect();
    for block in prose.join("\n").split("\n\n") {
        code.extend(block.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
    }
    code
}

/// As GitHub names the anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
}

fn anchors(page: &str) -> BTreeSet<String> {
    let headings = lines(page).filter(|(fenced, line)| !fenced && line.starts_with('#'));
    headings.map(|(_, line)| anchor(line.trim_start_matches('#'))).collect()
}

/// A path without its `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(plain.pop(), "{} leaves the project", path.display()),
            Component::CurDir => {}
            Component::Normal(name) => plain.push(name),
            Component::Prefix(_) | Component::RootDir => panic!("{} is absolute", path.display()),
        }
    }
    plain
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, page) in &pages {
        let prose: Vec<&str> = lines(page).filter(|(fenced, _)| !fenced).map(|(_, l)| l).collect();
        for piece in prose.join("\n").split("](").skip(1) {
            let target = piece.split(')').next().unwrap();
            if target.starts_with("https://") || target.starts_with("http://") {
                continue;
            }
            seen += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.clone(),
                file => plain(&path.parent().unwrap().join(file)),
            };
            let there = root().join(&file).exists();
            let known = || heading.is_empty() || anchors(&read(&file)).contains(heading);
            if !there || !known() {
                wrong.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(seen > 10, "{seen} links");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_that_is_named_is_there() {
    const DIRS: [&str; 9] = [
        "src/",
        "tests/",
        "docs/",
        "deploy/",
        "scripts/",
        "static/",
        "examples/",
        "bench/",
        "migrations/",
    ];
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, page) in pages() {
        for span in code(&page) {
            let word = span.trim_end_matches('/');
            // Pictures are drawn by commands; those that are shown are links.
            let drawn = span.starts_with("docs/images/");
            let place = !drawn && DIRS.iter().any(|dir| span.starts_with(dir));
            if !place || word.contains(|c: char| c.is_whitespace() || "*{<…,".contains(c)) {
                continue;
            }
            seen += 1;
            let file = root().join(word);
            if !file.exists() && !file.with_extension("rs").exists() {
                wrong.push(format!("{}: {span}", path.display()));
            }
        }
    }
    assert!(seen > 5, "{seen} files");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_make_command_is_in_the_makefile() {
    let makefile = read(Path::new("Makefile"));
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| line.contains(":") && line.contains("## "))
        .map(|line| line.split(':').next().unwrap())
        .collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, page) in pages() {
        for span in code(&page) {
            let Some(rest) = span.trim_start().strip_prefix("make ") else { continue };
            seen += 1;
            let target = rest.split_whitespace().next().unwrap();
            if !targets.contains(target) {
                wrong.push(format!("{}: make {target}", path.display()));
            }
        }
    }
    assert!(seen > 10, "{seen} commands");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A flag of Node, not ours.
const NODES: &str = "--experimental-websocket";

/// The output of `lastword … --help`; `None` if there is no such command.
fn help(words: &[&str]) -> Option<String> {
    let mut command = Command::new(crate::program::path());
    let out = command.args(words).arg("--help").output().unwrap();
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
}

fn has_flag(help: &str, flag: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-');
    help.match_indices(flag).any(|(at, _)| ends(&help[at + flag.len()..]))
}

/// The flags in a command: up to a pipe, a comment or a redirection.
fn flags(words: &str) -> Vec<String> {
    let own = words.split(['|', '#', '>', ')']).next().unwrap();
    let flags = own.split(|c: char| c.is_whitespace() || "[]=\"".contains(c));
    flags.filter(|word| word.len() > 2 && word.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn every_command_and_flag_of_ours_is_known() {
    let all: Vec<String> = [
        &["serve"][..],
        &["ask"],
        &["tail"],
        &["check"],
        &["completions"],
        &["keys", "create"],
        &["keys", "list"],
        &["keys", "revoke"],
        &[],
    ]
    .iter()
    .map(|words| help(words).unwrap_or_else(|| panic!("{words:?}")))
    .collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, page) in pages() {
        for span in code(&page) {
            let mut bad = |what: &str| wrong.push(format!("{}: {what}", path.display()));
            let commands = span.match_indices("lastword ").filter(|(at, _)| {
                span[..*at].chars().next_back().is_none_or(|c| " $(/".contains(c))
            });
            for (at, name) in commands {
                let words = &span[at + name.len()..];
                let mut command: Vec<&str> = words
                    .split_whitespace()
                    .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()))
                    .collect();
                command.truncate(if command.first() == Some(&"keys") { 2 } else { 1 });
                let Some(help) = help(&command) else {
                    bad(words);
                    continue;
                };
                seen += 1;
                for flag in flags(words).iter().filter(|flag| !has_flag(&help, flag)) {
                    bad(&format!("lastword {command:?} {flag}"));
                }
            }
            // A flag by itself is one of some command.
            if span.starts_with("--") {
                for flag in flags(&span) {
                    seen += 1;
                    if !all.iter().any(|help| has_flag(help, &flag)) && flag != NODES {
                        bad(&flag);
                    }
                }
            }
        }
    }
    assert!(seen > 20, "{seen} commands and flags");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_variable_is_read_somewhere() {
    fn texts(dir: &Path, all: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                texts(&path, all);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                all.push_str(&text);
            }
        }
    }
    let mut sources = String::new();
    for dir in ["src", "scripts", "tests/it", "bench/src"] {
        texts(&root().join(dir), &mut sources);
    }
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, page) in pages() {
        for span in code(&page) {
            let names = span.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
            for name in names.filter(|name| name.starts_with("LASTWORD_") && name.len() > 9) {
                seen += 1;
                if !sources.contains(name) {
                    wrong.push(format!("{}: {name}", path.display()));
                }
            }
        }
    }
    assert!(seen > 3, "{seen} variables");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_heading_has_the_anchor_that_it_has_on_github() {
    for (heading, expected) in [
        (" Backup and restore", "backup-and-restore"),
        (" `GET /metrics`", "get-metrics"),
        (" What, then?", "what-then"),
    ] {
        assert_eq!(anchor(heading), expected);
    }
}
