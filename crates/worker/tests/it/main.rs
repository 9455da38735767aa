//! Workers against a real database and a provider on loopback that judges what it was sent.

mod accounts;
mod drain;
mod kinds;
mod login;
mod media;
mod receipts;
mod stage;
mod templates;
