//! The house: dependencies that are used, explained, and the same everywhere.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names in the tables of this manifest whose headings end with `dependencies`.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once([' ', '.', '=']).filter(|_| inside) {
            names.push(name);
        }
    }
    names
}

/// All Rust text below a folder.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&read(&path));
        }
    }
    text
}

fn packages() -> Vec<PathBuf> {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    crates.chain([root().join("benches")]).collect()
}

#[test]
fn every_dependency_is_used() {
    for package in packages() {
        let (manifest, sources) = (read(package.join("Cargo.toml")), sources(&package));
        for name in dependencies(&manifest) {
            let used = sources.contains(&format!("{}::", name.replace('-', "_")));
            assert!(used, "{} does not use {name}", package.display());
        }
    }
}

#[test]
fn every_dependency_of_the_workspace_is_taken_and_explained() {
    let (manifest, architecture) = (read(root().join("Cargo.toml")), read(root().join("docs/ARCHITECTURE.md")));
    let libraries = architecture.split("## Libraries").nth(1).unwrap();
    let explained: Vec<&str> = libraries
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(|names| names.split(", "))
        .collect();
    let manifests: String = packages().iter().map(|package| read(package.join("Cargo.toml"))).collect();
    for name in dependencies(&manifest) {
        let taken = [format!("\n{name}.workspace"), format!("\n{name} = ")];
        assert!(taken.iter().any(|line| manifests.contains(line)), "no package takes {name}");
        assert!(
            name.starts_with("fanfare-") || explained.contains(&name),
            "docs/ARCHITECTURE.md does not say why {name}"
        );
    }
}

#[test]
fn every_package_takes_the_versions_of_the_workspace() {
    for package in packages() {
        let manifest = read(package.join("Cargo.toml"));
        for name in dependencies(&manifest) {
            let shared = [format!("\n{name}.workspace = true"), format!("\n{name} = {{ workspace = true")];
            assert!(shared.iter().any(|line| manifest.contains(line)), "{}: {name}", package.display());
        }
    }
}
