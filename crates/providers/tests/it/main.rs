//! The adapters against real sockets on loopback.

mod faults;
mod fixtures;
mod kinds;
mod one_confirmed;
mod peer;
mod reuse;
mod settings;
mod simulated;
mod through_sim;
mod tls;
