//! The simulator, seen by a plain client.

mod client;
mod control;
mod exchange;
mod faults;
mod receipts;
mod smtp;
