//! From a contact file to a list: read, map, check, load.
//!
//! [`import()`] walks the file twice. The first walk sees that it is whole and what it is: nothing is
//! written before a file is known to be readable to its end. The second turns rows into contacts on a
//! thread of its own, and loads them in batches; each is one transaction with the checkpoint behind it.
//!
//! ```text
//! input ──▶ kind ──▶ read_csv │ read_excel ──▶ record ──▶ check ──▶ batch ──▶ store::load
//!                    (dialect, scan │ guard)      map ─────┘  └──▶ rejects
//! ```

mod batch;
mod check;
mod dialect;
mod error;
mod headers;
mod import;
mod input;
mod kind;
mod load;
mod map;
mod options;
mod places;
mod progress;
mod read_csv;
mod read_excel;
mod record;
mod rejects;
mod rows;
mod scan;
mod seen;
mod summary;
mod table;
mod values;
mod words;

pub use encoding_rs::Encoding;
pub use error::ImportError;
pub use import::import;
pub use options::{Given, Options, Source, parse_country, parse_delimiter, parse_encoding};
pub use progress::{Position, Progress, Quiet, Stage};
pub use summary::{Reject, Summary};
