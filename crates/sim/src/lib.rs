//! A provider on loopback, with faults, that judges what it was sent.
//!
//! It shares no code with the adapters and reads the wire format on its own (`wire`): an oracle stands
//! apart from what it judges. From `domain` it takes the clock and chance only.
//!
//! | request | what it does |
//! |---|---|
//! | `POST /send`, or what the interface of its [`Kind`] has | takes a message, or fails as [`Faults`] say |
//! | `GET /stats` | what was seen: [`Stats`] |
//! | `GET /accepted?after=N` | every acceptance in order, a page at a time: [`Page`] |
//! | `POST /control` | changes latency, faults, outage: [`Control`] |
//! | `POST /reset` | forgets what was seen |
//!
//! All but the first are also served at a second address, the control address, which an outage leaves alone.
//! A mail server (`smtp`) takes messages by SMTP, so that the rest is at the control address only.
//!
//! The server is a loop over a socket with `httparse`, without a framework. It shares the machine with
//! what is measured, so a request must cost little; and a reset, a silence or a slow body is then one line
//! at the very place in the exchange where it shall happen. What a request costs beside the system calls:
//! one look at the head, one at the JSON, three short locks.

mod arrival;
mod cap;
mod config;
mod control;
mod dialect;
mod faults;
mod judge;
mod ledger;
mod provider;
mod receipts;
mod server;
mod smtp;
mod wire;

pub use cap::Cap;
pub use config::{Config, ConfigError, duration, shown};
pub use control::{Control, Handle};
pub use dialect::Kind;
pub use faults::{Chance, Fault, Faults};
pub use judge::{AccountStats, LatencyStats, ReceiptStats, Stats};
pub use ledger::{Acceptance, Page};
pub use receipts::{Status, Target};
pub use server::{BindError, Sim};
