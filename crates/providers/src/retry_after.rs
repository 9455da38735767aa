//! The Retry-After header (RFC 9110 §10.2.3): seconds or an HTTP date. A fraction of a second, which some
//! servers send, is understood; anything else is ignored.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::HeaderMap;
use hyper::header::{DATE, RETRY_AFTER};

/// How long the server asks us to wait. A date is measured from the server's own Date where it sends
/// one, so that its clock need not agree with ours.
pub(crate) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = http_date(text)?;
    let from = headers.get(DATE).and_then(|d| http_date(d.to_str().ok()?)).unwrap_or(now);
    Some((until - from).to_std().unwrap_or(Duration::ZERO))
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text.trim()).ok().map(|d| d.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_fractions_and_dates_are_understood_and_the_rest_ignored() {
        let now = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let check = |value: &str, date: Option<&str>, expect: Option<f64>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            assert_eq!(retry_after(&headers, now), expect.map(Duration::from_secs_f64), "{value:?}, {date:?}");
        };
        check("120", None, Some(120.0));
        check(" 0 ", None, Some(0.0));
        check("1.5", None, Some(1.5));
        check("Sun, 06 Nov 1994 08:50:07 GMT", None, Some(30.0));
        check("Sun, 06 Nov 1994 08:50:07 GMT", Some("Sun, 06 Nov 1994 08:50:00 GMT"), Some(7.0));
        check("Sun, 06 Nov 1994 08:00:00 GMT", None, Some(0.0));
        for nonsense in ["", "soon", "-5", "NaN", "inf", "1e300", "12 seconds"] {
            check(nonsense, None, None);
        }
    }
}
