//! The token of an account that logs in: `POST /login {email, password}`.
//!
//! A login with a second factor succeeds without a token, and the step that would take the second factor
//! is not documented. No message has been sent while there is no token, whatever became of the login.
//!
//! Source: 1Confirmed API documentation: login.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanfare_domain::outcome::{Failure, FailureKind};
use serde_json::{Value, json};

use super::{failure, is_refusal};
use crate::Client;
use crate::caller::{Call, Caller};
use crate::connection::Reply;
use crate::tokens::Tokens;

/// A login, and the token that it brought.
pub(super) struct Login {
    email: String,
    password: String,
    tokens: Arc<dyn Tokens>,
    renewed: Mutex<Renewed>,
}

/// The token that came in place of a refused one.
#[derive(Default)]
struct Renewed {
    token: Option<String>,
    /// Whether it was ever taken.
    let_in: bool,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    pub fn new(email: &str, password: &str, client: &Client) -> Self {
        Self {
            email: email.to_owned(),
            password: password.to_owned(),
            tokens: client.tokens(),
            renewed: Mutex::default(),
        }
    }

    /// The account's token.
    pub async fn token(&self, caller: &Caller) -> Result<String, Failure> {
        self.tokens.token(None, Box::pin(self.fetch(caller))).await
    }

    /// Sees to another token than the `refused` one; `false` if that was itself such another one and was
    /// never taken: a third would fare no better, and there would be no end of logins.
    pub async fn renew(&self, caller: &Caller, refused: &str) -> Result<bool, Failure> {
        if matches!(&*self.renewed(), Renewed { token: Some(token), let_in: false } if token == refused) {
            return Ok(false);
        }
        let token = self.tokens.token(Some(refused), Box::pin(self.fetch(caller))).await?;
        let mut renewed = self.renewed();
        if renewed.token.as_ref() != Some(&token) {
            *renewed = Renewed { token: Some(token), let_in: false };
        }
        Ok(true)
    }

    /// Notes that a token was taken.
    pub fn let_in(&self, token: &str) {
        let mut renewed = self.renewed();
        renewed.let_in |= renewed.token.as_deref() == Some(token);
    }

    fn renewed(&self) -> MutexGuard<'_, Renewed> {
        // A panic elsewhere leaves a note that is still one.
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, caller: &Caller) -> Result<String, Failure> {
        let call = Call::post("/login", &json!({ "email": self.email, "password": self.password }));
        let reply = caller.call(call, &|| true).await.map_err(|none| {
            // Whatever of the login was written: nothing of a message was.
            let failed = Failure::from(none);
            Failure::new(FailureKind::Unreachable, format!("login: {}", failed.detail))
        })?;
        let body = reply.json().unwrap_or_default();
        if !reply.status.is_success() || is_refusal(&body) {
            return Err(refused(caller, &reply, &body));
        }
        match body.pointer("/data/token").and_then(Value::as_str) {
            // It will stand in a header.
            Some(token) if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) => Ok(token.to_owned()),
            Some(_) => Err(Failure::new(FailureKind::Configuration, "login: token that fits no header")),
            None if body.get("success") == Some(&Value::Bool(true)) => {
                let what = "login wants a second factor: give a token as the secret and unset email";
                Err(Failure::new(FailureKind::Configuration, what))
            }
            None => Err(Failure::new(FailureKind::Transient, "login: answer without a token")),
        }
    }
}

fn refused(caller: &Caller, reply: &Reply, body: &Value) -> Failure {
    let failed = failure(caller, reply, body);
    let kind = match failed.kind {
        FailureKind::Throttled => FailureKind::Throttled,
        // A proxy's or a server's error: no message was sent.
        FailureKind::Unknown => FailureKind::Transient,
        _ => FailureKind::Configuration,
    };
    Failure::new(kind, format!("login: {}", failed.detail)).after(failed.retry_after)
}
