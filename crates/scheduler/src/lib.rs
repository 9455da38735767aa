//! From a campaign to a run that is being sent, and to its end.
//!
//! - [`plan`] is the dry run: what a launch would do, what it would cost, what stands in its way.
//! - [`launch`] refuses what the plan refuses, and makes the run.
//! - [`expand`] freezes the run's audience, segment by segment.
//! - [`fire`] makes runs of the ticks of schedules; [`schedule`] is what a person does with one.
//! - [`live`] opens and stops the runs whose messages come one by one, [`one_off`] enters these.
//! - [`control`] pauses, resumes and cancels.
//! - [`waves`] divides the recipients by their clocks, [`hours`] moves the windows of what waits on.
//! - [`tick`] is the scheduler process: fires ticks, starts runs at their time, expands, reclaims, finishes.
//!
//! [`audience`] is the one place that decides who is written to.

mod approved;
pub mod audience;
pub mod control;
mod error;
pub mod expand;
pub mod fire;
pub mod first;
pub mod follow;
pub mod guard;
pub mod hours;
pub mod launch;
pub mod life;
pub mod live;
pub mod one_off;
pub mod plan;
pub mod preview;
pub mod resend;
pub mod rest;
mod run;
pub mod schedule;
mod tally;
pub mod tick;
pub mod waves;
pub mod window;

pub use error::{Error, Problem, Result};
