//! Messages that come one by one: checked as a contact of a list is, entered once for each key.

mod judge;

use fanfare_domain::email;
use fanfare_domain::id::message_id;
use fanfare_domain::limits::{KEY_BYTES_MAX, PARAMS_BYTES_MAX};
use fanfare_domain::message::Channel;
use fanfare_domain::phone;
use fanfare_domain::state::{CampaignKind, Category, OnMissing, PausedReason};
use fanfare_domain::template::{Template, TemplateError, Text, Variant};
use fanfare_providers::Kind;
use fanfare_store::accounts::Account;
use fanfare_store::campaigns::{self, Campaign, NewCampaign, Through};
use fanfare_store::one_off::{self, Entered, Keyed, Live, OneOff, Standing};
use fanfare_store::{Error as StoreError, Store, accounts, templates};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{Error, Problem, Result, live};
use judge::judge;

/// The one variable of the template that says nothing but a text it is given.
const TEXT: &str = "text";

/// Whose message it is.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    /// A triggered campaign's.
    Campaign(&'a str),
    /// Of none: a template through an account.
    Template {
        /// Name of the account.
        account: &'a str,
        /// Name of the template.
        template: &'a str,
    },
    /// Of none: a text through an account.
    Text {
        /// Name of the account.
        account: &'a str,
        /// By which channel; `None` for the one that the address and the account's kind suggest.
        channel: Option<Channel>,
        /// The text.
        text: &'a str,
    },
}

/// A message as it comes.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Whose it is.
    pub of: Of<'a>,
    /// To whom, as people write it.
    pub to: &'a str,
    /// Values of the template's variables.
    pub params: &'a Map<String, Value>,
    /// The same key again is the same message, whatever its expiry.
    pub key: Option<&'a str>,
    /// So many seconds from now on it is not sent any more; `None` = what its campaign says.
    pub expires_after_s: Option<i64>,
}

/// A message that was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// Its id.
    pub id: Uuid,
    /// Its run.
    pub run_id: i64,
    /// Its number in the run.
    pub seq: i32,
    /// Whether its key was used before: then it is the message of that time.
    pub repeated: bool,
}

/// Enters a message, which is due at once, or when its hours open; or finds the one that its key stands for.
///
/// # Errors
/// [`Error::Refused`] with what stands in the way, [`Error::State`] when the key stands for another message or
/// the campaign takes none; else when something named does not exist or the database fails. Nothing is entered
/// then.
pub async fn submit(store: &Store, workspace_id: i32, m: Message<'_>) -> Result<Submitted> {
    m.key.map_or(Ok(()), check_key)?;
    // One connection at a time, here and below: many at once would wait for each other's second.
    let campaign = match m.of {
        Of::Campaign(name) => triggered(store, workspace_id, name).await?,
        Of::Template { account, template } => single(store, workspace_id, (account, template)).await?,
        Of::Text { account, channel, .. } => of_text(store, workspace_id, account, (channel, m.to)).await?,
    };
    let campaign = Campaign { expires_after_s: m.expires_after_s.or(campaign.expires_after_s), ..campaign };
    let to = address(campaign.channel, m.to)?;
    let scope = if campaign.kind == CampaignKind::Single { 0 } else { campaign.campaign_id };
    let mut params = m.params.clone();
    if let Of::Text { text, .. } = m.of {
        params.insert(TEXT.to_owned(), text.into());
    }
    let digest = digest(&campaign, &params)?;
    let used = async || match m.key {
        Some(key) => one_off::keyed(&mut *store.pool.acquire().await?, workspace_id, (scope, key)).await,
        None => Ok(None),
    };
    // Before all else: what is repeated is answered, whatever has become of the campaign.
    if let (Some(keyed), Some(key)) = (used().await?, m.key) {
        return repeated(workspace_id, keyed, key, &digest, &to.0);
    }
    let said = Said { campaign: &campaign, scope, key: m.key, digest: &digest, to: &to, params: &params };
    let (mut run_id, mut entered) = enter(store, workspace_id, said).await?;
    if campaign.kind == CampaignKind::Single && entered == Entered::Refused(Standing::Stopped) {
        // Since nothing came for long, or what it says has changed: another one is opened.
        (run_id, entered) = enter(store, workspace_id, said).await?;
    }
    match entered {
        Entered::As(seq) => Ok(Submitted { id: message_id(workspace_id, run_id, seq), run_id, seq, repeated: false }),
        Entered::Refused(standing) => {
            refuse_closed(&campaign, standing)?;
            Err(Error::State(format!("campaign {:?} changed meanwhile: try again", campaign.name)))
        }
        Entered::Suppressed => Err(Error::Refused(vec![suppressed(&to.0)])),
        Entered::Used => match (used().await?, m.key) {
            (Some(keyed), Some(key)) => repeated(workspace_id, keyed, key, &digest, &to.0),
            _ => Err(Error::State("the key was used meanwhile: try again".to_owned())),
        },
    }
}

