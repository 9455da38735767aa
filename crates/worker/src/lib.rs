//! The worker: claim → slot → send → flush.
//!
//! [`run`] is the process: it registers, beats its heart, watches the board of epochs, and keeps one
//! apalis worker for each account that has work. `backend::LeaseBackend` claims leases and hands
//! each to `send::batch`, which starts every message at its slot. `flush` writes down what became
//! of them, one transaction every few tens of milliseconds. `urgent` is how messages of the transactional lane
//! come to slots that bulk holds. `polls` asks providers what became of messages
//! that they had only queued, at slots of the same pace.

mod account;
mod backend;
mod board;
mod claims;
mod drive;
mod files;
mod flush;
#[cfg(test)]
mod many;
mod polls;
mod resolve;
mod runs;
mod send;
mod serve;
mod slots;
mod steer;
mod tokens;
mod urgent;
mod urgent_loop;

pub use drive::run;

/// Why a worker ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed in a way that waiting does not mend.
    #[error("the database refuses what this worker must write down")]
    Store(#[from] fanfare_store::Error),
    /// A part of the worker panicked.
    #[error("a part of the worker panicked")]
    Panicked(#[source] tokio::task::JoinError),
}
