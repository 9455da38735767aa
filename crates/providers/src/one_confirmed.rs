//! 1Confirmed: WhatsApp templates, paid by credits.
//!
//! `POST /messages` with a bearer token. The secret is that token; or it is a password, if the account's
//! settings name an e-mail, and the token is fetched with both (`login`). A template's name is its id
//! there, and its parameters are written `variable=value`, since its variables have names. Addresses have
//! no plus. Delayed sends are not used: their answer has no id.
//!
//! The documents say no status numbers, and failures as `success: false`: the words are read before the
//! status. A refusal in words that are not listed is final. There is neither a key nor a look-up of
//! single messages, so that a message in doubt stays so. A 401 refuses a token before anything is sent:
//! if it was fetched, another is, and the message goes back to take a new slot.
//!
//! What became of a single message cannot be asked for. The lists with statuses, `GET /contacts` and
//! `GET /filter/contacts/segments`, are documented as those of broadcasts, and name a contact by an id of the
//! list's own, phone, `broadcast_name`, `data`, and times without a zone; the id that `POST /messages` answers
//! stands nowhere in them. Two messages of a template to one phone could not be told apart, and a status put to
//! the wrong one would be worse than none. There remain confirmations, which are posted to a listener.
//!
//! Source: 1Confirmed API documentation: authentication, login, send message, get credit, broadcast contacts,
//! filter contacts, confirmation webhook listener.

mod listed;
mod login;

use std::sync::LazyLock;

use fanfare_domain::content::{Approved, Content, Feature, Listed, Naming};
use fanfare_domain::message::{Channel, OutMessage};
use fanfare_domain::outcome::{Action, Answer, Failure, FailureKind};
use hyper::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::caller::{Call, Caller, kept, provider_id};
use crate::codes::Codes;
use crate::config::Settings;
use crate::connection::Reply;
use crate::endpoint::NoAnswer;
use crate::kind::{Doubt, Keys, Kind, Offer, Receipts, Setting};
use crate::meta::body::without_null;
use crate::sender::Origin;
use crate::{Balance, Client, ConfigError, MayStart, Provider, variables};
use login::Login;

const FIELDS: &str = "its documents name no field for it";
const UNMATCHED: &str =
    "its lists of statuses are of broadcasts, and name a message by phone and time alone, never by its id";
const TEMPLATES: &str = "single messages are templates only";

static CODES: LazyLock<Codes> = LazyLock::new(|| Codes::parse(include_str!("../codes/one_confirmed.txt")));

/// What it is and can.
pub static KIND: Kind = Kind {
    name: "one_confirmed",
    service: "1Confirmed API v1",
    carries: &[(Channel::Whatsapp, &[Feature::Template])],
    refuses: &[
        (Feature::Text, TEMPLATES),
        (Feature::Image, TEMPLATES),
        (Feature::Video, TEMPLATES),
        (Feature::Audio, TEMPLATES),
        (Feature::Document, TEMPLATES),
        (Feature::Location, TEMPLATES),
        (Feature::Contact, TEMPLATES),
        (Feature::Buttons, TEMPLATES),
        (Feature::List, TEMPLATES),
        (Feature::CtaUrl, TEMPLATES),
        (Feature::Product, TEMPLATES),
        (Feature::Products, TEMPLATES),
        (Feature::Flow, TEMPLATES),
        (Feature::LocationRequest, TEMPLATES),
        (Feature::Code, TEMPLATES),
        (Feature::TemplateHeader, FIELDS),
        (Feature::TemplateMedia, FIELDS),
        (Feature::TemplateUrl, FIELDS),
        (Feature::TemplateQuickReply, FIELDS),
        (Feature::TemplateCopyCode, FIELDS),
        (Feature::TemplateFlow, FIELDS),
        (Feature::TemplateCatalog, FIELDS),
        (Feature::TemplateCode, FIELDS),
        (Feature::TemplateOffer, FIELDS),
        (Feature::TemplateCarousel, FIELDS),
        (Feature::TemplateProductCarousel, FIELDS),
    ],
    secret: Some("a token, or the password of the login whose e-mail is set"),
    base_url: Some("https://1confirmed.com/api/v1"),
    settings: &[
        Setting { key: "email", what: "e-mail of the login; without it the secret is a token", required: false },
        Setting {
            key: "template_account_flow_id",
            what: "id of the number that sends, as GET /template/accounts lists it",
            required: false,
        },
    ],
    caps: &[],
    keys: Keys::Ignored,
    doubt: Doubt::Policy,
    receipts: Receipts::Confirmations,
    no_deliveries: Some(UNMATCHED),
    echoes: false,
    names_hook: false,
    window: true,
    text_chars_max: &[],
    naming: Naming::Variables,
    origin: Origin::Settings,
    offers: &[Offer::Check, Offer::Balance, Offer::Templates],
};