/// What is known of a message before its run is.
#[derive(Clone, Copy)]
struct Said<'a> {
    campaign: &'a Campaign,
    /// The campaign in which its key is unique; 0 for a message of none.
    scope: i64,
    key: Option<&'a str>,
    digest: &'a [u8],
    /// Address and country.
    to: &'a (String, Option<String>),
    params: &'a Map<String, Value>,
}

/// Judges a message, and enters it into the campaign's live run as it is now; gives that, too.
async fn enter(store: &Store, workspace_id: i32, said: Said<'_>) -> Result<(i64, Entered)> {
    let Said { campaign, scope, key, digest, to, params } = said;
    let live = match campaign.kind {
        CampaignKind::Single => live::current(store, workspace_id, campaign.clone()).await?,
        _ => of_campaign(store, workspace_id, campaign).await?,
    };
    let (run_id, standing) = (live.run_id, live.standing()?);
    if standing != Standing::Open {
        return Ok((run_id, Entered::Refused(standing)));
    }
    let mut c = store.pool.acquire().await.map_err(StoreError::from)?;
    let fit = judge(&mut c, store, workspace_id, campaign, &live, to, params).await?;
    drop(c);
    let now = store.clock.now();
    let entry = OneOff {
        run_id,
        campaign_id: scope,
        key,
        digest,
        address: &to.0,
        hash: &store.seal.pepper().hash(workspace_id, &to.0),
        country: to.1.as_deref(),
        units: fit.units,
        variant: fit.variant,
        params: fit.values.as_ref(),
        zone: fit.zone,
        now,
        expires_at: campaign.expires_at(now),
        costs: &fit.costs,
    };
    Ok((run_id, one_off::enter(&store.pool, workspace_id, entry).await?))
}

fn check_key(key: &str) -> Result<()> {
    if key.trim().is_empty() || key.len() > KEY_BYTES_MAX || key.chars().any(char::is_control) {
        let expected = format!("expected 1 to {KEY_BYTES_MAX} bytes without line breaks");
        return Err(Error::State(format!("{key:?} is no key: {expected}, for example order-17")));
    }
    Ok(())
}

fn repeated(workspace_id: i32, keyed: Keyed, key: &str, digest: &[u8], to: &str) -> Result<Submitted> {
    let Keyed { run_id, seq, digest: before, address } = keyed;
    let id = message_id(workspace_id, run_id, seq);
    let other = match (address == to, before == digest) {
        (true, true) => return Ok(Submitted { id, run_id, seq, repeated: true }),
        (false, _) => "to another recipient",
        (true, false) => "with other content",
    };
    Err(Error::State(format!(
        "key {key:?} stands for message {id}, {other}: repeat that as it was, or choose another key"
    )))
}

/// What a message is to say and through what, without its recipient.
fn digest(campaign: &Campaign, params: &Map<String, Value>) -> Result<Vec<u8>> {
    let accounts: Vec<i64> = campaign.accounts.iter().map(|a| a.account_id).collect();
    // The keys of an object are in order.
    let said = json!([accounts, campaign.template_id, params]).to_string();
    if said.len() > PARAMS_BYTES_MAX {
        let remedy = format!("at most {PARAMS_BYTES_MAX} are sent");
        return Err(Error::Refused(vec![Problem::new(format!("the values take {} bytes", said.len()), remedy)]));
    }
    Ok(Sha256::digest(said).to_vec())
}

async fn triggered(store: &Store, workspace_id: i32, name: &str) -> Result<Campaign> {
    let mut c = store.pool.acquire().await.map_err(StoreError::from)?;
    let campaign = campaigns::get(&mut c, workspace_id, name).await?;
    if campaign.kind == CampaignKind::Broadcast { Err(live::not_triggered(name)) } else { Ok(campaign) }
}

/// The campaign of nobody's name that says a template through an account; made if need be.
async fn single(store: &Store, workspace_id: i32, (account, template): (&str, &str)) -> Result<Campaign> {
    let mut c = store.pool.acquire().await.map_err(StoreError::from)?;
    let account = accounts::get(&mut c, workspace_id, account).await?;
    let head = templates::get(&mut c, workspace_id, template).await?;
    // Nobody can choose a name that begins with a blank.
    let name = format!(" {}.{}", account.account_id, head.template_id);
    match campaigns::get(&mut c, workspace_id, &name).await {
        Err(StoreError::NotFound { .. }) => drop(c),
        found => return Ok(found?),
    }
    let through = [Through::account(&account.name)];
    let new = NewCampaign {
        kind: CampaignKind::Single,
        category: Category::Transactional,
        // What it lacks is refused; no list is there to be gone through.
        on_missing: OnMissing::Refuse,
        ..NewCampaign::of(&name, &head.name, "", &through)
    };
    match campaigns::create(store, workspace_id, new).await {
        // Somebody else has made it meanwhile.
        Err(StoreError::Conflict(_)) => {
            let mut c = store.pool.acquire().await.map_err(StoreError::from)?;
            Ok(campaigns::get(&mut c, workspace_id, &name).await?)
        }
        made => Ok(made?),
    }
}

