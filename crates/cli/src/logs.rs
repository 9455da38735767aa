//! Logs, on standard error: ids, never message text, addresses or secrets.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Sets logging up: `FANFARE_LOG` chooses what is logged (for example `debug` or `fanfare_worker=debug`),
/// else `default`. As JSON lines for machines.
pub fn init(json: bool, default: &str) {
    let filter = EnvFilter::try_from_env("FANFARE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        builder.json().init();
    } else {
        builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).compact().init();
    }
}
