//! Workers against a real database and a provider on loopback that judges what it was sent.

mod accounts;
mod doubt;
mod drain;
mod kinds;
mod life;
mod login;
mod media;
mod pace;
mod polls;
mod receipts;
mod revoked;
mod several;
mod stage;
mod templates;
mod triggered;
mod urgent;
mod waves;
mod window;
