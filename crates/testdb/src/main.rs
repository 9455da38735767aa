//! `fanfare-testdb stop` stops the server that tests share, unless tests are using it.

use std::process::ExitCode;

use fanfare_store::embedded;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() != Some("stop") {
        eprintln!("usage: fanfare-testdb stop");
        return ExitCode::from(2);
    }
    match embedded::stop_unused(&fanfare_testdb::place()).await {
        Ok(_) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("fanfare-testdb: {e}");
            ExitCode::FAILURE
        }
    }
}
