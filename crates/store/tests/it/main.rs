//! The store against a real PostgreSQL.

mod actor;
mod audience;
mod definitions;
mod deliveries;
mod embedded;
mod erase;
mod key;
mod one_off;
mod open;
mod pace;
mod polls;
mod queue;
mod scene;
mod schema;
mod several;
mod tokens;
mod tx;
mod windows;