/// An account at 1Confirmed.
#[derive(Debug)]
pub struct OneConfirmed {
    caller: Caller,
    sender: Option<u64>,
    /// Absent if the token is given, and stands in the caller's headers.
    login: Option<Login>,
}

/// Why there is no answer to judge.
enum Stopped {
    NoAnswer(NoAnswer),
    /// There is no token.
    NoToken(Failure),
    /// The token was refused, and there is another one now.
    Renewed,
}

impl OneConfirmed {
    /// From settings and secret.
    ///
    /// # Errors
    /// [`ConfigError`] names what cannot be used.
    pub(crate) fn open(settings: &Settings, secret: &str, client: &Client) -> Result<Self, ConfigError> {
        let caller = Caller::new(&settings.url()?, client)?;
        let sender = settings.number("template_account_flow_id")?;
        Ok(match settings.get("email") {
            Some(email) => Self { caller, sender, login: Some(Login::new(email, secret, client)) },
            None => Self { caller: caller.authorized("Bearer", secret)?, sender, login: None },
        })
    }

    /// The body of `POST /messages`.
    fn body(&self, m: &OutMessage) -> Result<Value, Failure> {
        let refuse = |why| {
            let failure = Failure::new(FailureKind::PermanentContent, why);
            Err(Failure { action: Some(Action::PauseRun), ..failure })
        };
        // No account is planned with another content.
        let Content::Template(Approved { name, params, .. }) = &m.content else { return refuse("not carried") };
        let Ok(template_id) = name.parse::<u64>() else { return refuse("template name is no id") };
        let Some(data) = variables::named(params) else { return refuse("parameter without a variable's name") };
        Ok(without_null(json!({
            "template_id": template_id,
            "template_account_flow_id": self.sender,
            "phone": m.to.trim_start_matches('+'),
            "name": m.campaign,
            "data": (!data.is_empty()).then_some(data),
        })))
    }

    /// Makes a call with the account's token. If that was fetched and is refused, another one is fetched.
    async fn call(&self, call: Call, may_start: MayStart<'_>) -> Result<Reply, Stopped> {
        let Some(login) = &self.login else {
            return self.caller.call(call, may_start).await.map_err(Stopped::NoAnswer);
        };
        let token = login.token(&self.caller).await.map_err(Stopped::NoToken)?;
        // A login takes time, and a connection that is there is used without a question.
        if !may_start() {
            return Err(Stopped::NoAnswer(NoAnswer::NotStarted));
        }
        let call = call.with(AUTHORIZATION, format!("Bearer {token}"));
        let reply = self.caller.call(call, may_start).await.map_err(Stopped::NoAnswer)?;
        match reply.status.as_u16() {
            401 if login.renew(&self.caller, &token).await.map_err(Stopped::NoToken)? => Err(Stopped::Renewed),
            401 | 429 | 500.. => Ok(reply),
            _ => {
                login.let_in(&token);
                Ok(reply)
            }
        }
    }

    /// Asks for something that sends nothing.
    async fn list(&self, path: &str) -> Result<Value, Failure> {
        self.ask(|| Call::list(path)).await
    }

    /// Makes a call that sends no message; once more if its token is refused and there is another one.
    async fn ask(&self, call: impl Fn() -> Call) -> Result<Value, Failure> {
        let reply = match self.call(call(), &|| true).await {
            Err(Stopped::Renewed) => self.call(call(), &|| true).await?,
            first => first?,
        };
        let body = reply.json().unwrap_or_default();
        if !reply.status.is_success() || is_refusal(&body) {
            return Err(failure(&self.caller, &reply, &body));
        }
        Ok(body)
    }

    fn answer(&self, reply: &Reply) -> Answer {
        let status = reply.status.as_u16();
        let body = reply.json().unwrap_or_default();
        if !reply.status.is_success() || is_refusal(&body) {
            return Answer::Failed(failure(&self.caller, reply, &body));
        }
        match provider_id(&body, "/data/messages/0/id") {
            Some(id) => Answer::Sent { provider_id: kept(id) },
            // Taken for later, though it was not asked to be.
            None if body.get("scheduled_for").is_some_and(|at| !at.is_null()) => Answer::Sent { provider_id: None },
            None => Answer::Failed(Failure::new(FailureKind::Unknown, format!("{status} without an id"))),
        }
    }
}

