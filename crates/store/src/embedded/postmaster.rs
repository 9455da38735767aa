//! Which process is the server of a data directory, as its `postmaster.pid` says.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::error::{Result, io_at};

/// The file in which a server writes its process id; it removes it as its last act.
pub(super) fn pid_file(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

/// The process id of the server that runs on `data`.
pub(super) fn running(data: &Path) -> Option<Pid> {
    named(data).filter(|&pid| is_server_of(pid, data))
}

/// Asks the server to end at once in good order: no new connections, open transactions rolled back.
pub(super) fn interrupt(pid: Pid, data: &Path) -> Result<()> {
    match kill_process(pid, Signal::INT) {
        Err(e) if e != rustix::io::Errno::SRCH => Err(io_at("stop the server of", data)(e.into())),
        _ => Ok(()),
    }
}

/// Removes a pid file whose process id belongs to another program by now, or to a dead process that
/// nobody has buried, as happens in containers: the server would take it for itself and not start.
/// The file stays while children of the dead server are left, for they may still write to the data.
pub(super) fn remove_if_reused(data: &Path) -> Result<()> {
    let taken = named(data).is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH));
    if taken && running(data).is_none() && !has_children(data) {
        let file = pid_file(data);
        return fs::remove_file(&file).map_err(io_at("remove", &file));
    }
    Ok(())
}

/// Whether a process is attached to the shared memory that line 7 of the pid file names by key and id.
fn has_children(data: &Path) -> bool {
    let text = fs::read_to_string(pid_file(data)).unwrap_or_default();
    let Some([key, id]) = text.lines().nth(6).map(fields) else { return false };
    let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    segments.lines().map(fields).any(|[k, i, _, _, _, _, attached]| k == key && i == id && attached != "0")
}

/// The first words of a line, empty where there are fewer.
fn fields<const N: usize>(line: &str) -> [&str; N] {
    let mut words = line.split_whitespace();
    std::array::from_fn(|_| words.next().unwrap_or_default())
}

fn named(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(pid_file(data)).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

/// A server lives and its working directory is its data directory; where the system does not show
/// that, its name must do.
#[cfg(target_os = "linux")]
fn is_server_of(pid: Pid, data: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    // As `4711 (postgres) S 1 …`.
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    let Some((name, state)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") ")) else { return false };
    if state.starts_with(['Z', 'X']) {
        return false;
    }
    match fs::read_link(process.join("cwd")) {
        Ok(dir) => dir == data,
        Err(e) => e.kind() == io::ErrorKind::PermissionDenied && name == "postgres",
    }
}

#[cfg(not(target_os = "linux"))]
fn is_server_of(pid: Pid, _data: &Path) -> bool {
    test_kill_process(pid).is_ok()
}
