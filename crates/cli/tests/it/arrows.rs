//! Which crate may use which: the table of docs/ARCHITECTURE.md, held against what cargo knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The rows of the table under "Crates": name, job, what it may use.
fn allowed(names: &BTreeSet<String>) -> Arrows {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let name = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), (*cells.last()?).to_owned())).filter(|(name, _)| names.contains(name))
    });
    let uses = |text: String| match text.as_str() {
        "all" => names.clone(),
        "–" => BTreeSet::new(),
        some => some.split(',').map(|name| name.trim().to_owned()).collect(),
    };
    rows.map(|(name, text)| (name, uses(text))).collect()
}

/// What each crate of the workspace uses of the others, tests aside.
fn found() -> Arrows {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let short = |value: &Value| value.as_str().and_then(|name| name.strip_prefix("fanfare-")).map(str::to_owned);
    let packages = metadata["packages"].as_array().unwrap();
    let uses = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap();
        dependencies.iter().filter(|d| d["kind"] != "dev").filter_map(|d| short(&d["name"])).collect()
    };
    // The benches stand outside and may use whatever they measure.
    let inside = packages.iter().filter(|p| p["manifest_path"].as_str().is_some_and(|path| path.contains("/crates/")));
    inside.filter_map(|p| Some((short(&p["name"])?, uses(p)))).collect()
}

#[test]
fn no_crate_uses_one_that_the_architecture_does_not_allow() {
    let found = found();
    let names: BTreeSet<String> = found.keys().cloned().collect();
    let allowed = allowed(&names);
    for (name, uses) in &found {
        let may = allowed.get(name).unwrap_or_else(|| panic!("docs/ARCHITECTURE.md does not name the crate {name}"));
        let more: Vec<&String> = uses.difference(may).collect();
        assert!(more.is_empty(), "{name} uses {more:?}, which docs/ARCHITECTURE.md does not allow");
    }
    // The rule that matters most, said once more: these meet in the database only.
    for one in ["importer", "scheduler", "worker"] {
        for other in ["importer", "scheduler", "worker"] {
            assert!(!found[one].contains(other), "{one} uses {other}");
        }
    }
}
