//! Finding the host's PostgreSQL server.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{Error, Result};

/// Oldest major version that the program works with.
pub const OLDEST_MAJOR: u32 = 14;

/// Where packages put their servers: a directory, the beginning of an entry's name, what follows it.
const PLACES: [(&str, &str, &str); 8] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ("/usr/local", "pgsql", "bin"),
    ("/usr/lib", "postgresql", "bin"),
];

/// A server of the host.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    /// The directory that holds `initdb` and `postgres`.
    pub(super) dir: PathBuf,
    /// Its major version.
    pub(super) major: u32,
}

impl Binaries {
    /// The first usable server; `wanted` is the major version that existing data needs.
    pub(super) fn find(data: &Path, wanted: Option<u32>) -> Result<Self> {
        Self::choose(candidates().into_iter().filter_map(Self::at), data, wanted)
    }

    fn choose(servers: impl Iterator<Item = Self>, data: &Path, wanted: Option<u32>) -> Result<Self> {
        let mut found = Vec::new();
        for server in servers {
            if server.major >= OLDEST_MAJOR && wanted.is_none_or(|w| w == server.major) {
                return Ok(server);
            }
            found.push(format!("{} in {}", server.major, server.dir.display()));
        }
        match wanted {
            Some(wanted) if !found.is_empty() => {
                Err(Error::WrongMajor { data: data.to_owned(), wanted, found: found.join(", ") })
            }
            _ => Err(Error::NoServer),
        }
    }

    fn at(dir: PathBuf) -> Option<Self> {
        let out = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
        // A server for another C library is there, but does not run.
        let major = out.status.success().then(|| major_of(&String::from_utf8_lossy(&out.stdout)))??;
        Some(Self { dir, major })
    }
}

/// Directories that hold a server, the operator's choice first, each once.
fn candidates() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = Vec::new();
    if let Some(dir) = std::env::var_os("FANFARE_PG_BIN") {
        dirs.push(dir.into());
    } else {
        dirs.extend(pg_config_dir());
        dirs.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        dirs.extend(PLACES.iter().flat_map(|(base, prefix, suffix)| packaged(base, prefix, suffix)));
    }
    let mut seen = HashSet::new();
    dirs.iter()
        .filter(|d| ["initdb", "postgres"].iter().all(|program| d.join(program).is_file()))
        .map(|d| fs::canonicalize(d).unwrap_or_else(|_| d.clone()))
        .filter(|d| seen.insert(d.clone()))
        .collect()
}

fn pg_config_dir() -> Option<PathBuf> {
    let out = Command::new("pg_config").arg("--bindir").output().ok()?;
    out.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()))
}

/// Entries of `base` that begin with `prefix`, the newest version first.
fn packaged(base: &str, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let names = fs::read_dir(base).into_iter().flatten().flatten().map(|e| e.file_name());
    let mut names: Vec<OsString> = names.filter(|n| n.to_string_lossy().starts_with(prefix)).collect();
    names.sort();
    names.iter().rev().map(|n| Path::new(base).join(n).join(suffix)).collect()
}

/// Of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`: 15.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_once(") ")?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(majors: &[u32], wanted: Option<u32>) -> Result<u32, String> {
        let servers = majors.iter().map(|&major| Binaries { dir: PathBuf::from("/bin"), major });
        let chosen = Binaries::choose(servers, Path::new("/data"), wanted);
        chosen.map(|b| b.major).map_err(|e| e.to_string())
    }

    #[test]
    fn the_major_version_is_read_from_what_servers_print() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_of("something else"), None);
    }

    #[test]
    fn existing_data_gets_the_server_that_made_it() {
        assert_eq!(chosen(&[13, 17, 15], None), Ok(17));
        assert_eq!(chosen(&[13, 17, 15], Some(15)), Ok(15));
        let refused = chosen(&[17], Some(15)).unwrap_err();
        assert!(refused.contains("/data was made by PostgreSQL 15, found only 17 in /bin"), "{refused}");
    }

    #[test]
    fn a_host_without_a_server_is_told_how_to_get_one() {
        for majors in [&[][..], &[13]] {
            let refused = chosen(majors, None).unwrap_err();
            for command in ["apt-get install postgresql", "dnf install", "apk add", "brew install", "--database-url"] {
                assert!(refused.contains(command), "{refused}");
            }
        }
    }
}
