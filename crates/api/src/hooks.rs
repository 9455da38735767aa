//! The addresses that providers post to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use fanfare_domain::limits::HOOK_BYTES_MAX;
use fanfare_providers::Kind;
use fanfare_providers::hooks::{Deaf, Heard, Posted, hear};
use fanfare_store::Store;
use fanfare_store::hooks::{self, Hook};
use fanfare_store::receipts::Taken;
use serde_json::json;
use tokio::time::timeout;

use crate::intake::Intake;

/// An account's hook is read anew after this: a changed secret, key or word takes effect within it.
const KNOWN_FOR: Duration = Duration::from_secs(2);
/// Longest wait for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Accounts that are remembered, those that do not exist included.
const KNOWN_MAX: usize = 10_000;

/// A hook as it was read, or that there is none, and when.
type Known = (Instant, Option<Arc<Hook>>);

/// What the handlers share.
pub struct Hooks {
    store: Store,
    intake: Intake,
    known: Mutex<HashMap<i64, Known>>,
    reading: tokio::sync::Mutex<()>,
    counts: Counts,
}

/// What became of posts and receipts since the start.
#[derive(Default)]
struct Counts {
    posts: AtomicU64,
    rejected: AtomicU64,
    receipts: AtomicU64,
    repeated: AtomicU64,
    early: AtomicU64,
    unknown: AtomicU64,
    inbound: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    fn taken(&self, taken: Taken) {
        Self::add(&self.receipts, taken.new);
        Self::add(&self.repeated, taken.repeated);
        Self::add(&self.early, taken.early);
        Self::add(&self.unknown, taken.unknown);
    }
}

/// A request that is not taken.
struct Rejected(StatusCode, String);

impl Hooks {
    pub fn new(store: Store, intake: Intake) -> Self {
        Self {
            store,
            intake,
            known: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// The account's hook, if `secret` is its. Who guesses learns nothing from the answer.
    async fn hook(&self, account: &str, secret: &str) -> Result<Arc<Hook>, Rejected> {
        let nobody = || Rejected(StatusCode::NOT_FOUND, "nobody takes posts at this address".to_owned());
        let account_id: i64 = account.parse().map_err(|_| nobody())?;
        let hook = match self.remembered(account_id) {
            Some(hook) => hook,
            None => self.read(account_id).await?,
        };
        hook.filter(|hook| hook.is_secret(secret)).ok_or_else(nobody)
    }

    fn remembered(&self, account_id: i64) -> Option<Option<Arc<Hook>>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&account_id).filter(|(since, _)| since.elapsed() < KNOWN_FOR).map(|(_, hook)| hook.clone())
    }

    async fn read(&self, account_id: i64) -> Result<Option<Arc<Hook>>, Rejected> {
        // One at a time: strangers who guess must not take the connections that sending needs.
        let _turn = self.reading.lock().await;
        if let Some(hook) = self.remembered(account_id) {
            return Ok(hook);
        }
        let found = async {
            let mut c = self.store.pool.acquire().await?;
            hooks::find(&mut c, account_id).await
        };
        let hook = found.await.map_err(|error: fanfare_store::Error| unavailable(&error))?.map(Arc::new);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(account_id, (Instant::now(), hook.clone()));
        Ok(hook)
    }

    /// Reads a request to a hook.
    fn heard(&self, hook: &Hook, request: Request<'_>) -> Result<Heard, Rejected> {
        let kind = Kind::named(&hook.kind).ok_or_else(|| refused(hook, &Deaf::NoHook))?;
        let (key, account_secret) = hook.keys(&self.store).map_err(|error| unavailable(&error))?;
        let posted = Posted {
            is_get: request.is_get,
            url: &address(request.uri, request.headers),
            query: request.uri.query().unwrap_or_default(),
            headers: request.headers,
            body: request.body,
            words: &hook.words,
            workspace_id: hook.workspace_id,
            secret: request.secret,
            key: key.as_deref(),
            account_secret: account_secret.as_deref(),
        };
        hear(kind, posted).map_err(|deaf| refused(hook, &deaf))
    }

