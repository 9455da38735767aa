//! The tour of the README works as pasted.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

/// The block of commands that begins with `first`.
fn block(first: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```").skip(1).step_by(2).map(|b| b.strip_prefix("sh\n").unwrap_or(b).to_owned());
    blocks.into_iter().find(|b| b.starts_with(first)).unwrap()
}

#[test]
fn the_tour_works_as_pasted() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tour = block("export FANFARE_HOME").replace("7070", &free.to_string());
    // Whatever fails ends it there; what it started ends with it.
    let end = r#"kill $(jobs -p) 2>/dev/null; wait; fanfare db stop >/dev/null; rm -rf "$FANFARE_HOME""#;
    let script = format!("set -eu\ntrap '{end}' EXIT\n{tour}");
    let program = Path::new(env!("CARGO_BIN_EXE_fanfare"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new("bash");
    for name in ["DATABASE_URL", "FANFARE_KEY", "FANFARE_SECRET", "FANFARE_WORKSPACE", "FANFARE_LOG"] {
        command.env_remove(name);
    }
    let output =
        command.args(["-c", &script]).current_dir(root).env("PATH", path).stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    // What the comments of the tour say.
    for said in ["57", "46", "the books balance", "finished", "permanent_recipient", "Bonjour"] {
        assert!(out.contains(said), "the tour does not say {said:?}:\n{out}\n{err}");
    }
}
