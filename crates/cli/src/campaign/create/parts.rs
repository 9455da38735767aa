//! Options of a campaign that goes to a few first, and of one that tries templates against each other.

use clap::Args;
use fanfare_domain::limits::ARMS_MAX;
use fanfare_domain::state::Measure;
use fanfare_store::first_part::FirstPart;

use crate::output::Usage;
use crate::parse;

#[derive(Debug, Args)]
#[command(next_help_heading = "In parts, and when it goes badly")]
pub struct Parts {
    /// Try another template beside --template, by this weight, e.g. --variant b=1; repeat it for up to four. A weight
    /// of --template itself other than 1 is given the same way
    #[arg(long = "variant", value_name = "TEMPLATE=N", value_parser = parse::weight)]
    variants: Vec<(String, i32)>,
    /// Send to a part first, e.g. 10% or 500 messages; the rest follows
    #[arg(long, value_name = "PART", value_parser = parse::part)]
    first: Option<(Option<i32>, Option<i32>)>,
    /// The rest follows so long after the end of the first part [default: at once]
    #[arg(long, value_name = "TIME", value_parser = parse::seconds, requires = "first")]
    rest_after: Option<i64>,
    /// Hold the rest if more of the first part failed, e.g. 5%
    #[arg(long, value_name = "PERCENT", value_parser = parse::permille, requires = "first")]
    hold_if_failed: Option<i32>,
    /// Hold the rest if more of those reached opted out, e.g. 1%
    #[arg(long, value_name = "PERCENT", value_parser = parse::permille, requires = "first")]
    hold_if_opted_out: Option<i32>,
    /// The rest gets the template that did best by this: delivered, read, replied or confirmed
    #[arg(long, value_name = "MEASURE", requires = "first", requires = "variants")]
    winner_by: Option<Measure>,
    /// Pause a run once more of its messages failed, e.g. 20%
    #[arg(long, value_name = "PERCENT", value_parser = parse::permille)]
    pause_if_failed: Option<i32>,
}

impl Parts {
    /// The templates and their weights, `template` the first; none where it is alone.
    pub fn arms<'a>(&'a self, template: &'a str) -> Result<Vec<(&'a str, i32)>, Usage> {
        let own = self.variants.iter().filter(|(name, _)| name == template);
        let own: Vec<i32> = own.map(|(_, weight)| *weight).collect();
        let others = self.variants.iter().filter(|(name, _)| name != template);
        let others: Vec<(&str, i32)> = others.map(|(name, weight)| (name.as_str(), *weight)).collect();
        match (others.len(), own.as_slice()) {
            (0, []) => Ok(Vec::new()),
            (0, _) => Err(Usage(format!("--variant names only {template:?} itself: name another template to try"))),
            (_, [_, _, ..]) => Err(Usage(format!("--variant names {template:?} twice: give one weight"))),
            (n, _) if n >= ARMS_MAX => {
                Err(Usage(format!("{} templates are too many to try: at most {ARMS_MAX}", n + 1)))
            }
            (_, own) => {
                let main = (template, own.first().copied().unwrap_or(1));
                Ok(std::iter::once(main).chain(others).collect())
            }
        }
    }

    /// The first part.
    pub fn first_part(&self) -> Option<FirstPart> {
        let (ppm, messages) = self.first?;
        let mut part = FirstPart::new(ppm, messages);
        part.rest_after_s = self.rest_after.unwrap_or(0);
        part.failed_permille = self.hold_if_failed;
        part.opted_out_permille = self.hold_if_opted_out;
        Some(part.with_measure(self.winner_by))
    }

    /// When a run is paused for its failures.
    pub fn fails_at_permille(&self) -> Option<i32> {
        self.pause_if_failed
    }
}
