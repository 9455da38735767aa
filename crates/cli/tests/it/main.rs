//! The program as a user runs it: each command a process of its own.

mod account;
mod arrows;
mod audience;
mod bad_input;
mod crash;
mod demo;
mod doubt;
mod files;
mod hours;
mod house;
mod journey;
mod life;
mod message;
mod offers;
mod program;
mod readme;
mod schedule;
mod several;
mod stages;
mod ticks;
mod usage;
mod window;
