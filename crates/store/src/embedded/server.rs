//! Making, starting and stopping the server of one data directory. The caller holds the start lock.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Executor as _};
use tokio::process::{Child, Command};

use super::account::Account;
use super::binaries::Binaries;
use super::error::{Error, Result, io_at};
use super::{DATABASE, SUPERUSER, postmaster, socket};

/// Recovery after a crash may replay much; until it has, connections are refused.
const READY_WAIT: Duration = Duration::from_secs(600);
/// Children of a killed server need a moment to notice and to let go of its memory.
const ORPHANS_WAIT: Duration = Duration::from_secs(15);
/// A stop writes what is dirty in memory.
const STOP_WAIT: Duration = Duration::from_secs(60);
const CONNECT_WAIT: Duration = Duration::from_secs(5);
const POLL_EVERY: Duration = Duration::from_millis(5);
/// A server that recovers writes a line for each connection it refuses.
const POLL_EVERY_MAX: Duration = Duration::from_millis(200);
/// The log starts anew when it is longer than this.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
const LOG_TAIL_LINES: usize = 15;

/// Settings of every embedded server, beside what the command line of [`Server::spawn`] adds.
const SETTINGS: [(&str, &str); 13] = [
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("max_connections", "100"),
    ("shared_buffers", "256MB"),
    // Few checkpoints: each one makes every page it finds changed go into the log whole.
    ("max_wal_size", "2GB"),
    ("checkpoint_timeout", "15min"),
    ("checkpoint_completion_target", "0.9"),
    ("autovacuum_naptime", "15s"),
    ("jit", "off"),
    ("random_page_cost", "1.1"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_checkpoints", "off"),
];
const DURABLE: [(&str, &str); 3] = [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")];
const VOLATILE: [(&str, &str); 4] =
    [("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off"), ("max_connections", "400")];

/// The server of one data directory, running or not.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) root: PathBuf,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
    pub(super) account: Account,
    /// Whether what is committed outlives a crash of the machine.
    pub(super) durable: bool,
}

impl Server {
    /// A connection to the server, which is made and started if need be.
    pub(super) async fn bring_up(&self, options: &PgConnectOptions) -> Result<PgConnection> {
        let begun = Instant::now();
        loop {
            let crashed = postmaster::pid_file(&self.data).exists();
            let mut child = match postmaster::running(&self.data) {
                Some(_) => None,
                None => Some(self.start().await?),
            };
            if let Some(connection) = self.ready(options, child.as_mut()).await? {
                return Ok(connection);
            }
            if !crashed || begun.elapsed() > ORPHANS_WAIT {
                return Err(Error::NotStarted { log: self.log.clone(), tail: self.log_tail() });
            }
            tokio::time::sleep(POLL_EVERY_MAX).await;
        }
    }

    /// Stops the server; its clients are disconnected, their open transactions rolled back.
    pub(super) async fn stop(&self, pid: Pid) -> Result<()> {
        postmaster::interrupt(pid, &self.data)?;
        let begun = Instant::now();
        while postmaster::running(&self.data).is_some() {
            if begun.elapsed() > STOP_WAIT {
                return Err(Error::NotStopped { pid: pid.as_raw_nonzero().get(), after: STOP_WAIT });
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        // The next start makes it again. If something lies in it, it is not ours to remove.
        let _ = fs::remove_dir(socket::dir_of(&self.root));
        Ok(())
    }

    /// Major version of the data, if there is any.
    pub(super) fn major(&self) -> Option<u32> {
        major_of(&self.data)
    }

    async fn start(&self) -> Result<Child> {
        let wanted = self.major();
        let binaries = Binaries::find(&self.data, wanted)?;
        if wanted.is_none() {
            self.init(&binaries).await?;
        }
        postmaster::remove_if_reused(&self.data)?;
        self.spawn(&binaries).await
    }

    /// Makes the data directory, wholly or not at all.
    async fn init(&self, binaries: &Binaries) -> Result<()> {
        if fs::read_dir(&self.data).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::NotEmpty(self.data.clone()));
        }
        self.remove_unfinished()?;
        let making = self.root.join(format!("{UNFINISHED}{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&making).map_err(io_at("make", &making))?;
        self.account.own(&making)?;
        let mut initdb = self.command(&binaries.dir.join("initdb"));
        initdb.arg("-D").arg(&making).args([
            "-U",
            SUPERUSER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--data-checksums",
        ]);
        if !self.durable {
            initdb.arg("--no-sync");
        }
        let out = initdb.output().await.map_err(io_at("run initdb of", &binaries.dir))?;
        if !out.status.success() {
            fs::remove_dir_all(&making).map_err(io_at("remove", &making))?;
            return Err(Error::Init(String::from_utf8_lossy(&out.stderr).trim().to_owned()));
        }
        fs::rename(&making, &self.data).map_err(io_at("rename", &making))?;
        File::open(&self.root).and_then(|d| d.sync_all()).map_err(io_at("sync", &self.root))
    }

    /// Removes what an initdb that was killed has left.
    fn remove_unfinished(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root).map_err(io_at("list", &self.root))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_dir_all(entry.path()).map_err(io_at("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    /// Starts the process. It has a process group of its own, so that Ctrl-C in our terminal does not
    /// reach it, and no pipe to us, for it outlives us.
    async fn spawn(&self, binaries: &Binaries) -> Result<Child> {
        let socket = socket::make_dir(&self.root, self.account)?;
        let mut postgres = self.command(&binaries.dir.join("postgres"));
        postgres.arg("-D").arg(&self.data);
        let durability: &[_] = if self.durable { &DURABLE } else { &VOLATILE };
        for (name, value) in SETTINGS.iter().chain(durability) {
            postgres.arg("-c").arg(format!("{name}={value}"));
        }
        postgres.arg("-c").arg(format!("port={}", socket::PORT));
        let mut directories = std::ffi::OsString::from("unix_socket_directories=");
        directories.push(quoted(&socket));
        postgres.arg("-c").arg(directories);
        postgres.arg("-c").arg(format!("wal_compression={}", self.wal_compression(binaries).await));
        let log = self.open_log()?;
        let errors = log.try_clone().map_err(io_at("open", &self.log))?;
        postgres.stdout(log).stderr(errors).process_group(0);
        postgres.spawn().map_err(io_at("run postgres of", &binaries.dir))
    }

    /// The best compression of whole pages in the log that this build of the server has.
    async fn wal_compression(&self, binaries: &Binaries) -> &'static str {
        if binaries.major < 15 {
            return "on";
        }
        let mut probe = self.command(&binaries.dir.join("postgres"));
        probe.arg("-D").arg(&self.data).args(["-c", "wal_compression=lz4", "-C", "wal_compression"]);
        match probe.output().await {
            Ok(out) if out.status.success() => "lz4",
            _ => "on",
        }
    }

    /// Waits until the server takes connections; none when it has ended instead.
    async fn ready(&self, options: &PgConnectOptions, mut child: Option<&mut Child>) -> Result<Option<PgConnection>> {
        let begun = Instant::now();
        let mut pause = POLL_EVERY;
        loop {
            match connect(options).await {
                Ok(connection) => return Ok(Some(connection)),
                Err(e) if has_code(&e, "3D000") => make_database(options).await?,
                Err(e) if is_starting(&e) => {}
                Err(e) => return Err(e.into()),
            }
            let ended = match &mut child {
                Some(child) => child.try_wait().map_err(io_at("watch the server of", &self.data))?.is_some(),
                None => postmaster::running(&self.data).is_none(),
            };
            if ended {
                return Ok(None);
            }
            if begun.elapsed() > READY_WAIT {
                return Err(Error::NotReady { after: READY_WAIT, log: self.log.clone() });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 5 / 4).min(POLL_EVERY_MAX);
        }
    }

    /// A command of the server, run as its user and free of what our environment says to clients.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C").env("TZ", "UTC");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        self.account.apply(&mut command);
        command
    }

    fn open_log(&self) -> Result<File> {
        let long = fs::metadata(&self.log).is_ok_and(|m| m.len() > LOG_BYTES_MAX);
        if long {
            fs::remove_file(&self.log).map_err(io_at("remove", &self.log))?;
        }
        OpenOptions::new().create(true).append(true).open(&self.log).map_err(io_at("open", &self.log))
    }

    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

/// Major version of the data in a directory, if there is any.
pub(super) fn major_of(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// What the names of unfinished data directories begin with.
const UNFINISHED: &str = "init-";

/// A path as an entry of the server's list of directories.
fn quoted(path: &Path) -> std::ffi::OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let mut out = vec![b'"'];
    for &byte in path.as_os_str().as_bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
    std::ffi::OsString::from_vec(out)
}

async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    match tokio::time::timeout(CONNECT_WAIT, PgConnection::connect_with(options)).await {
        Ok(connected) => connected,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

async fn make_database(options: &PgConnectOptions) -> Result<()> {
    let mut connection = connect(&options.clone().database("postgres")).await?;
    // SQL takes no parameter here; the name is a plain constant.
    connection.execute(sqlx::AssertSqlSafe(format!("create database {DATABASE}"))).await?;
    connection.close().await?;
    Ok(())
}

/// Whether the server may take connections a little later: its socket is not there yet, or it is
/// still at recovery.
fn is_starting(e: &sqlx::Error) -> bool {
    matches!(e, sqlx::Error::Io(_)) || has_code(e, "57P03")
}

fn has_code(e: &sqlx::Error, code: &str) -> bool {
    matches!(e, sqlx::Error::Database(d) if d.code().as_deref() == Some(code))
}
