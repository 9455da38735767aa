//! What can go wrong, and what stands in the way of a launch.

use std::fmt;

use serde::Serialize;

/// Result of a scheduler function.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed scheduler function.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// At the database.
    #[error(transparent)]
    Store(#[from] fanfare_store::Error),
    /// The launch was refused.
    #[error("refused: {}", problems(.0))]
    Refused(Vec<Problem>),
    /// Not in this state; says what the state is and what to do.
    #[error("{0}")]
    State(String),
}

/// Something that stands in the way of a launch, or that one should know before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is the matter.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// A problem with its remedy.
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem, self.remedy)
    }
}

fn problems(all: &[Problem]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
