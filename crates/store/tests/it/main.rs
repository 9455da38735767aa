//! The store against a real PostgreSQL.

mod embedded;
mod open;
mod schema;
mod tx;
