//! The program as a user runs it: each command a process of its own.

mod account;
mod arrows;
mod bad_input;
mod demo;
mod files;
mod journey;
mod life;
mod program;
mod readme;
mod usage;
