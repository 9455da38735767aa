//! An installation of its own in a temporary directory, and its processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fanfare_store::Store;
use fanfare_store::open::Config;
use serde_json::Value;
use tempfile::TempDir;

/// An installation: its home, its database kept open, its simulator.
pub struct Fleet {
    program: PathBuf,
    home: TempDir,
    pub store: Store,
}

/// A child process that is killed when dropped.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// SIGTERM, then waits for the end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_raw(self.0.id() as i32).context("a process has an id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.0.wait()?;
        Ok(())
    }
}

impl Fleet {
    pub async fn new(program: &Path) -> anyhow::Result<Self> {
        let program = program
            .canonicalize()
            .with_context(|| format!("no program at {}: cargo build --release", program.display()))?;
        let home = tempfile::Builder::new().prefix("fanfare-bench-").tempdir()?;
        let config = Config { home: home.path().to_owned(), max_connections: 4, ..Config::default() };
        Ok(Self { program, store: Store::open(config).await?, home })
    }

    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// Runs a command to its end and gives its JSON.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<Value> {
        let out = self.command(args).arg("--json").output()?;
        let text = String::from_utf8_lossy(&out.stdout);
        ensure!(out.status.success(), "fanfare {}: {text}{}", args.join(" "), String::from_utf8_lossy(&out.stderr));
        serde_json::from_str(&text).with_context(|| format!("fanfare {}: {text}", args.join(" ")))
    }

    /// Starts a process that goes on.
    pub fn start(&self, args: &[&str]) -> anyhow::Result<Process> {
        let log = std::fs::File::options().create(true).append(true).open(self.dir().join("fleet.log"))?;
        let child = self.command(args).stdout(Stdio::null()).stderr(log).spawn()?;
        Ok(Process(child))
    }

    /// What the processes logged.
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("fleet.log")).unwrap_or_default()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env("FANFARE_HOME", self.dir()).env_remove("DATABASE_URL").stdin(Stdio::null());
        command
    }

    /// Starts the simulator and waits until it answers; gives its port.
    pub async fn sim(&self, args: &[&str]) -> anyhow::Result<(Process, u16)> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let listen = format!("127.0.0.1:{port}");
        let mut process = self.start(&[&["sim", "--listen", &listen], args].concat())?;
        let began = Instant::now();
        while std::net::TcpStream::connect(&listen).is_err() {
            ensure!(process.0.try_wait()?.is_none(), "the simulator ended: {}", self.log());
            ensure!(began.elapsed() < Duration::from_secs(10), "the simulator does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok((process, port))
    }

    /// An account, a template, a list of `contacts` and a campaign, all under the name `bench`.
    /// The contacts are made inside the database: importing is measured on its own.
    pub async fn campaign(&self, port: u16, contacts: u64, account: &[&str], campaign: &[&str]) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{port}/send");
        self.run(
            &[&["account", "add", "bench", "--kind", "http", "--url", &url, "--secret", "s3cret"], account].concat(),
        )?;
        self.run(&["credits", "topup", "1000000000000"])?;
        sqlx::query("insert into list values (1, 1, 'bench', now())").execute(&self.store.pool).await?;
        sqlx::query(
            "insert into contact (workspace_id, list_id, import_id, row_no, address, name, country)
             select 1, 1, 1, i, '+2135' || lpad(i::text, 8, '0'), 'Amina ' || i % 977, 'DZ' from generate_series(1, $1) i",
        )
        .bind(contacts as i64)
        .execute(&self.store.pool)
        .await?;
        self.run(&[
            "template",
            "add",
            "bench",
            "--channel",
            "sms",
            "--body",
            "Hello {{ name | default(\"friend\") }}",
        ])?;
        let create = ["campaign", "create", "bench", "--template", "bench", "--list", "bench", "--account", "bench"];
        self.run(&[&create, campaign].concat())?;
        Ok(())
    }

    pub fn status(&self) -> anyhow::Result<Value> {
        self.run(&["campaign", "status", "bench"])
    }

    /// Waits until the status fulfils `reached`.
    pub async fn until(&self, what: &str, limit: Duration, reached: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let began = Instant::now();
        loop {
            let status = self.status()?;
            if reached(&status) {
                return Ok(status);
            }
            if began.elapsed() > limit {
                bail!("{what}: not within {limit:?}: {status}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until a worker has registered.
    pub async fn serving(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let workers: i64 = sqlx::query_scalar("select count(*) from worker").fetch_one(&self.store.pool).await?;
            if workers > 0 {
                return Ok(());
            }
            ensure!(began.elapsed() < Duration::from_secs(30), "no worker registered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Position in the write-ahead log, bytes.
    pub async fn wal_bytes(&self) -> anyhow::Result<i64> {
        let lsn = sqlx::query_scalar("select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint")
            .fetch_one(&self.store.pool)
            .await?;
        Ok(lsn)
    }

    /// Process id of the database server.
    pub async fn server_pid(&self) -> anyhow::Result<u32> {
        let config = Config { home: self.dir().to_owned(), ..Config::default() };
        let status = fanfare_store::embedded::status(&config.place());
        Ok(status.pid.context("the database does not run")? as u32)
    }
}

/// What the simulator counted.
pub fn stats(port: u16) -> anyhow::Result<Value> {
    get(port, "/stats")
}

/// What the simulator accepted from the one at `after` on, in order: `{"accepted": […], "next": …}`.
pub fn accepted(port: u16, after: u64) -> anyhow::Result<Value> {
    get(port, &format!("/accepted?after={after}"))
}

fn get(port: u16, path: &str) -> anyhow::Result<Value> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split("\r\n\r\n").nth(1).context("no body")?;
    Ok(serde_json::from_str(body)?)
}

/// A field of an object as a number.
pub fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or(f64::NAN)
}

/// A figure to three decimals.
pub fn rounded(x: f64) -> Value {
    serde_json::json!((x * 1000.0).round() / 1000.0)
}
