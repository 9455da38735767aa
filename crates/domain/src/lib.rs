//! The pure rules of Fanfare. Nothing here does IO; whatever needs the time or chance gets it from
//! [`clock::Clock`] and [`rng::Rng`].

pub mod cap;
pub mod clock;
pub mod cohort;
pub mod content;
pub mod email;
pub mod forecast;
pub mod hours;
pub mod id;
pub mod interval;
pub mod limits;
pub mod message;
pub mod nearest;
pub mod outcome;
pub mod pace;
pub mod phone;
pub mod price;
pub mod receipt;
pub mod retry;
pub mod rng;
pub mod schedule;
pub mod segment;
pub mod sms;
pub mod split;
pub mod spread;
pub mod state;
pub mod template;
pub mod window;
pub mod zone;
