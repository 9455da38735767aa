//! What the contacts have against a launch, and what should be known of it.

use fanfare_domain::message::Channel;
use fanfare_domain::state::OnMissing;
use fanfare_domain::template::variable_name;
use fanfare_store::nearest::nearest;

use super::lines::{CreditLine, Excluded, MissingVariable, Plan};
use crate::Problem;

const CONSENT_REMEDY: &str = "import their consent, as a column of the file or with --consent yes; a campaign that \
                              advertises nothing is of another --category";

impl Excluded {
    /// Each reason that holds for somebody, with how many.
    fn in_words(self, channel: Channel) -> String {
        let Self { no_address, duplicate, suppressed, reached, missing, minus, outside, no_consent, capped } = self;
        let all = [
            (minus, "on a list left out".to_owned()),
            (outside, "outside the segment".to_owned()),
            (no_address, format!("without address for {channel}")),
            (duplicate, "duplicates".to_owned()),
            (suppressed, "suppressed".to_owned()),
            (no_consent, "not opted in".to_owned()),
            (reached, "reached by an earlier run".to_owned()),
            (capped, "at the cap by contact".to_owned()),
            (missing, "lack a variable".to_owned()),
        ];
        let some = all.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}"));
        some.collect::<Vec<_>>().join(", ")
    }
}

impl Plan {
    pub(super) fn note_unknown(&mut self, unknown: &[String], attributes: &[String], contacts: i64) {
        if contacts == 0 {
            return;
        }
        for variable in unknown {
            let names = attributes.iter().map(|a| variable_name(a));
            let names = names.chain(fanfare_domain::template::CONTACT_VARIABLES.iter().map(|v| (*v).to_owned()));
            let known = attributes.iter().map(|a| variable_name(a)).collect::<Vec<_>>().join(", ");
            let problem = format!("no contact of list {:?} has the variable {variable:?}", self.list);
            let near = nearest(variable, names);
            let remedy = match (near.is_empty(), known.is_empty()) {
                (false, _) => format!("did you mean {}?", near.join(", ")),
                (true, false) => format!("besides name and address, its contacts have {known}"),
                (true, true) => "import it with the contacts, as a column of the file".to_owned(),
            };
            // Whoever chose the default has chosen it for everybody.
            match self.on_missing {
                OnMissing::Default => self.warnings.push(Problem::new(problem, remedy)),
                OnMissing::Refuse | OnMissing::Skip => self.refusals.push(Problem::new(problem, remedy)),
            }
        }
    }

    pub(super) fn note_missing(&mut self) {
        for MissingVariable { variable, recipients } in self.missing.clone() {
            let problem = format!("{recipients} recipients lack {variable:?}");
            let in_template = format!("write {{{{ {variable} | default(\"…\") }}}} in the template");
            match self.on_missing {
                OnMissing::Refuse => {
                    let remedy = format!(
                        "choose --on-missing skip to leave them out or --on-missing default to send without it, or {in_template}"
                    );
                    self.refusals.push(Problem::new(problem, remedy));
                }
                OnMissing::Skip => {
                    self.warnings
                        .push(Problem::new(format!("{problem} and are left out"), format!("or {in_template}")));
                }
                OnMissing::Default => {
                    let problem = format!("{problem} and get nothing in its place");
                    self.warnings.push(Problem::new(problem, format!("or {in_template}")));
                }
            }
        }
        if self.audience > 0 && self.recipients == 0 && self.refusals.is_empty() {
            let problem =
                format!("nobody of list {:?} is written to: {}", self.list, self.excluded.in_words(self.channel));
            let remedy = match self.excluded {
                Excluded { no_consent, .. } if no_consent * 2 > self.audience => CONSENT_REMEDY,
                Excluded { outside, .. } if outside * 2 > self.audience => "choose another --segment",
                _ => "choose another list or channel",
            };
            self.refusals.push(Problem::new(problem, remedy));
        }
    }

    /// That the rules of the workspace leave contacts out.
    pub(super) fn note_rules(&mut self) {
        let Excluded { no_consent, .. } = self.excluded;
        if no_consent > 0 && self.recipients > 0 {
            let problem = format!("{no_consent} contacts have not opted in and are left out");
            self.warnings.push(Problem::new(problem, CONSENT_REMEDY));
        }
    }

    pub(super) fn note_unfit(&mut self, unfit: i64) {
        if unfit == 0 {
            return;
        }
        let named = self.unfit.iter().map(|row| match &row.file {
            Some(file) => format!("row {} of {file}: {}", row.row, row.why),
            None => format!("row {}: {}", row.row, row.why),
        });
        let mut named = named.collect::<Vec<_>>().join("; ");
        if unfit > self.unfit.len() as i64 {
            named.push_str("; …");
        }
        let problem = format!("the template does not work for {unfit} contacts: {named}");
        match self.on_missing {
            OnMissing::Skip => self.warnings.push(Problem::new(problem, "they are left out")),
            OnMissing::Refuse | OnMissing::Default => {
                let remedy = "correct the template, or choose --on-missing skip to leave them out";
                self.refusals.push(Problem::new(problem, remedy));
            }
        }
    }

    pub(super) fn note_credit(&mut self) {
        let CreditLine { available, enough, covers, .. } = self.credit;
        if enough {
            return;
        }
        let lacking = self.cost_at_most - available;
        let remedy = format!("fanfare credits topup {lacking}");
        // The cheapest account may still pay for a message.
        let dearest = self.accounts.iter().map(|line| line.dearest).min().unwrap_or(0);
        if available < dearest {
            let problem = format!("{available} micro-credits are left; a message costs up to {dearest}");
            self.refusals.push(Problem::new(problem, remedy));
        } else {
            let problem = format!("the credit covers {covers} of {} messages", self.recipients);
            let remedy = format!("{remedy}, or the run pauses there until a top-up");
            self.warnings.push(Problem::new(problem, remedy));
        }
    }

    pub(super) fn note_first(&mut self) {
        if let Some(first) = self.first
            && self.recipients > 0
            && (first.messages == 0 || first.messages >= self.recipients)
        {
            let problem = format!("the first part is {} of {} recipients", first.messages, self.recipients);
            self.warnings.push(Problem::new(problem, "choose another part, or leave --first out"));
        }
    }

    pub(super) fn note_expiry(&mut self, expires_after_s: Option<i64>) {
        if let (Some(limit), Some(seconds)) = (expires_after_s, self.seconds)
            && seconds > limit as f64
        {
            let problem = format!("messages expire after {limit} s, and sending takes {seconds:.0} s");
            let limit =
                if self.rate.is_some() { "the campaign's rate, or the account's cap" } else { "the account's cap" };
            self.warnings.push(Problem::new(problem, format!("raise {limit}, or give the campaign more time")));
        }
    }
}
