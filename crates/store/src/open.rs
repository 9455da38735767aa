//! Opening the database.
pub struct Store;
