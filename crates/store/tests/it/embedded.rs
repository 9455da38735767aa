//! The embedded server through crashes and company.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_store::embedded::{self, Embedded, Place};
use fanfare_store::open::Config;
use fanfare_store::{Error, Store};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// An installation's directory as `mktemp -d` makes it; its server ends with it.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Self {
        let private = fs::Permissions::from_mode(0o700);
        Self { dir: tempfile::Builder::new().permissions(private).tempdir().expect("a temporary directory") }
    }

    fn place(&self) -> Place {
        self.place_in("postgres")
    }

    fn place_in(&self, inside: &str) -> Place {
        Place { root: self.dir.path().join(inside), home: Some(self.dir.path().to_owned()), durable: false }
    }

    fn config(&self) -> Config {
        Config { home: self.dir.path().to_owned(), max_connections: 2, ..Config::default() }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let root = self.place().root;
        if let Some(pid) = server(&root) {
            kill(pid);
        }
    }
}

fn server(root: &Path) -> Option<i32> {
    let place = Place { root: root.to_owned(), home: None, durable: false };
    embedded::status(&place).pid
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a process id"), Signal::KILL).expect("it is ours to kill");
}

/// Kills the server and returns the process id it had once it is dead.
async fn kill_server(root: &Path) -> i32 {
    let pid = server(root).expect("it runs");
    kill(pid);
    until(|| server(root) != Some(pid)).await;
    pid
}

async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), holds).await.expect("it comes about");
}

