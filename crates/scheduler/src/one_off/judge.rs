//! Holds a message that comes by itself to all that a contact of a list is held to.

use chrono_tz::Tz;
use fanfare_domain::template::Fallback;
use fanfare_store::accounts::Account;
use fanfare_store::audience::{Contact, Filter, Whom};
use fanfare_store::campaigns::Campaign;
use fanfare_store::one_off::Live;
use fanfare_store::{PgConnection, Store, accounts, audience as store_audience, credits, templates};
use serde_json::{Map, Value};

use super::{corrupt, poor, suppressed};
use crate::approved::measured;
use crate::audience::{Audience, Exclusion};
use crate::waves::own_zone;
use crate::{Error, Problem, Result};

/// What is entered of a message beside its address.
pub(super) struct Fit {
    pub units: i16,
    pub variant: i16,
    pub values: Option<Value>,
    pub costs: Vec<(i64, i64)>,
    /// Where the recipient lives, as far as anything of its own tells.
    pub zone: Option<Tz>,
}

/// Holds a message to all that a contact of a list is held to.
pub(super) async fn judge(
    c: &mut PgConnection,
    store: &Store,
    workspace_id: i32,
    campaign: &Campaign,
    live: &Live,
    (address, country): &(String, Option<String>),
    params: &Map<String, Value>,
) -> Result<Fit> {
    let (mut audience, through) = audience(c, workspace_id, campaign, live).await?;
    let accounts: Vec<i64> = live.accounts.iter().map(|account| account.account_id).collect();
    let (category, now) = (campaign.category, store.clock.now());
    let whom = Whom { minus: &[], segment: None, category, accounts: &accounts, now };
    let filter = Filter::of(c, store.seal.pepper(), workspace_id, whom).await?;
    let (suppressed, barred) = store_audience::one(c, workspace_id, &filter, address).await?;
    let attributes = Value::Object(params.clone()).to_string();
    let text = |name: &str| params.get(name).and_then(Value::as_str);
    let language = text("language").map(str::to_lowercase);
    let contact = Contact {
        address,
        email: text("email"),
        name: text("name"),
        country: country.as_deref(),
        language: language.as_deref(),
        attributes: Some(&attributes),
        suppressed,
        duplicate: false,
        row_no: 0,
        import_id: 0,
        heard_at: None,
        barred,
    };
    let found = audience.judge(&contact).map_err(|why| excluded(&why, &audience, address))?;
    let (units, variant, country) = (found.units, found.variant, country.as_deref());
    let mut costs: Vec<(i64, i64)> =
        live.accounts.iter().map(|a| (a.account_id, a.prices.of(country, units))).collect();
    costs.sort_unstable();
    // One that was taken out of the campaign stays with the run.
    let in_use = |account: &&Account| campaign.accounts.iter().any(|used| used.account_id == account.account_id);
    if through.iter().filter(in_use).all(|account| account.stopped_reason.is_some()) {
        return Err(Error::Refused(through.iter().filter(in_use).filter_map(crate::plan::stopped).collect()));
    }
    let needs = costs.iter().map(|(_, micro)| *micro).min().unwrap_or(0);
    if credits::balance(c, workspace_id).await?.available() < needs {
        return Err(poor());
    }
    let values = (!live.variables.is_empty()).then(|| Value::from(audience.values().to_vec()));
    Ok(Fit { units, variant, values, costs, zone: own_zone(&contact) })
}

/// Who judges, and the accounts of the run.
async fn audience(
    c: &mut PgConnection,
    workspace_id: i32,
    campaign: &Campaign,
    live: &Live,
) -> Result<(Audience, Vec<Account>)> {
    let mut through = Vec::new();
    for account in &live.accounts {
        through.push(accounts::by_id(c, workspace_id, account.account_id).await?);
    }
    let says = templates::arms(c, workspace_id, campaign.campaign_id, &live.arms).await?;
    let says =
        says.try_map(|template| Ok(measured(template.ordered_as(&live.variables)?, &through))).map_err(corrupt)?;
    let fallback = match (&campaign.fallback, live.fallback_version) {
        (Some(head), Some(version)) => {
            let fallback = templates::compile(c, workspace_id, head.template_id, version).await?;
            Some(Fallback::ordered_as(measured(fallback, &through), &live.variables).map_err(corrupt)?)
        }
        _ => None,
    };
    Ok((Audience::new(says, campaign.on_missing).with_fallback(fallback), through))
}

fn excluded(why: &Exclusion, audience: &Audience, address: &str) -> Error {
    let problem = match why {
        Exclusion::Suppressed => suppressed(address),
        Exclusion::NoConsent => {
            let remedy = "note the consent, fanfare contact set ADDRESS --consent yes; what advertises nothing is of another --category";
            Problem::new(format!("{address} has not opted in, and the campaign is marketing"), remedy)
        }
        Exclusion::Capped => Problem::new(
            format!("{address} has had as many marketing messages as a contact may"),
            "send it later, or see fanfare workspace show",
        ),
        Exclusion::Missing => {
            let names: Vec<&str> =
                audience.lacking().iter().map(|i| audience.says().variables()[*i].as_str()).collect();
            let remedy = names.iter().map(|name| format!("--param {name}=…")).collect::<Vec<_>>().join(" ");
            Problem::new(format!("the template needs {}, and has no default for it", names.join(", ")), remedy)
        }
        Exclusion::Unfit(why) => Problem::new(why.to_string(), "change the values, or the template"),
        other => Problem::new(format!("{address} cannot be written to: {other:?}"), "give another address"),
    };
    Error::Refused(vec![problem])
}
