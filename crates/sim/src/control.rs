//! Steering a simulator and asking it what it saw: in the process by [`Handle`], else over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::faults::Faults;
use crate::judge::Stats;
use crate::ledger::Page;
use crate::provider::{Answer, Provider};
use crate::receipts::Target;

/// What to change; what is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Whether the provider is down: its port refuses connections, and those that were open are closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage: Option<bool>,
    /// Time from a request to its answer, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// All faults anew, `{"429": 0.02, …}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<Faults>,
    /// The only secret that is let in from now on: the one before is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Recipients, by phone in E.164, who write to the account now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrote: Option<Vec<String>>,
}

/// A running simulator, seen from within its process. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) provider: Arc<Provider>,
    pub(crate) address: SocketAddr,
    pub(crate) control_address: SocketAddr,
    /// Whether the provider shall be down.
    pub(crate) outage: Arc<watch::Sender<bool>>,
    /// Whether its port is closed.
    pub(crate) is_down: Arc<watch::Sender<bool>>,
}

impl Handle {
    /// Where messages are sent.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is asked and steered, even during an outage.
    pub fn control_address(&self) -> SocketAddr {
        self.control_address
    }

    /// The URL of an account at this provider.
    pub fn url(&self) -> String {
        let dialect = self.provider.dialect;
        format!("{}://{}{}", dialect.scheme(), self.address, dialect.base())
    }

    /// Posts receipts there from now on.
    pub fn post_receipts_to(&self, target: Target) {
        self.provider.change(|settings| settings.receipts_to = Some(target));
    }

    /// Notes that a recipient, a phone in E.164, wrote at this time, µs since the Unix epoch.
    pub fn wrote(&self, address: &str, at_us: i64) {
        self.provider.wrote(address, at_us);
    }

    /// What it saw. Takes about 1 ms for each million requests.
    pub fn stats(&self) -> Stats {
        self.provider.stats()
    }

    /// The acceptances from index `after` on, as many as fit a page.
    pub fn accepted(&self, after: usize) -> Page {
        self.provider.page(after)
    }

    /// Forgets what was seen.
    pub fn reset(&self) {
        self.provider.reset();
    }

    /// Changes how it behaves. An outage has begun, or ended, when this returns; the simulator must be
    /// serving for that.
    pub async fn control(&self, control: Control) {
        self.provider.change(|settings| {
            if let Some(ms) = control.latency_ms {
                settings.latency = Duration::from_millis(ms);
            }
            if let Some(faults) = control.faults {
                settings.faults = faults;
            }
            if control.secret.is_some() {
                settings.secret = control.secret;
            }
        });
        let now_us = self.provider.unix_us(Instant::now());
        control.wrote.iter().flatten().for_each(|address| self.wrote(address, now_us));
        if let Some(outage) = control.outage {
            self.outage.send_replace(outage);
            // Cannot fail: the sender lives as long as this handle.
            let _ = self.is_down.subscribe().wait_for(|down| *down == outage).await;
        }
    }

    /// Answers whatever is not a message.
    pub(crate) async fn answer(&self, method: &str, target: &str, body: &[u8], at_control_address: bool) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match (method, path) {
            ("GET", "/stats") => json(&self.stats()),
            ("GET", "/accepted") => match query.strip_prefix("after=").unwrap_or("0").parse() {
                Ok(after) => json(&self.accepted(after)),
                Err(_) => bad("expected ?after=N"),
            },
            ("POST", "/reset") => {
                self.reset();
                Answer::new("200 OK", "{}")
            }
            ("POST", "/control") => match serde_json::from_slice::<Control>(body) {
                // The outage would close the connection that asks for it, and leave no way to end it.
                Ok(control) if control.outage.is_some() && !at_control_address => {
                    bad(&format!("ask for an outage at the control address, {}", self.control_address))
                }
                Ok(control) => {
                    self.control(control).await;
                    Answer::new("200 OK", "{}")
                }
                Err(e) => bad(&e.to_string()),
            },
            (_, "/send" | "/stats" | "/accepted" | "/reset" | "/control") => {
                Answer::new("405 Method Not Allowed", "{}")
            }
            _ => Answer::new("404 Not Found", "{}"),
        }
    }
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => Answer::new("200 OK", body),
        Err(e) => Answer::new("500 Internal Server Error", e.to_string()),
    }
}

fn bad(why: &str) -> Answer {
    Answer::new("400 Bad Request", serde_json::json!({ "error": { "message": why } }).to_string())
}
