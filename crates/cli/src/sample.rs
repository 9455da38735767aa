//! A rendered message, as people look at it.

use fanfare_domain::sms::Encoding;
use fanfare_scheduler::preview::Sample;

use crate::output::dim;

/// To whom, what is special about it, and what it says; indented.
pub fn render(sample: &Sample, note: &str) -> String {
    let mut notes = Vec::new();
    if !sample.language.is_empty() {
        notes.push(sample.language.clone());
    }
    if let Some(size) = sample.sms {
        let plural = if size.segments == 1 { "" } else { "s" };
        let encoding = match size.encoding {
            Encoding::Gsm7 => String::new(),
            Encoding::Ucs2 => format!(" in UCS-2, for {}", sample.beyond_gsm7.chars().take(10).collect::<String>()),
        };
        notes.push(format!("{} segment{plural}{encoding}", size.segments));
    }
    if !note.is_empty() {
        notes.push(note.to_owned());
    }
    let head = format!("{}  {}", sample.address, dim(&notes.join(" · ")));
    let body = match (&sample.text, &sample.template) {
        (Some(text), _) => text.clone(),
        (None, Some(template)) => format!("{template} ({})", sample.params.join(", ")),
        (None, None) => String::new(),
    };
    let subject = sample.subject.iter().map(|s| format!("{s}\n\n")).collect::<String>();
    let said: String = format!("{subject}{body}").lines().map(|line| format!("  {line}\n")).collect();
    format!("{}\n{said}", head.trim_end())
}
