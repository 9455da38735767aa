//! Running the program: an installation, commands, roles, a provider.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fanfare_sim::{Config, Handle, Sim};
use fanfare_testdb::TestDb;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Nothing here takes so long; without an end a broken test would hang.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// An installation of its own: a home, and a database, the tests' or the embedded one.
pub struct Home {
    pub dir: TempDir,
    pub db: Option<TestDb>,
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Home {
    /// On a database of the tests' server.
    pub async fn new() -> Self {
        Self { dir: home_dir(), db: Some(TestDb::new().await) }
    }

    /// On the embedded default.
    pub fn embedded() -> Self {
        Self { dir: home_dir(), db: None }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of this content in the home.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The program with these arguments, to be run in this installation.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
        command.args(args).env("FANFARE_HOME", self.dir.path()).current_dir(self.dir.path());
        for name in ["DATABASE_URL", "FANFARE_KEY", "FANFARE_SECRET", "FANFARE_WORKSPACE", "FANFARE_LOG"] {
            command.env_remove(name);
        }
        command.env("FANFARE_LISTEN", "127.0.0.1:0");
        if let Some(db) = &self.db {
            command.env("DATABASE_URL", &db.url);
        }
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// Runs it with this standard input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Done {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // A command that refuses its input early closes the pipe.
        let writer = thread::spawn(move || drop(stdin.write_all(&input)));
        let done = Done::of(child.wait_with_output().unwrap());
        writer.join().unwrap();
        done
    }

    /// Runs a command that must succeed; gives its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code, 0, "fanfare {args:?}: {done:?}");
        done.out
    }

    /// Runs a command with `--json` that must succeed; gives its object.
    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.ok(&[args, &["--json"]].concat());
        object(&out)
    }

    /// Runs a command that must fail with this code; gives what it said.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code, code, "fanfare {args:?}: {done:?}");
        assert_eq!(done.out, "", "fanfare {args:?} failed, and printed a result");
        done.err
    }

    /// Starts a role, and waits until it serves.
    pub fn role(&self, args: &[&str]) -> Role {
        let mut child = self.command(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Role { ready: line.trim_end().to_owned(), child }
    }

    /// An account at `provider`, credit, a template, a list of `contacts` and a campaign `c`.
    pub fn campaign(&self, url: &str, contacts: usize, account: &[&str], campaign: &[&str]) {
        self.ok(&[&["account", "add", "a", "--url", url, "--secret", SECRET], account].concat());
        self.ok(&["template", "add", "t", "--channel", "sms", "--body", "Hello {{ name | default('friend') }}"]);
        let file = self.file("contacts.csv", contacts_csv(contacts));
        self.ok(&["import", &file, "--list", "l", "--country", "DZ"]);
        let create = ["campaign", "create", "c", "--template", "t", "--list", "l", "--account", "a"];
        self.ok(&[&create, campaign].concat());
    }

    /// The status of the campaign `c`.
    pub fn status(&self) -> Value {
        self.json(&["campaign", "status", "c"])
    }

    /// Holds that the books balance.
    pub fn assert_audit(&self) {
        let audit = self.json(&["audit"]);
        assert_eq!(audit["ok"], true, "{audit:#}");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.db.is_none() {
            self.run(&["db", "stop"]);
        }
    }
}

/// Not in the target directory: run by root, the embedded server is another user's, and must reach it.
fn home_dir() -> TempDir {
    tempfile::Builder::new().prefix("fanfare-cli-").tempdir_in("/tmp").unwrap()
}

/// The token of the tests' accounts.
pub const SECRET: &str = "s3cret";

/// A header, and this many contacts without faults.
pub fn contacts_csv(contacts: usize) -> String {
    let rows: String = (0..contacts).map(|i| format!("0770{i:06},Ann {i}\n")).collect();
    format!("phone,name\n{rows}")
}

/// One object, and nothing else.
pub fn object(out: &str) -> Value {
    assert_eq!(out.lines().count(), 1, "one line was expected: {out}");
    let value: Value = serde_json::from_str(out).unwrap_or_else(|e| panic!("{e}: {out}"));
    assert!(value.is_object(), "{value}");
    value
}

impl Done {
    pub fn of(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A running role; killed when dropped.
pub struct Role {
    /// The line that it printed first.
    pub ready: String,
    pub child: Child,
}

impl Role {
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; gives its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let mut code = None;
        eventually("the process ends", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.and_then(|status| status.code())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `holds`.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < WAIT_MAX, "never happened: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A provider in this process.
pub struct Provider {
    pub handle: Handle,
    _stop: DropGuard,
}

impl Provider {
    pub fn start(config: Config) -> Self {
        let sim = Sim::bind(config, ([127, 0, 0, 1], 0).into()).unwrap();
        let (handle, stop) = (sim.handle(), CancellationToken::new());
        let stopped = stop.clone();
        tokio::spawn(async move { sim.serve(stopped.cancelled()).await });
        Self { handle, _stop: stop.drop_guard() }
    }

    /// Waits until it has accepted this many messages.
    pub fn wait_accepted(&self, messages: u64) {
        eventually("the provider accepts messages", || self.handle.stats().accepted >= messages);
    }
}

/// A file of the repository.
pub fn fixture(name: impl AsRef<OsStr>) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    root.join(name.as_ref()).to_str().unwrap().to_owned()
}
