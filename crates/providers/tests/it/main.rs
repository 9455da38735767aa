//! The adapters against real sockets on loopback.

mod coverage;
mod faults;
mod files;
mod fixtures;
mod kinds;
mod one_confirmed;
mod peer;
mod postfix;
mod reuse;
mod settings;
mod simulated;
mod smtp;
mod tls;