async fn query(connection: &mut PgConnection, sql: &'static str) {
    sqlx::query(sql).execute(connection).await.expect(sql);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_user_stops_the_server_and_the_data_stays() {
    let home = Home::new();
    let place = home.place();
    let (first, mut connection) = Embedded::ensure(&place).await.expect("started");
    query(&mut connection, "create table t as select 1").await;
    let (second, _) = Embedded::ensure(&place).await.expect("joined");
    assert!(!first.release().await.expect("released"), "somebody still uses it");
    assert!(server(&place.root).is_some());
    assert!(second.release().await.expect("released"), "nobody uses it");
    assert_eq!(server(&place.root), None);

    let (again, mut connection) = Embedded::ensure(&place).await.expect("started again");
    query(&mut connection, "select * from t").await;
    again.release().await.expect("released");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_owner_was_killed_is_adopted() {
    let home = Home::new();
    let (owner, mut connection) = Embedded::ensure(&home.place()).await.expect("started");
    query(&mut connection, "create table t as select 1").await;
    let pid = server(&home.place().root);
    // What the kernel does for a killed process: the locks go, nothing else happens.
    drop(owner);
    let (next, mut connection) = Embedded::ensure(&home.place()).await.expect("adopted");
    assert_eq!(server(&home.place().root), pid);
    query(&mut connection, "select * from t").await;
    assert!(next.release().await.expect("released"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_started_again_with_all_that_was_committed() {
    let home = Home::new();
    let place = Place { durable: true, ..home.place() };
    let (ours, mut connection) = Embedded::ensure(&place).await.expect("started");
    query(&mut connection, "create table t as select 1").await;
    let pid = kill_server(&place.root).await;
    ours.revive().await.expect("started again");
    assert!(server(&place.root).is_some_and(|new| new != pid));
    let mut connection = PgConnection::connect_with(ours.options()).await.expect("it takes connections");
    query(&mut connection, "select * from t").await;
    assert!(ours.release().await.expect("released"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pid_file_that_names_another_program_is_no_obstacle() {
    let home = Home::new();
    let (ours, _) = Embedded::ensure(&home.place()).await.expect("started");
    let pid_file = home.place().root.join("data/postmaster.pid");
    let text = fs::read_to_string(&pid_file).expect("it is there");
    kill_server(&home.place().root).await;
    let (_, rest) = text.split_once('\n').expect("lines");
    fs::write(&pid_file, format!("{}\n{rest}", std::process::id())).expect("written");
    ours.revive().await.expect("started again");
    assert!(ours.release().await.expect("released"));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_first_starts_at_once_share_one_server() {
    let home = Home::new();
    let starts: Vec<_> = (0..5)
        .map(|_| {
            let place = home.place();
            tokio::spawn(async move { Embedded::ensure(&place).await })
        })
        .collect();
    let mut users = Vec::new();
    for start in starts {
        users.push(start.await.expect("no panic").expect("started or joined").0);
    }
    let mut stopped = Vec::new();
    for user in users {
        stopped.push(user.release().await.expect("released"));
    }
    assert_eq!(stopped, [false, false, false, false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_initdb_is_done_anew() {
    let home = Home::new();
    let rest = home.place().root.join("init-1/base");
    fs::create_dir_all(&rest).expect("made");
    let (ours, _) = Embedded::ensure(&home.place()).await.expect("started");
    assert!(!rest.exists());
    ours.release().await.expect("released");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_too_long_for_a_socket_or_odd_for_a_shell_works() {
    for inside in ["long/".repeat(30), "it's \"a\" $HOME, ü".to_owned()] {
        let home = Home::new();
        let place = home.place_in(&inside);
        let (ours, _) = Embedded::ensure(&place).await.expect("started");
        PgConnection::connect(ours.url()).await.expect("its URL works").close().await.expect("closed");
        assert!(ours.release().await.expect("released"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_data_directory_is_left_alone() {
    let home = Home::new();
    let file = home.place().root.join("data/letter.txt");
    fs::create_dir_all(file.parent().expect("a parent")).expect("made");
    fs::write(&file, "dear").expect("written");
    let e = Embedded::ensure(&home.place()).await.expect_err("refused");
    assert!(matches!(e, embedded::Error::NotEmpty(_)), "{e}");
    assert_eq!(fs::read_to_string(&file).expect("still there"), "dear");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_shows_the_end_of_its_log() {
    let home = Home::new();
    let (ours, _) = Embedded::ensure(&home.place()).await.expect("started");
    ours.release().await.expect("released");
    let settings = home.place().root.join("data/postgresql.conf");
    fs::write(&settings, "no_such_setting = 1\n").expect("written");
    let e = Embedded::ensure(&home.place()).await.expect_err("refused");
    assert!(e.to_string().contains("no_such_setting"), "{e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_keeps_its_server_alive() {
    let home = Home::new();
    let store = Store::open(home.config()).await.expect("opened");
    let (stop, stopped) = oneshot::channel::<()>();
    let keeper = tokio::spawn({
        let store = store.clone();
        async move { store.keep_alive(async { _ = stopped.await }).await }
    });
    let root = home.place().root;
    kill_server(&root).await;
    until(|| server(&root).is_some()).await;
    let workspaces: i64 =
        sqlx::query_scalar("select count(*) from workspace").fetch_one(&store.pool).await.expect("the pool reconnects");
    assert_eq!(workspaces, 0);
    stop.send(()).expect("it still listens");
    keeper.await.expect("no panic").expect("it ends in peace");
    store.close().await.expect("closed");
    assert_eq!(server(&home.place().root), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_stopped_on_purpose_stays_down_until_it_is_wanted_again() {
    let home = Home::new();
    let store = Store::open(home.config()).await.expect("opened");
    assert!(embedded::stop(&home.place()).await.expect("stopped"));
    assert!(!embedded::stop(&home.place()).await.expect("nothing to stop"));
    let e = store.keep_alive(std::future::pending()).await.expect_err("it says so");
    assert!(matches!(e, Error::Embedded(embedded::Error::Stopped)), "{e}");
    assert_eq!(server(&home.place().root), None);
    let again = Store::open(home.config()).await.expect("opened");
    again.close().await.expect("closed");
    assert!(server(&home.place().root).is_some(), "the first store still counts as a user");
    store.close().await.expect("closed");
    assert_eq!(server(&home.place().root), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_reads_what_lies_in_the_home() {
    let home = Home::new();
    let store = Store::open(home.config()).await.expect("opened");
    let mode = |path: PathBuf| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let home_mode = mode(home.dir.path().to_owned());
    // Root opens the way for the user that runs the server, to walk through and not to look around.
    assert_eq!(home_mode, if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 });
    assert_eq!(mode(home.dir.path().join("key")), 0o600);
    assert_eq!(mode(home.place().root.join("data")), 0o700);
    assert_eq!(mode(home.place().root.join("sock")), 0o700);
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_data_is_not_made_anew_under_a_running_role() {
    let home = Home::new();
    let (ours, _) = Embedded::ensure(&home.place()).await.expect("started");
    kill_server(&home.place().root).await;
    fs::remove_dir_all(home.place().root).expect("removed");
    let e = ours.revive().await.expect_err("refused");
    assert!(matches!(e, embedded::Error::Gone(_)), "{e}");
    assert!(!home.place().root.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_open_leaves_no_server() {
    let home = Home::new();
    let store = Store::open(home.config()).await.expect("opened");
    sqlx::query("update _sqlx_migrations set version = 9999 where version = 1")
        .execute(&store.pool)
        .await
        .expect("updated");
    store.close().await.expect("closed");
    let e = Store::open(home.config()).await.err().expect("refused");
    assert!(matches!(e, Error::NewerSchema { .. }), "{e}");
    assert_eq!(server(&home.place().root), None);
}
