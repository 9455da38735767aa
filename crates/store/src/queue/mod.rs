//! The queue: claim, flush, reclaim. The words are those of DATA_MODEL.md.

mod books;
mod claim;
mod days;
mod decide;
mod flush;
mod messages;
mod pace;
mod reclaim;
mod settle;
mod write_off;

pub use claim::{Lane, Lease, Span, claim, claim_urgent, holds, unheard, urgent};
pub use days::{Contacted, TakenBack, contacted, forget_contacted, give_back, unclaim};
pub use decide::{Decision, decide};
pub use flush::{Fate, Flushed, Flusher, Mark, Settlement, flush};
pub use messages::{Message, RunInfo, heard, messages, run_info};
pub use pace::{circuit_close, circuit_open, throttle};
pub use reclaim::{Parked, reclaim};
pub(crate) use settle::lock_doubts;
pub use settle::{BY_RECEIPT, Verdict, settle};
pub use write_off::write_off;