    async fn take(&self, hook: &Hook, heard: Heard) -> Result<Response, Rejected> {
        let news = match heard {
            Heard::Challenge(answer) => return Ok(answer.into_response()),
            Heard::News(news) => news,
        };
        let inbound = news.inbound.len() as u64;
        match self.intake.store((hook.workspace_id, hook.account_id), news).await {
            Some(taken) => {
                self.counts.taken(taken);
                Counts::add(&self.counts.inbound, inbound);
                Ok(StatusCode::OK.into_response())
            }
            None => Err(Rejected(StatusCode::SERVICE_UNAVAILABLE, "not stored, post it again".to_owned())),
        }
    }

    fn answer(&self, done: Result<Response, Rejected>) -> Response {
        Counts::add(&self.counts.posts, 1);
        done.unwrap_or_else(|Rejected(status, why)| {
            Counts::add(&self.counts.rejected, 1);
            (status, why).into_response()
        })
    }
}

/// What of a request is read.
struct Request<'a> {
    is_get: bool,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    body: &'a [u8],
    secret: &'a str,
}

/// `POST /hooks/{account}/{secret}`
pub async fn post(
    State(hooks): State<Arc<Hooks>>,
    Path((account, secret)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let done = async {
        // Who does not know the secret is not listened to.
        let hook = hooks.hook(&account, &secret).await?;
        let body = whole(body).await?;
        let request = Request { is_get: false, uri: &uri, headers: &headers, body: &body, secret: &secret };
        let heard = hooks.heard(&hook, request)?;
        hooks.take(&hook, heard).await
    };
    hooks.answer(done.await)
}

/// The body, if it comes whole, in time and not too long.
async fn whole(body: Body) -> Result<Bytes, Rejected> {
    let too_late = || Rejected(StatusCode::REQUEST_TIMEOUT, "the body did not come in time".to_owned());
    let too_long = || Rejected(StatusCode::PAYLOAD_TOO_LARGE, format!("longer than {HOOK_BYTES_MAX} bytes"));
    timeout(BODY_TIMEOUT, to_bytes(body, HOOK_BYTES_MAX)).await.map_err(|_| too_late())?.map_err(|_| too_long())
}

/// `GET /hooks/{account}/{secret}`
pub async fn challenge(
    State(hooks): State<Arc<Hooks>>,
    Path((account, secret)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let done = async {
        let hook = hooks.hook(&account, &secret).await?;
        let request = Request { is_get: true, uri: &uri, headers: &headers, body: &[], secret: &secret };
        match hooks.heard(&hook, request)? {
            Heard::Challenge(answer) => Ok(answer.into_response()),
            Heard::News(_) => Ok(StatusCode::OK.into_response()),
        }
    };
    hooks.answer(done.await)
}

/// `GET /health`
pub async fn health(State(hooks): State<Arc<Hooks>>) -> Response {
    let n = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let c = &hooks.counts;
    let body = json!({
        "ok": true, "posts": n(&c.posts), "rejected": n(&c.rejected), "receipts": n(&c.receipts),
        "repeated": n(&c.repeated), "early": n(&c.early), "unknown": n(&c.unknown), "inbound": n(&c.inbound),
    });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// The address as the provider has it: a proxy before us says what it was asked for.
fn address(uri: &Uri, headers: &HeaderMap) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = header("x-forwarded-proto").unwrap_or("http");
    let host = header("x-forwarded-host").or_else(|| header("host")).unwrap_or_default();
    format!("{scheme}://{host}{uri}")
}

fn refused(hook: &Hook, deaf: &Deaf) -> Rejected {
    tracing::warn!(account_id = hook.account_id, why = %deaf, "a post was refused");
    let status = match deaf {
        Deaf::Forged | Deaf::NoKey => StatusCode::UNAUTHORIZED,
        Deaf::Malformed(_) => StatusCode::BAD_REQUEST,
        Deaf::NoHook => StatusCode::NOT_FOUND,
    };
    // Why there is no key is nothing for whoever posts.
    let why = if *deaf == Deaf::NoKey { Deaf::Forged.to_string() } else { deaf.to_string() };
    Rejected(status, why)
}

fn unavailable(error: &fanfare_store::Error) -> Rejected {
    tracing::warn!(?error, "a post could not be dealt with");
    Rejected(StatusCode::SERVICE_UNAVAILABLE, "not stored, post it again".to_owned())
}
