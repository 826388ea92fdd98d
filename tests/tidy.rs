//! The rules of the house that a compiler does not know: arrows point down, files stay small,
//! and only some files may name some crates.
#![expect(clippy::unwrap_used, reason = "a test's helpers")]

#[path = "tidy/english.rs"]
mod english;

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer, and the layers that it may name. `tasks` is for all who spawn.
const ARROWS: [(&str, &[&str]); 13] = [
    ("domain", &[]),
    ("ports", &["domain"]),
    ("tasks", &[]),
    ("metrics", &["domain"]),
    ("store", &["ports", "domain"]),
    ("nats", &["ports", "domain"]),
    ("providers", &["ports", "domain"]),
    ("engine", &["ports", "domain", "tasks", "metrics"]),
    ("http", &["engine", "ports", "domain", "metrics"]),
    ("config", &["engine", "domain"]),
    ("telemetry", &["config", "engine", "domain"]),
    // It knows the wire and nothing behind it; only main names it.
    ("client", &["domain"]),
    (
        "app",
        &[
            "config",
            "http",
            "engine",
            "providers",
            "store",
            "nats",
            "ports",
            "domain",
            "tasks",
            "metrics",
        ],
    ),
];

/// Crates, and the files that may name them.
const OWNERS: [(&str, &[&str]); 29] = [
    ("sqlx", &["store", "app/database"]),
    ("actix_web", &["http", "app/server"]),
    ("async_nats", &["nats"]),
    ("async_openai", &["providers"]),
    ("reqwest", &["providers", "client"]),
    ("clap", &["config"]),
    ("clap_complete", &["config"]),
    ("toml", &["config", "domain/nearest"]),
    ("nix", &["config", "app/files"]),
    ("lastword_postgres", &["app/database"]),
    ("socket2", &["app/server"]),
    ("actix_http", &["app/server"]),
    ("actix_server", &["app/server"]),
    ("actix_service", &["app/server"]),
    ("tokio_rustls", &["app/server"]),
    ("rustls", &["app/tls", "main", "providers"]),
    ("rust_embed", &["http/assets"]),
    ("flate2", &["http/assets", "http/body"]),
    ("ruzstd", &["http/body"]),
    ("actix_cors", &["http/cors"]),
    ("getrandom", &["domain/key", "domain/share"]),
    ("governor", &["engine/access"]),
    ("subtle", &["domain/key"]),
    ("ring", &["http/protocols/anthropic/signature", "domain/sealed", "nats/seal"]),
    ("base64", &["domain/picture", "domain/sealed"]),
    ("prometheus_client", &["metrics"]),
    ("terminal_size", &["client"]),
    ("unicode_width", &["client"]),
    ("opentelemetry", &["telemetry/otel"]),
];

/// Names of before, as module or type, and the standard term that each gave way to.
const RENAMED: [(&str, &str); 36] = [
    ("bell", "wake_batch"),
    ("Rings", "WakeBatch"),
    ("answer_bell", "drive_wakes"),
    ("tell.rs", "follower_notifier"),
    ("hear.rs", "delta_batch"),
    ("hub", "remote_tailer"),
    ("fold.rs", "compact of the store, encoder of a dialect"),
    ("keeping", "background_response"),
    ("Keeping", "BackgroundState"),
    ("Kept", "BackgroundResponse"),
    ("stops.rs", "stop_conditions"),
    ("Stops", "StopConditions"),
    ("traced", "spans"),
    ("rooms.rs", "presence"),
    ("Rooms", "Presence"),
    ("seam", "overlap"),
    ("Seam", "Overlap"),
    ("piece.rs", "shared_str"),
    ("Piece", "SharedStr"),
    ("arrival", "accept"),
    ("Manners", "SocketOptions"),
    ("Exit", "Handoff"),
    ("Leaving", "HandedOff"),
    ("Bounds", "RequestFraming of a connection, KeyLimits of a key"),
    ("Door", "AuthContext of a request, ServeContext of a listener"),
    ("Tongue", "Transport"),
    ("patience.rs", "rate_limit"),
    ("unfolded", "append_cache"),
    ("Unfolded", "AppendCache"),
    ("Story", "EventReplay"),
    ("Said", "DialectEvent, RefusalBody or NewMessage"),
    ("Spread", "LatencyHistogram"),
    ("Seldom", "PollGate"),
    ("arrive", "acquire_lease"),
    ("Place", "the name of what it is a place in"),
    ("Shared", "the name of what is shared"),
];

