//! A PostgreSQL that somebody else runs.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use url::Url;

use crate::embedded::OLDEST_MAJOR;
use crate::{Error, Result};

/// Longest wait for the first connection.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// Connects to the database at `url`, the first time: whatever is wrong with it is said clearly.
///
/// # Errors
/// [`Error::Unreachable`].
pub(crate) async fn connect(url: &str) -> Result<(PgConnectOptions, PgConnection)> {
    let fail = |reason: String| Error::Unreachable { url: without_password(url), reason };
    let options = parse(url).map_err(fail)?;
    let mut connection = tokio::time::timeout(CONNECT_WAIT, PgConnection::connect_with(&options))
        .await
        .map_err(|_| {
            fail(format!("no answer within {} s; is the host right, and its firewall open?", CONNECT_WAIT.as_secs()))
        })?
        .map_err(|e| match e {
            sqlx::Error::Io(e) => fail(format!("{e}; does the server run, and are host and port right?")),
            e => fail(e.to_string()),
        })?;
    let version: i32 = sqlx::query_scalar(
        "-- connect
         select current_setting('server_version_num')::int",
    )
    .fetch_one(&mut connection)
    .await?;
    let major = version / 10_000;
    if u32::try_from(major).is_ok_and(|major| major < OLDEST_MAJOR) {
        return Err(fail(format!("it is PostgreSQL {major}, and {OLDEST_MAJOR} or newer is needed")));
    }
    Ok((options, connection))
}

fn parse(url: &str) -> Result<PgConnectOptions, String> {
    const EXPECTED: &str = "expected postgres://user:password@host:5432/database";
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    if !matches!(scheme, Some("postgres" | "postgresql")) {
        return Err(EXPECTED.into());
    }
    PgConnectOptions::from_str(url).map_err(|e| format!("{EXPECTED} ({e})"))
}

/// The address as it may be shown. Of one that cannot be read, only what cannot hold a password.
fn without_password(text: &str) -> String {
    let Some(mut url) = Url::parse(text).ok().filter(Url::has_host) else {
        let rest = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
        return rest.split('?').next().unwrap_or_default().to_owned();
    };
    // It refuses only an address without a host.
    let _ = url.set_password(None);
    if url.query().is_some_and(|q| q.contains("password")) {
        url.set_query(None);
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_ever_shown() {
        for text in [
            "postgres://u:hidden@h:1/d?sslmode=require",
            "postgres://u@h/d?password=hidden",
            "postgres//u:hidden@h/d",
            "u:hid@den@h/d",
            "h/d?password=hidden",
            "postgres://u:hidden@h:notaport/d",
        ] {
            let shown = without_password(text);
            assert!(!shown.contains("hid") && !shown.contains("den") && shown.contains('h'), "{text} → {shown}");
        }
    }

    #[test]
    fn an_address_that_is_none_says_what_was_expected() {
        for text in ["", "localhost", "mysql://u@h/d", "postgres://u@h:port/d"] {
            let reason = parse(text).unwrap_err();
            assert!(reason.contains("postgres://user:password@host:5432/database"), "{text} → {reason}");
        }
    }
}
