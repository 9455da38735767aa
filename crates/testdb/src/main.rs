//! `fanfare-testdb stop` stops the server that tests share.

use std::process::ExitCode;

use fanfare_store::embedded;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() != Some("stop") {
        eprintln!("usage: fanfare-testdb stop");
        return ExitCode::from(2);
    }
    match embedded::stop(&fanfare_testdb::place()).await {
        Ok(_) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("fanfare-testdb: {e}");
            ExitCode::FAILURE
        }
    }
}
