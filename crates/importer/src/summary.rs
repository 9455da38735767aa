//! The account of an import.

use fanfare_store::imports::Counts;
use serde::Serialize;

/// What became of the rows of a file. Its JSON keys are a promise to scripts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// `rows` = `imported` + `updated` + `unchanged` + `duplicates` + `rejected`; `suppressed` beside them.
    #[serde(flatten)]
    pub counts: Counts,
    /// The first refused rows.
    pub rejects: Vec<Reject>,
    /// Refused rows that are not among `rejects`; the rejects file has them.
    pub rejects_omitted: i64,
    /// How long it took, s.
    pub seconds: f64,
    /// Most memory that the process held at any time, bytes.
    pub peak_rss_bytes: u64,
}

/// A refused row, by the first thing that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reject {
    /// Row of the file, counting from 1 after the header.
    pub row: u32,
    /// Name of the column; empty when it is the row as a whole.
    pub column: String,
    /// What stands there, shortened.
    pub value: String,
    /// Why it was refused.
    pub reason: String,
}

/// Most memory that this process has held, bytes; 0 where the system does not say.
pub(crate) fn peak_rss_bytes() -> u64 {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or(0) * 1024
}
