//! Which PostgreSQL of those that are installed.
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::{EmbeddedError, OnPath};
use super::layout::Layout;

/// The oldest major version whose SQL and `initdb` we rely on.
const OLDEST: u32 = 14;

/// Where packages put servers beside `PATH`: a directory, how names in it begin, what follows.
const USUAL: [(&str, &str, &str); 8] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/lib", "postgresql", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// Where to look for `postgres` and `initdb`.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Only here, if given.
    pub bin_dir: Option<PathBuf>,
    /// The value of `PATH`, looked through before the usual places.
    pub path: Option<OsString>,
}

/// One installed PostgreSQL.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    /// The directory that holds the programs.
    pub(super) dir: PathBuf,
    /// Such as `15.18`.
    pub(super) version: String,
    major: u32,
}

impl Binaries {
    /// The first that suits: of the data's major version, or any that is new enough.
    pub(super) fn choose(
        search: &Search,
        data: Option<u32>,
        layout: &Layout,
    ) -> Result<Self, EmbeddedError> {
        let mut seen = Vec::new();
        for dir in candidates(search)? {
            let bin = Self::ask(&dir)?;
            let suits = data.map_or(bin.major >= OLDEST, |major| major == bin.major);
            if suits {
                return Ok(bin);
            }
            seen.push(bin);
        }
        let installed = seen.iter().map(|bin| bin.version.as_str()).collect::<Vec<_>>().join(", ");
        match (data, seen.pop()) {
            (_, None) => Err(EmbeddedError::NoBinaries),
            (None, Some(bin)) => {
                Err(EmbeddedError::Unsuitable { dir: bin.dir, found: bin.version })
            }
            (Some(data), Some(_)) => {
                Err(EmbeddedError::OtherMajor { dir: layout.data.clone(), data, installed })
            }
        }
    }

    /// A command of one of its programs, in an environment that nobody else has a say in.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.dir.join(program));
        // A time zone saves initdb the search through all of them.
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        command.stdin(Stdio::null());
        command
    }

    fn ask(dir: &Path) -> Result<Self, EmbeddedError> {
        let unknown = Self { dir: dir.to_owned(), version: "unknown".into(), major: 0 };
        let out = unknown.command("postgres").arg("--version").output();
        let out = out.on("run `postgres --version` in", dir)?;
        Ok(parse_version(&String::from_utf8_lossy(&out.stdout))
            .map(|(version, major)| Self { version, major, ..unknown.clone() })
            .unwrap_or(unknown))
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian …)` -> `15.18` and 15.
fn parse_version(said: &str) -> Option<(String, u32)> {
    let version = said.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((version.to_owned(), digits.parse().ok()?))
}

/// Every directory that holds a server, best first.
pub(super) fn candidates(search: &Search) -> Result<Vec<PathBuf>, EmbeddedError> {
    if let Some(dir) = &search.bin_dir {
        let found = is_server(dir).then(|| vec![dir.clone()]);
        return found.ok_or_else(|| EmbeddedError::NotBinaries(dir.clone()));
    }
    let mut dirs: Vec<_> = search.path.iter().flat_map(std::env::split_paths).collect();
    for (parent, prefix, suffix) in USUAL {
        dirs.extend(newest_first(Path::new(parent), prefix, suffix));
    }
    dirs.retain(|dir| is_server(dir));
    if dirs.is_empty() { Err(EmbeddedError::NoBinaries) } else { Ok(dirs) }
}

fn is_server(dir: &Path) -> bool {
    dir.is_absolute() && dir.join("postgres").is_file() && dir.join("initdb").is_file()
}

/// `parent/prefix<version>/suffix`, by version.
fn newest_first(parent: &Path, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?;
            let digits = version.trim_start_matches(['@', '-']).split('.').next()?;
            Some((digits.parse().unwrap_or(0), entry.path().join(suffix)))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_several_comes_first_by_number() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["pgsql-9", "pgsql-17", "pgsql-14", "other-18", "pgsql-x"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let found = newest_first(parent.path(), "pgsql-", "bin");
        let names = ["pgsql-17", "pgsql-14", "pgsql-9", "pgsql-x"];
        assert_eq!(found, names.map(|n| parent.path().join(n).join("bin")));
    }

    #[test]
    fn a_version_is_read_as_every_packager_writes_it() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_version(debian), Some(("15.18".into(), 15)));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta2\n"), Some(("18beta2".into(), 18)));
        assert_eq!(parse_version("sh: 1: not found"), None);
    }

    #[test]
    fn path_comes_before_the_usual_places_and_an_override_alone() {
        let dir = tempfile::tempdir().unwrap();
        let only = Search { bin_dir: Some(dir.path().into()), path: None };
        assert!(matches!(candidates(&only), Err(EmbeddedError::NotBinaries(_))));
        for program in ["postgres", "initdb"] {
            fs::write(dir.path().join(program), "").unwrap();
        }
        assert_eq!(candidates(&only).unwrap(), [dir.path()]);
        let path = std::env::join_paths([Path::new("/nowhere"), dir.path()]).unwrap();
        let search = Search { bin_dir: None, path: Some(path) };
        assert_eq!(candidates(&search).unwrap()[0], dir.path());
    }
}