/// Whether the body says that nothing was done.
fn is_refusal(body: &Value) -> bool {
    body.get("success") == Some(&Value::Bool(false)) || body.get("errors").is_some_and(Value::is_object)
}

/// What an answer means that is no success, or says that it is none.
fn failure(caller: &Caller, reply: &Reply, body: &Value) -> Failure {
    let by_status = caller.by_status(reply);
    let status = reply.status.as_u16();
    let refusals = [FailureKind::PermanentContent, FailureKind::Configuration];
    if !reply.status.is_success() && !refusals.contains(&by_status.kind) {
        return by_status;
    }
    let text = body.get("message").and_then(Value::as_str);
    if let Some(known) = CODES.failure(None, text, 1) {
        return known;
    }
    if by_status.kind == FailureKind::Configuration {
        return by_status;
    }
    let fields = body.get("errors").and_then(Value::as_object);
    let of_phone = fields.is_some_and(|fields| fields.len() == 1 && fields.contains_key("phone"));
    let documented = ["template_id", "template_account_flow_id", "name", "data", "phone"];
    let named = documented.iter().find(|name| fields.is_some_and(|fields| fields.contains_key(**name)));
    match named {
        Some(_) if of_phone => Failure::new(FailureKind::PermanentRecipient, format!("{status} phone")),
        // What the run names, and not the recipient's values: every message would meet it.
        Some(name) => {
            let action = (*name != "data").then_some(Action::PauseRun);
            Failure { action, ..Failure::new(FailureKind::PermanentContent, format!("{status} {name}")) }
        }
        None if status == 404 || status == 405 => Failure::new(FailureKind::Configuration, by_status.detail),
        None => Failure::new(FailureKind::PermanentContent, format!("{status} refused")),
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::NoAnswer(none) => none.into(),
            Stopped::NoToken(failure) => failure,
            Stopped::Renewed => Self::new(FailureKind::Configuration, "401"),
        }
    }
}

impl Provider for OneConfirmed {
    async fn send(&self, message: &OutMessage, may_start: MayStart<'_>) -> Answer {
        let body = match self.body(message) {
            Ok(body) => body,
            Err(failure) => return Answer::Failed(failure),
        };
        match self.call(Call::post("/messages", &body), may_start).await {
            Ok(reply) => self.answer(&reply),
            Err(Stopped::NoAnswer(none)) => none.into(),
            Err(Stopped::NoToken(failure)) => Answer::Failed(failure),
            // Sent again from here, it would go faster than the account's pace.
            Err(Stopped::Renewed) => Answer::NotStarted,
        }
    }

    async fn listen(&self, url: &str) -> Result<bool, Failure> {
        let listener = json!({ "target_url": url, "active": 1 });
        let body = self.ask(|| Call::post("/confirmation/listeners", &listener)).await?;
        match body.pointer("/data/target_url").and_then(Value::as_str) {
            Some(taken) if taken == url => Ok(true),
            _ => Err(Failure::new(FailureKind::Unknown, "no listener with this address in the answer")),
        }
    }

    async fn check(&self) -> Result<String, Failure> {
        let body = self.list("/credits").await?;
        let credit = body.pointer("/data/credit").filter(|credit| credit.is_number());
        Ok(credit.map_or_else(|| "credit: not said".to_owned(), |credit| format!("credit: {credit}")))
    }

    async fn balance(&self) -> Result<Balance, Failure> {
        let body = self.list("/credits").await?;
        let credit = body.pointer("/data/credit").filter(|credit| credit.is_number());
        let credit = credit.ok_or_else(|| Failure::new(FailureKind::Unknown, "200 without a credit"))?;
        Ok(Balance { amount: credit.to_string(), unit: "credits".to_owned() })
    }

    async fn templates(&self) -> Result<Vec<Listed>, Failure> {
        let categories = listed::names(&self.list("/categories").await?, "name")?;
        let mut all = Vec::new();
        // The list has a language each; those of broadcasts are other templates.
        for (id, language) in listed::names(&self.list("/languages").await?, "language")? {
            let page = self.list(&format!("/templates?language_id={id}&is_broadcast=0")).await?;
            all.extend(listed::templates(&page, &language, &categories)?);
        }
        Ok(all)
    }
}
