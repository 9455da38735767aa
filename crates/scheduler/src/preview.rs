//! What real contacts would read.

use std::ops::ControlFlow;

use fanfare_domain::content::Content;
use fanfare_domain::message::Channel;
use fanfare_domain::sms;
use fanfare_domain::state::OnMissing;
use fanfare_domain::template::Arms;
use fanfare_store::audience::Filter;
use fanfare_store::{Store, audience as store_audience, lists, templates};
use serde::Serialize;

use crate::Result;
use crate::audience::{Audience, Exclusion};

/// A message as one contact would read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// To whom.
    pub address: String,
    /// Language of the variant; empty for the only one.
    pub language: String,
    /// Subject line of an e-mail.
    pub subject: Option<String>,
    /// The text, if it is one of our own.
    pub text: Option<String>,
    /// Name of the provider's approved template, if it is one.
    pub template: Option<String>,
    /// Its parameters.
    pub params: Vec<String>,
    /// The content, if it is of another kind.
    pub content: Option<Content>,
    /// Size of an SMS.
    pub sms: Option<sms::Size>,
    /// The characters that force an SMS into UCS-2, where a segment holds 70 instead of 160.
    pub beyond_gsm7: String,
}

impl Sample {
    pub(crate) fn new(says: &Arms, address: &str, variant: i16, content: Content) -> Self {
        let mut sample = Self {
            address: address.to_owned(),
            language: says.language(variant).to_owned(),
            subject: None,
            text: None,
            template: None,
            params: Vec::new(),
            content: None,
            sms: None,
            beyond_gsm7: String::new(),
        };
        match content {
            Content::Text { subject, body } => {
                if says.channel() == Channel::Sms {
                    sample.sms = Some(sms::size(&body));
                    sample.beyond_gsm7 = sms::beyond_gsm7(&body).into_iter().collect();
                }
                sample.subject = subject;
                sample.text = Some(body);
            }
            Content::Template(approved) if approved.is_plain() => {
                sample.template = Some(approved.name);
                sample.params = approved.params;
            }
            other => sample.content = Some(other),
        }
        sample
    }
}

/// What becomes of one contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The contact's address in the list.
    pub contact: String,
    /// What it would read, with nothing in place of what is missing.
    pub sample: Option<Sample>,
    /// Variables that it lacks.
    pub missing: Vec<String>,
    /// Why it would not be written to.
    pub left_out: Option<String>,
}

/// Renders the newest version of a template for the first `limit` contacts of a list.
///
/// # Errors
/// When template or list do not exist, or the database fails.
pub async fn preview(store: &Store, workspace_id: i32, template: &str, list: &str, limit: i64) -> Result<Vec<Preview>> {
    let mut c = store.pool.acquire().await.map_err(fanfare_store::Error::from)?;
    let head = templates::get(&mut c, workspace_id, template).await?;
    let list_id = lists::get(&mut c, workspace_id, list).await?.list_id;
    let template = templates::compile(&mut c, workspace_id, head.template_id, head.version).await?;
    let mut audience = Audience::new(template.into(), OnMissing::Default);
    let (lists, filter) = ([list_id], Filter::default());
    let source = audience.source(workspace_id, &lists, &filter);
    let mut previews = Vec::new();
    store_audience::each_contact(&mut c, source, "", limit, |contact| {
        let judged = audience.judge(&contact);
        let says = audience.says();
        let missing = audience.lacking().iter().map(|i| says.variables()[*i].clone()).collect();
        let (sample, left_out) = match judged {
            Ok(to) => match says.render(to.variant, audience.values()) {
                Ok(content) => (Some(Sample::new(says, to.address, to.variant, content)), None),
                Err(why) => (None, Some(why.to_string())),
            },
            Err(why) => (None, Some(in_words(&why))),
        };
        previews.push(Preview { contact: contact.address.to_owned(), sample, missing, left_out });
        ControlFlow::Continue(())
    })
    .await?;
    Ok(previews)
}

fn in_words(why: &Exclusion) -> String {
    match why {
        Exclusion::Minus => "it is on a list that is left out".to_owned(),
        Exclusion::Outside => "the segment does not hold for it".to_owned(),
        Exclusion::NoConsent => "it has not opted in".to_owned(),
        Exclusion::Capped => "it has had as many marketing messages as a contact may".to_owned(),
        Exclusion::NoAddress => "it has no address for this channel".to_owned(),
        Exclusion::Duplicate => "another contact of the list has the same e-mail".to_owned(),
        Exclusion::Suppressed => "its address is suppressed".to_owned(),
        Exclusion::Reached => "another run of the campaign reaches it".to_owned(),
        Exclusion::Missing => "it lacks a variable".to_owned(),
        Exclusion::Unfit(why) => why.to_string(),
    }
}
