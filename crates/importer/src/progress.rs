//! How far an import is.

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// What is being done.
    pub stage: Stage,
    /// Bytes of the input that are done with.
    pub bytes: u64,
    /// Bytes of the input.
    pub bytes_total: u64,
    /// Data rows that are done with; 0 while checking.
    pub rows: u64,
}

/// What an import is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reads the file once to see that it is whole.
    Checking,
    /// Fills the list.
    Loading,
}

/// Is told how far an import is.
pub trait Progress: Send {
    /// Called now and then, and at the end; must return soon.
    fn at(&mut self, position: Position);
}

/// Tells nobody.
#[derive(Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn at(&mut self, _: Position) {}
}
