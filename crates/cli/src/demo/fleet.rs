//! The processes of the demo: a scheduler and workers, as one would start them by hand.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::context::Global;

/// Longest wait for a process to serve, and for one to end.
const READY_WAIT: Duration = Duration::from_secs(60);
const STOP_WAIT: Duration = Duration::from_secs(40);

/// A scheduler, and workers.
pub struct Fleet {
    program: PathBuf,
    options: Vec<OsString>,
    environment: Vec<(&'static str, String)>,
    dir: PathBuf,
    scheduler: Member,
    workers: Vec<Member>,
}

struct Member {
    name: &'static str,
    process: Child,
    log: PathBuf,
}

impl Fleet {
    /// Starts them all, and waits until they serve. Their logs go to `dir`.
    pub async fn start(global: &Global, workers: u8, dir: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let config = global.config()?;
        let mut options: Vec<OsString> = vec!["--home".into(), config.home.into()];
        if let Some(data_dir) = config.data_dir {
            options.extend(["--data-dir".into(), data_dir.into()]);
        }
        // By the environment, since others can see arguments.
        let environment = [("DATABASE_URL", config.database_url), ("FANFARE_KEY", config.key)];
        let environment = environment.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let spawn = Spawn { program: &program, options: &options, environment: &environment, dir };
        let scheduler = spawn.member("scheduler", 0).await?;
        let mut fleet = Self { scheduler, workers: Vec::new(), dir: dir.to_owned(), program, options, environment };
        for _ in 0..workers {
            fleet.start_worker().await?;
        }
        Ok(fleet)
    }

    /// Starts one more worker; gives its process id.
    pub async fn start_worker(&mut self) -> anyhow::Result<u32> {
        let Self { program, options, environment, dir, .. } = self;
        let spawn = Spawn { program, options, environment, dir };
        let number = std::fs::read_dir(&*dir).map_or(0, |entries| entries.count());
        let worker = spawn.member("worker", number).await?;
        let pid = worker.process.id().unwrap_or(0);
        self.workers.push(worker);
        Ok(pid)
    }

    /// Kills the first worker, which gets no chance to hand anything back; gives its process id.
    pub async fn kill_worker(&mut self) -> anyhow::Result<u32> {
        let mut worker = self.workers.remove(0);
        let pid = worker.process.id().unwrap_or(0);
        worker.process.kill().await.context("cannot kill a worker")?;
        Ok(pid)
    }

    /// Holds that none has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for member in self.workers.iter_mut().chain([&mut self.scheduler]) {
            if let Some(status) = member.process.try_wait().context("cannot watch a process")? {
                bail!("a {} ended ({status}):\n{}", member.name, tail(&member.log));
            }
        }
        Ok(())
    }

    /// Stops them as systemd would: by SIGTERM, workers first. A process that fails is an error.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let mut members: Vec<Member> = self.workers.drain(..).collect();
        members.push(self.scheduler);
        for member in &members {
            let pid = member.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
            if let Some(pid) = pid {
                kill_process(pid, Signal::TERM).context("cannot stop a process")?;
            }
        }
        for member in &mut members {
            let ended = timeout(STOP_WAIT, member.process.wait()).await;
            let status = ended.with_context(|| format!("a {} does not stop", member.name))??;
            if !status.success() {
                bail!("a {} failed ({status}):\n{}", member.name, tail(&member.log));
            }
        }
        Ok(())
    }

    /// The end of each log.
    pub fn logs(&self) -> String {
        let members = self.workers.iter().chain([&self.scheduler]);
        members.map(|m| format!("\n{}:\n{}", m.name, tail(&m.log))).collect()
    }
}

struct Spawn<'a> {
    program: &'a Path,
    options: &'a [OsString],
    environment: &'a Vec<(&'static str, String)>,
    dir: &'a Path,
}

impl Spawn<'_> {
    /// Starts one, and waits until it serves.
    async fn member(&self, name: &'static str, number: usize) -> anyhow::Result<Member> {
        let log = self.dir.join(format!("{name}-{number}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(self.program);
        command.arg(name).args(self.options);
        command.env_remove("DATABASE_URL").env_remove("FANFARE_KEY").envs(self.environment.iter().cloned());
        // In a group of its own, so that a Ctrl-C reaches the demo alone, which then ends it.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).kill_on_drop(true).process_group(0);
        let mut process = command.spawn().with_context(|| format!("cannot start a {name}"))?;
        let out = process.stdout.take().context("its standard output is a pipe")?;
        let line = timeout(READY_WAIT, BufReader::new(out).lines().next_line()).await;
        match line.with_context(|| format!("a {name} does not serve"))?? {
            Some(line) if line == "ready" => Ok(Member { name, process, log }),
            _ => bail!("a {name} does not serve:\n{}", tail(&log)),
        }
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
