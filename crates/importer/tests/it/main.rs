//! Whole imports: real files, a real database.

mod bad;
mod bombs;
mod dry_run;
mod formats;
mod memory;
mod model;
mod policy;
mod rejects;
mod resume;
mod support;
mod suppression;
