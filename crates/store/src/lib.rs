//! All SQL of Fanfare: one module for each entity, each query under the name of its function.
//!
//! [`Store`] is a pool and what the statements need beside it: the clock, ids, randomness, the seal
//! for secrets. Functions that take part in a caller's transaction take a `&mut PgConnection`.

pub mod account_templates;
pub mod accounts;
pub mod arms;
pub mod audience;
pub mod audit;
pub mod campaigns;
pub mod cohorts;
pub mod contacts;
pub mod copy;
pub mod credits;
pub mod deliveries;
pub mod embedded;
pub mod erase;
pub mod error;
pub mod finish;
pub mod first_part;
pub mod flows;
pub mod follow_ups;
pub mod hooks;
pub mod hours;
pub mod imports;
pub mod inbound;
pub mod key;
pub mod lists;
pub mod load;
pub mod media;
pub mod migrate;
pub mod one_off;
pub mod open;
pub mod opt_words;
pub mod parts;
pub mod pepper;
pub mod person;
pub mod polls;
pub mod prices;
pub mod progress;
pub mod queue;
pub mod receipts;
mod remote;
pub mod reports;
pub mod runs;
pub mod schedules;
pub mod seal;
pub mod segments;
pub mod suppressions;
pub mod templates;
pub mod tokens;
pub mod transitions;
pub mod tx;
pub mod workers;
pub mod workspaces;

pub use error::{Error, Result};
pub use fanfare_domain::nearest;
pub use open::Store;
/// A connection, or a transaction on one: what the functions of this crate take.
pub use sqlx::{PgConnection, PgPool};
