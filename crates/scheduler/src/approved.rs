//! Whether the provider would take what a campaign says: the lengths of its texts, and the templates that it
//! names, by the list that is kept of them.

use std::collections::BTreeSet;

use fanfare_domain::content::{Approved, Listed, Naming};
use fanfare_domain::template::Template;
use fanfare_providers::Kind;
use fanfare_providers::kind::Offer;
use fanfare_store::account_templates::{self, Kept};
use fanfare_store::accounts::Account;
use fanfare_store::nearest::nearest;
use fanfare_store::{PgConnection, Result};

use crate::Problem;

/// Most languages or names that a problem lists.
const NAMED_MAX: usize = 8;

/// What is known of a template's fitness for an account.
#[derive(Debug, Default)]
pub(crate) struct Fitness {
    /// What the provider would refuse.
    pub refusals: Vec<Problem>,
    /// What is not known.
    pub hints: Vec<Problem>,
}

/// The template, its texts measured by what the provider of each account takes.
pub(crate) fn measured(template: Template, accounts: &[Account]) -> Template {
    let kinds: Vec<&Kind> = accounts.iter().filter_map(|account| Kind::named(&account.kind)).collect();
    let chars_max = kinds.iter().filter_map(|kind| kind.text_chars_max(template.channel())).min();
    template.within(chars_max, kinds.iter().any(|kind| kind.templates_are_approved()))
}

/// Holds the provider's templates that are named in `said` against the account's list.
///
/// # Errors
/// When the database fails.
pub(crate) async fn fitness(c: &mut PgConnection, account: &Account, said: &[Approved]) -> Result<Fitness> {
    let Some(kind) = Kind::named(&account.kind).filter(|kind| kind.offers(Offer::Templates) && !said.is_empty()) else {
        return Ok(Fitness::default());
    };
    let name = &account.name;
    let mut refusals = Vec::new();
    if kind.naming == Naming::Language {
        refusals.extend(said.iter().filter(|said| said.language.is_empty()).map(|said| no_language(account, said)));
    }
    let Some(kept) = account_templates::kept(c, account.workspace_id, account.account_id).await? else {
        let hint = Problem::new(
            format!("the templates of account {name:?} were never listed, so that yours is not checked against them"),
            format!("fanfare account templates {name}, then plan again"),
        );
        return Ok(Fitness { refusals, hints: vec![hint] });
    };
    // What still holds variables of ours is known to nobody before it is sent.
    let open = |text: &str| text.contains("{{") || text.contains("{%");
    let said = said.iter().filter(|said| !open(&said.name) && !open(&said.language));
    // Of one that names no language that is said already.
    let said = said.filter(|said| kind.naming != Naming::Language || !said.language.is_empty());
    refusals.extend(said.flat_map(|said| judge(name, &kept, kind.naming, said)));
    Ok(Fitness { refusals, hints: Vec::new() })
}

fn no_language(account: &Account, said: &Approved) -> Problem {
    let Account { name, kind, .. } = account;
    let template = &said.name;
    Problem::new(
        format!("account {name:?} of kind {kind} sends template {template:?} in a language only, and none is named"),
        format!("name it: --provider-template en={template}, or \"language\" in its content file"),
    )
}

/// Why the provider would refuse one of them.
fn judge(account: &str, kept: &Kept, naming: Naming, said: &Approved) -> Vec<Problem> {
    let at = kept.fetched_at.format("%Y-%m-%d %H:%M UTC");
    let again = format!("if that has changed since {at}, fanfare account templates {account}");
    let name = &said.name;
    let of_name: Vec<&Listed> = kept.templates.iter().filter(|listed| listed.name == *name).collect();
    if of_name.is_empty() {
        let near = nearest(name, kept.templates.iter().map(|listed| listed.name.clone()).collect::<BTreeSet<_>>());
        let remedy = match near.is_empty() {
            true => again,
            false => format!("did you mean {}? {again}", near.join(", ")),
        };
        return vec![Problem::new(format!("account {account:?} has no template {name:?} at its provider"), remedy)];
    }
    let speaks = |listed: &&&Listed| naming != Naming::Language || listed.speaks(&said.language);
    let candidates: Vec<&Listed> = of_name.iter().filter(speaks).copied().collect();
    if candidates.is_empty() {
        let languages: Vec<&str> = of_name.iter().map(|listed| listed.language.as_str()).take(NAMED_MAX).collect();
        let languages = languages.join(", ");
        let wanted = &said.language;
        let problem = format!("template {name:?} of account {account:?} exists in {languages}, not in {wanted}");
        let remedy =
            format!("add a variant of one of these, as in --provider-template {}={name}; {again}", tag(&of_name));
        return vec![Problem::new(problem, remedy)];
    }
    let usable: Vec<&Listed> = candidates.iter().filter(|listed| listed.is_usable()).copied().collect();
    // One of several may be meant, where messages name no language.
    let Some(misfits) = usable.iter().map(|listed| listed.misfits(said, naming)).min_by_key(Vec::len) else {
        let status = &candidates[0].status;
        let problem =
            format!("template {name:?} of account {account:?} is {status}: its provider sends approved ones only");
        return vec![Problem::new(problem, format!("use another, or have it approved; {again}"))];
    };
    let problem = |why: String| Problem::new(format!("template {name:?} of account {account:?}: {why}"), again.clone());
    misfits.into_iter().map(problem).collect()
}

/// A language as our commands take it.
fn tag(of_name: &[&Listed]) -> String {
    of_name.first().map(|listed| listed.language.replace('_', "-").to_lowercase()).unwrap_or_default()
}
