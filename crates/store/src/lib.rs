//! All SQL of Fanfare: one module for each entity, each query under the name of its function.
//!
//! [`Store`] is a pool and what the statements need beside it: the clock, ids, randomness, the seal
//! for secrets. Functions that take part in a caller's transaction take a `&mut PgConnection`.

pub mod error;
pub mod open;
pub mod seal;
pub mod workspaces;

pub use error::{Error, Result};
pub use open::Store;
