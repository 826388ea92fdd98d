//! The program under test, which another package builds, and the directory of the project.
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The directory that has the README, without a link in its path.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// `lastword` beside this test. `cargo test --test it` does not build the program. A program older
/// than its sources is refused, because it would be tested by mistake.
pub(crate) fn path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let tests = std::env::current_exe().unwrap();
        let path = tests.parent().unwrap().parent().unwrap().join("lastword");
        let how = "build it first: `cargo test --no-run`, with `--release` if the test has it";
        let built =
            modified(&path).unwrap_or_else(|| panic!("{} is missing; {how}", path.display()));
        // The dependencies that `cargo build` wrote down, `PROGRAM: SOURCE SOURCE …`. `cargo test`
        // builds both, and writes nothing.
        let sources = fs::read_to_string(path.with_extension("d")).unwrap_or_default();
        for source in sources.split_whitespace().skip(1) {
            let newer = modified(Path::new(source)).is_some_and(|at| at > built);
            assert!(!newer, "{source} is newer than the program; {how}");
        }
        path.to_str().unwrap().to_owned()
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