/// Lines of a file: above the aim it wants a reason, above the limit it wants two files.
const MOST_LINES: usize = 400;

/// The files that people write here; libraries are fetched, not written.
fn files(dir: &Path, kinds: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("vendor") && !path.ends_with("node_modules") {
                found.extend(files(&path, kinds));
            }
        } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| kinds.contains(&e)) {
            found.push(path);
        }
    }
    found
}

/// All sources: the path below `src` without its ending, and the text.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    files(&src, &["rs"])
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&src).unwrap().with_extension("");
            (name.to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn layer(name: &str) -> &str {
    name.split('/').next().unwrap()
}

/// The code without its comments: a doc may name what code may not.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn arrows_point_down() {
    let layers: Vec<&str> = ARROWS.iter().map(|(layer, _)| *layer).collect();
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let Some((_, allowed)) = ARROWS.iter().find(|(l, _)| *l == layer(&name)) else {
            assert!(matches!(name.as_str(), "main" | "lib" | "fuzz"), "{name} belongs to no layer");
            continue;
        };
        for other in layers.iter().filter(|o| **o != layer(&name) && !allowed.contains(o)) {
            if code(&text).any(|line| line.contains(&format!("crate::{other}"))) {
                wrong.push(format!("{name} names {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_crate_is_named_where_it_belongs() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        for (owned, owners) in OWNERS {
            let path = format!("{owned}::");
            let named = code(&text).any(|line| {
                line.match_indices(&path).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                })
            });
            if named && !owners.iter().any(|owner| name.starts_with(owner)) {
                wrong.push(format!("{name} names {owned}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The name that a line defines, behind `struct`, `enum`, `trait`, `type`, `mod` or `fn`. It has to
/// be visible outside its module.
fn defined(line: &str) -> Option<&str> {
    let mut words = line.trim_start().split([' ', '(', '<', ';', ':', '{']);
    let open = line.trim_start().starts_with("pub") || line.starts_with("mod ");
    let kinds = ["struct", "enum", "trait", "type", "mod", "fn"];
    words.find(|word| kinds.contains(word)).and_then(|_| words.next()).filter(|_| open)
}

#[test]
fn another_kind_of_database_is_one_file_of_the_app() {
    let named = |text: &str| code(text).any(|line| line.contains("store::") || line.contains("Pg"));
    let files: Vec<String> =
        sources().into_iter().filter(|(_, text)| named(text)).map(|(name, _)| name).collect();
    let app: Vec<&String> = files.iter().filter(|name| layer(name) == "app").collect();
    assert_eq!(app, ["app/database"]);
}

#[test]
fn names_of_before_do_not_come_back() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let file = format!("{}.rs", name.rsplit('/').next().unwrap());
        let defined: Vec<&str> = code(&text).filter_map(defined).collect();
        for (old, new) in RENAMED {
            if defined.contains(&old) || file == old {
                wrong.push(format!("{name}: {old} is called {new}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut long = Vec::new();
    for dir in ["src", "tests", "bench/src", "bench/instructions", "proof/src", "static"] {
        for path in files(&root.join(dir), &["rs", "js", "css", "html"]) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines > MOST_LINES {
                long.push(format!("{}: {lines}", path.display()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_migration_says_what_and_why() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("-- "), "{} opens without a comment", path.display());
    }
}

#[test]
fn every_target_with_tests_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = fs::read_to_string(root.join("scripts/test")).unwrap();
    let mut targets = Vec::new();
    for package in ["", "bench", "bench/instructions", "postgres", "tests"] {
        let manifest = fs::read_to_string(root.join(package).join("Cargo.toml")).unwrap();
        let named =
            manifest.split("[[test]]").skip(1).map(|rest| rest.split("\n[").next().unwrap());
        for target in named.filter(|target| !target.contains("\ntest = false")) {
            targets.push(target.split('"').nth(1).unwrap().to_owned());
        }
        if !manifest.contains("autotests = false") && root.join(package).join("tests").exists() {
            for file in files(&root.join(package).join("tests"), &["rs"]) {
                targets.push(file.file_stem().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    assert!(targets.len() >= 4, "{targets:?}");
    targets.retain(|target| !run.contains(&format!("--test {target}")));
    assert!(targets.is_empty(), "scripts/test leaves out {targets:?}");
}
