//! What is to be known of a kind of provider before anything is sent: declared beside each adapter, shown
//! by `fanfare account kinds`, and checked when an account is added and when a campaign is planned.

use fanfare_domain::content::{Feature, Naming};
use fanfare_domain::message::Channel;
use serde::Serialize;

use crate::sender::Origin;

/// A kind of provider.
#[derive(Debug, Serialize)]
pub struct Kind {
    /// What `--kind` names.
    pub name: &'static str,
    /// The service, and the version of its documents.
    pub service: &'static str,
    /// What it carries, by channel.
    pub carries: &'static [(Channel, &'static [Feature])],
    /// What it does not carry although one might expect it, and why.
    pub refuses: &'static [(Feature, &'static str)],
    /// What the account's secret is; absent if it needs none.
    pub secret: Option<&'static str>,
    /// Where its interface is, unless the account says otherwise; absent if it must.
    pub base_url: Option<&'static str>,
    /// What an account can be told with `--set`.
    pub settings: &'static [Setting],
    /// Its documented limits, which an account has unless it names its own.
    pub caps: &'static [&'static str],
    /// Whether it drops repeats of an idempotency key.
    pub keys: Keys,
    /// How a message in doubt is settled.
    pub doubt: Doubt,
    /// How it reports deliveries.
    pub receipts: Receipts,
    /// Why nothing is told of deliveries, where that is so.
    pub no_deliveries: Option<&'static str>,
    /// Whether all its reports name something of ours; else they are found by the provider's ids.
    pub echoes: bool,
    /// Whether each message has to name the hook for its receipts to be posted.
    pub names_hook: bool,
    /// Whether only templates may be sent to those who have not written within 24 hours.
    pub window: bool,
    /// Most characters of a text, by channel, where it takes fewer than the channel.
    pub text_chars_max: &'static [(Channel, usize)],
    /// How its messages name an approved template and fill it.
    pub naming: Naming,
    /// What its messages can say of who sends them.
    pub origin: Origin,
    /// Other calls it has: balance, contact_check, templates, media_upload, check.
    pub offers: &'static [Offer],
}

/// Something that an account of a kind can be told.
#[derive(Debug, Serialize)]
pub struct Setting {
    /// What `--set` names.
    pub key: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Whether the account cannot do without.
    pub required: bool,
}

/// Whether a provider drops repeats of an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// It does.
    Honoured,
    /// It does not, or does not say so.
    Ignored,
    /// It depends on the server: the account says.
    Said,
}

/// How a message in doubt is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// By a repeat with the same key.
    Repeat,
    /// By asking the provider for what it has taken.
    LookUp,
    /// By its receipt, which names our message.
    Receipt,
    /// By the campaign's policy, or a person.
    Policy,
}

/// How a provider reports deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipts {
    /// It calls us.
    Webhook,
    /// It calls us when a recipient confirms, and tells nothing else.
    Confirmations,
    /// It is asked, about those messages that it has only queued.
    Poll,
    /// It does not.
    None,
}

/// A call beside sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Offer {
    /// What credit is left there.
    Balance,
    /// Whether a contact can be reached.
    ContactCheck,
    /// The list of templates.
    Templates,
    /// Keeping a file for later messages.
    MediaUpload,
    /// A harmless call that proves the credentials: `account check`.
    Check,
}

impl Kind {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        crate::KINDS.iter().find(|kind| kind.name == name).copied()
    }

    /// Its channels.
    pub fn channels(&self) -> impl Iterator<Item = Channel> {
        self.carries.iter().map(|(channel, _)| *channel)
    }

    /// Whether it carries this by this channel.
    pub fn carries(&self, channel: Channel, feature: Feature) -> bool {
        self.carries.iter().any(|(c, features)| *c == channel && features.contains(&feature))
    }

    /// Why it does not carry a feature by this channel; `None` if it does.
    pub fn refusal(&self, channel: Channel, feature: Feature) -> Option<&'static str> {
        if self.carries(channel, feature) {
            return None;
        }
        let documented = self.refuses.iter().find(|(f, _)| *f == feature).map(|(_, why)| *why);
        Some(documented.unwrap_or("its documents have no such message"))
    }

    /// Whether by this channel words of our own may be sent only to those who wrote lately.
    pub fn has_window(&self, channel: Channel) -> bool {
        self.window && channel == Channel::Whatsapp
    }

    /// Most characters of a text by this channel, if it takes fewer than the channel.
    pub fn text_chars_max(&self, channel: Channel) -> Option<usize> {
        self.text_chars_max.iter().find(|(c, _)| *c == channel).map(|(_, chars)| *chars)
    }

    /// Whether its templates are those that WhatsApp approves, as its list of them shows.
    pub fn templates_are_approved(&self) -> bool {
        self.offers(Offer::Templates) && self.naming != Naming::Either
    }

    /// Whether messages in doubt are looked up there.
    pub fn looks_up(&self) -> bool {
        self.doubt == Doubt::LookUp
    }

    /// Whether a message in doubt waits for the receipt that would settle it before it is sent again.
    pub fn waits_for_echo(&self) -> bool {
        self.doubt == Doubt::Receipt
    }

    /// Whether its ids must be kept, for the posts that name a message by nothing else.
    pub fn correlates(&self) -> bool {
        self.has_hook() && !self.echoes
    }

    /// Whether it posts anything to us.
    pub fn has_hook(&self) -> bool {
        matches!(self.receipts, Receipts::Webhook | Receipts::Confirmations)
    }

    /// The setting of this key.
    pub fn setting(&self, key: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|s| s.key == key)
    }

    /// Whether it has this call.
    pub fn offers(&self, offer: Offer) -> bool {
        self.offers.contains(&offer)
    }
}
