//! Plans, launches, expands and controls runs on a real database.

mod approved;
mod audience;
mod chain;
mod control;
mod expand;
mod launch;
mod live;
mod plan;
mod scene;
mod schedules;
mod waves;
mod window;
