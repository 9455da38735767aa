//! The demo's provider: the simulated service, the account there, and what is said through it.

use fanfare_api::Server;
use fanfare_domain::message::Channel;
use fanfare_domain::template::{Text, Variant};
use fanfare_providers::Kind;
use fanfare_providers::kind::Doubt;
use fanfare_sim::{Handle, Status};
use fanfare_store::hooks::{self, Opening};
use fanfare_store::polls;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::ACCOUNT;
use crate::context::Context;

/// What the simulated service signs its posts with, where it signs.
pub const HOOK_KEY: &str = "demo-hook-key";
/// Which receipts each message has.
pub const RECEIPTS: [Status; 3] = [Status::Sent, Status::Delivered, Status::Read];

/// The channel that messages go by: the kind's first one, and by SMS where any will do.
pub fn channel(kind: &Kind) -> Channel {
    if kind.name == "http" { Channel::Sms } else { kind.channels().next().unwrap_or(Channel::Sms) }
}

/// The settings of an account at the simulator.
pub fn settings(kind: &Kind, url: &str) -> Value {
    let mut settings = json!({ "url": url });
    let own: &[(&str, &str)] = match kind.name {
        "one_msg" => &[("instance_id", "SIM1")],
        "one_system" => &[("session_id", "1")],
        "meta" => &[("phone_number_id", "106540352242922")],
        "twilio" => &[("account_sid", "AC00000000000000000000000000000000"), ("messaging_service_sid", "MG1")],
        "smtp" => &[("user", "demo"), ("tls", "none")],
        _ => &[],
    };
    own.iter().for_each(|(key, value)| settings[*key] = (*value).into());
    settings
}

/// The address that messages come from, where the service wants one.
pub fn sender(kind: &Kind) -> Option<&'static str> {
    (channel(kind) == Channel::Email).then_some("Fanfare <demo@example.com>")
}

/// What is said, by language. Those who have not written lately may be sent approved templates only.
pub fn texts(kind: &Kind) -> Vec<Variant> {
    let variant = |language: &str, text: Text| Variant { language: language.to_owned(), text, defaults: [].into() };
    let approved = |language: &str, param: &str| {
        // Its number at 1Confirmed, and its parameters by name.
        let (name, param) = match kind.name {
            "one_confirmed" => ("12", format!("name={param}")),
            _ => ("spring_offer", param.to_owned()),
        };
        variant(language, Text::Approved { name: name.to_owned(), params: vec![param] })
    };
    let subject = (channel(kind) == Channel::Email).then(|| "Spring is here".to_owned());
    let body =
        |language: &str, body: &str| variant(language, Text::Body { subject: subject.clone(), body: body.to_owned() });
    match channel(kind) {
        Channel::Whatsapp if kind.name != "one_system" => vec![
            approved("en", r#"{{ first_name | default("friend") }}"#),
            approved("fr", r#"{{ first_name | default("à vous") }}"#),
        ],
        _ => vec![
            body("", r#"Hello {{ first_name | default("friend") }}, spring is here: 20% off until Sunday."#),
            body("fr", r#"Bonjour {{ first_name | default("à vous") }}, c'est le printemps : -20% jusqu'à dimanche."#),
            body("ar", r#"مرحبا {{ first_name | default("صديقنا") }}، حل الربيع: خصم 20٪ حتى الأحد."#),
        ],
    }
}

/// What becomes of the messages that a killed worker held.
pub fn fate_of_the_doubtful(kind: &Kind, keys: bool) -> &'static str {
    match kind.doubt {
        _ if keys => "what the dead one held is in doubt until it is sent again, under the same keys",
        Doubt::Repeat => "what the dead one held is in doubt until it is sent again, under the same keys",
        Doubt::LookUp => "what the dead one held is in doubt until it has been looked up at the provider",
        Doubt::Receipt => "what the dead one held is in doubt unless a receipt speaks of it",
        Doubt::Policy => "what the dead one held is in doubt, and held for a person to decide",
    }
}

/// Takes the service's receipts until `over`, where it posts any.
pub async fn listen(context: &Context, kind: &Kind, sim: &Handle, over: &CancellationToken) -> anyhow::Result<()> {
    if !kind.has_hook() {
        return Ok(());
    }
    // Twilio signs with the account's secret.
    let key = (kind.name != "twilio").then_some(HOOK_KEY);
    let server = Server::bind(([127, 0, 0, 1], 0).into()).await?;
    let public_url = format!("http://{}", server.address());
    let opening = Opening { public_url: &public_url, key, named: kind.names_hook };
    sim.post_receipts_to(hooks::open(&context.store, context.workspace_id, ACCOUNT, opening).await?.url.parse()?);
    let (store, over) = (context.store.clone(), over.clone());
    tokio::spawn(async move {
        if let Err(error) = server.run(store, over).await {
            tracing::error!(%error, "receipts are not taken");
        }
    });
    Ok(())
}

/// How many messages of the run the service is still to be asked for.
pub async fn open_questions(context: &Context, run_id: i64) -> anyhow::Result<i64> {
    Ok(polls::open(&mut *context.store.pool.acquire().await?, context.workspace_id, run_id).await?)
}