/// The same for a text.
async fn of_text(
    store: &Store,
    workspace_id: i32,
    account: &str,
    (channel, to): (Option<Channel>, &str),
) -> Result<Campaign> {
    let mut c = store.pool.acquire().await.map_err(StoreError::from)?;
    let found = accounts::get(&mut c, workspace_id, account).await?;
    let channel = channel_of(&found, channel, to)?;
    let name = templates::of_text(channel);
    let known = templates::get(&mut c, workspace_id, &name).await;
    drop(c);
    if let Err(StoreError::NotFound { .. }) = known {
        // An e-mail's subject comes as a value of its own.
        let subject = (channel == Channel::Email).then(|| "{{ subject }}".to_owned());
        let text = Text::Body { subject, body: format!("{{{{ {TEXT} }}}}") };
        let variant = Variant { language: String::new(), text, defaults: Default::default() };
        let template = Template::compile(channel, vec![variant]).map_err(corrupt)?;
        templates::add(store, workspace_id, &name, &template).await?;
    }
    single(store, workspace_id, (account, &name)).await
}

/// The channel that is wanted; else one that suits the address. A text by SMS has no window to wait for.
fn channel_of(account: &Account, wanted: Option<Channel>, to: &str) -> Result<Channel> {
    let Account { name, kind, .. } = account;
    let known = Kind::named(kind)
        .ok_or_else(|| Error::State(format!("account {name:?} is of kind {kind}, which this program does not know")))?;
    let channels: Vec<Channel> = known.channels().collect();
    let mut suiting =
        [Channel::Sms, Channel::Whatsapp, Channel::Email].into_iter().filter(|c| c.by_phone() != to.contains('@'));
    let found = match wanted {
        Some(wanted) => Some(wanted).filter(|wanted| channels.contains(wanted)),
        None => suiting.find(|c| channels.contains(c)),
    };
    found.ok_or_else(|| {
        let list = channels.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(", ");
        let what = wanted.map_or(format!("nothing to {to:?}"), |wanted| format!("no {wanted}"));
        Error::State(format!("account {name:?} of kind {kind} carries {what}: it carries {list}"))
    })
}

async fn of_campaign(store: &Store, workspace_id: i32, campaign: &Campaign) -> Result<Live> {
    let mut c = store.pool.acquire().await.map_err(StoreError::from)?;
    let live = one_off::live(&mut c, workspace_id, campaign.campaign_id).await?;
    live.ok_or_else(|| closed(campaign, "is not live"))
}

fn closed(campaign: &Campaign, what: &str) -> Error {
    Error::State(format!("campaign {0:?} {what}: fanfare campaign launch {0} makes it live", campaign.name))
}

fn refuse_closed(campaign: &Campaign, standing: Standing) -> Result<()> {
    let (name, resume) = (&campaign.name, format!("fanfare campaign resume {}", campaign.name));
    match standing {
        Standing::Open => Ok(()),
        Standing::Stopped => Err(closed(campaign, "was stopped")),
        Standing::Paused(PausedReason::Credit) => Err(poor()),
        // Nobody can name it, so that it goes on with the next message once the cause is gone.
        Standing::Paused(_) => Err(Error::State(format!("campaign {name:?} is paused: {resume}"))),
    }
}

fn poor() -> Error {
    let problem = "the workspace is out of credit".to_owned();
    Error::Refused(vec![Problem::new(problem, "top it up: fanfare credits topup MICRO")])
}

/// An address for a channel, with its country.
fn address(channel: Channel, text: &str) -> Result<(String, Option<String>)> {
    let refuse = |why: String, example: &str| {
        let problem = format!("{text:?} cannot be written to by {channel}: {why}");
        Error::Refused(vec![Problem::new(problem, format!("write it as {example}"))])
    };
    if channel.by_phone() {
        let phone = phone::parse(text, None).map_err(|e| refuse(e.to_string(), "+213555123456"))?;
        return Ok((phone.e164, phone.region.map(|region| region.as_str().to_owned())));
    }
    Ok((email::parse(text).map_err(|e| refuse(e.to_string(), "amina@example.org"))?, None))
}

fn corrupt(e: TemplateError) -> StoreError {
    StoreError::Corrupt(format!("template of a live run: {e}"))
}

fn suppressed(address: &str) -> Problem {
    let remedy = format!("if the recipient wants to be written to again: fanfare list unsuppress {address}");
    Problem::new(format!("{address} is suppressed"), remedy)
}
