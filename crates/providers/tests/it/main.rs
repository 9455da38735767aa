//! The adapters against real sockets on loopback.

mod faults;
mod fixtures;
mod kinds;
mod peer;
mod postfix;
mod reuse;
mod settings;
mod simulated;
mod smtp;
mod tls;
