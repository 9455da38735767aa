//! Reading a template: its texts, their variables, and what is wrong with them.

use std::fmt;

use super::render::{Missing, environment};
use super::size::{short_enough, text_chars_max};
use super::{Compiled, Template, TemplateError, Text, Variant, rich, scan};
use crate::limits::{TEMPLATE_BYTES_MAX, TEMPLATE_PARAMS_MAX, VARIANTS_MAX};
use crate::message::Channel;

impl Template {
    /// Parses the texts of a variant and adds the variables they use to `names`.
    pub(super) fn add(
        &mut self,
        number: usize,
        source: Variant,
        names: &mut Vec<String>,
    ) -> Result<Compiled, TemplateError> {
        let mut variant = Compiled {
            texts: Vec::new(),
            subject: None,
            used: Vec::new(),
            required: Vec::new(),
            simple: true,
            free_form: free_form(&source.text, self.channel),
            defaults: Vec::new(),
            source,
        };
        for (part, text) in parts(&variant.source.text) {
            let place = match variant.source.language.as_str() {
                "" => part.to_string(),
                language => format!("{part} ({language})"),
            };
            let found = self.parse(&place, text)?;
            variant.simple &= found.simple;
            for name in found.names {
                let known = names.iter().position(|n| *n == name).unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                });
                if !variant.used.contains(&known) {
                    variant.used.push(known);
                }
            }
            let key = format!("{number} {part}");
            for env in [&mut self.blank, &mut self.strict] {
                env.add_template_owned(key.clone(), text.to_owned()).map_err(|e| syntax(&place, text, &e))?;
            }
            match part {
                Part::Subject => variant.subject = Some(key),
                Part::Body | Part::Param(_) | Part::Field(_) => variant.texts.push(key),
            }
        }
        Ok(variant)
    }

    fn parse(&self, place: &str, text: &str) -> Result<scan::Scan, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            let problem = format!("{place} has {} bytes; at most {TEMPLATE_BYTES_MAX} are allowed", text.len());
            return Err(TemplateError::Whole(problem));
        }
        let mut env = environment(Missing::Fails);
        // Only then do errors carry a range.
        env.set_debug(true);
        env.template_from_str(text).map_err(|e| syntax(place, text, &e))?;
        scan::scan(text).map_err(|refusal| at(place, text, refusal.offset, refusal.problem))
    }
}

fn free_form(text: &Text, channel: Channel) -> bool {
    match text {
        Text::Body { .. } => true,
        Text::Approved { .. } => false,
        // That it can be read was checked before.
        Text::Rich(json) => rich::parse(json, channel).is_ok_and(|content| content.is_free_form()),
    }
}

/// What a text is for.
#[derive(Debug, Clone)]
enum Part {
    Subject,
    Body,
    Param(usize),
    Field(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject => f.write_str("subject"),
            Self::Body => f.write_str("body"),
            Self::Param(n) => write!(f, "parameter {n}"),
            Self::Field(path) => f.write_str(path),
        }
    }
}

/// The texts of a variant in the order in which their variables count.
fn parts(text: &Text) -> Vec<(Part, &str)> {
    match text {
        Text::Body { subject, body } => {
            let subject = subject.iter().map(|s| (Part::Subject, s.as_str()));
            subject.chain([(Part::Body, body.as_str())]).collect()
        }
        Text::Approved { params, .. } => {
            params.iter().enumerate().map(|(i, p)| (Part::Param(i + 1), p.as_str())).collect()
        }
        Text::Rich(json) => rich::texts(json).into_iter().map(|(path, text)| (Part::Field(path), text)).collect(),
    }
}

/// Checks what concerns no single text.
pub(super) fn whole(channel: Channel, variants: &[Variant]) -> Result<(), TemplateError> {
    let refuse = |problem: String| Err(TemplateError::Whole(problem));
    if variants.is_empty() || variants.len() > VARIANTS_MAX {
        return refuse(format!("a template has 1 to {VARIANTS_MAX} variants, this one has {}", variants.len()));
    }
    for (i, variant) in variants.iter().enumerate() {
        let language = &variant.language;
        if variants[..i].iter().any(|v| v.language == *language) {
            return refuse(format!("two variants are for the language {language:?}: give each language once"));
        }
        if *language != language.to_lowercase() {
            return refuse(format!("language {language:?} is not in lower case"));
        }
        match &variant.text {
            Text::Body { body, .. } if body.trim().is_empty() => {
                return refuse("the body is empty: say something in it".to_owned());
            }
            Text::Body { body, .. } if !body.contains('{') && short_enough(body, text_chars_max(channel)).is_err() => {
                let most = text_chars_max(channel);
                return refuse(format!("the body has {} characters: {channel} takes {most}", body.chars().count()));
            }
            Text::Body { subject: Some(_), .. } if channel != Channel::Email => {
                return refuse(format!("only e-mail has a subject: leave it out for {channel}"));
            }
            Text::Body { subject: None, .. } if channel == Channel::Email => {
                return refuse("an e-mail needs a subject: give one with --subject".to_owned());
            }
            Text::Approved { name, .. } if name.trim().is_empty() => {
                return refuse("the name of the provider's template is empty".to_owned());
            }
            Text::Approved { params, .. } if params.len() > TEMPLATE_PARAMS_MAX => {
                return refuse(format!("a provider's template has at most {TEMPLATE_PARAMS_MAX} parameters"));
            }
            Text::Rich(json) => {
                rich::parse(json, channel).map_err(TemplateError::Whole)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn syntax(place: &str, text: &str, e: &minijinja::Error) -> TemplateError {
    let problem = e.detail().map_or_else(|| e.kind().to_string(), str::to_owned);
    let problem = problem.replace("end of variable block", "`}}`").replace("end of block", "`%}`");
    let line_start = || text.split_inclusive('\n').take(e.line().unwrap_or(1).saturating_sub(1)).map(str::len).sum();
    at(place, text, e.range().map_or_else(line_start, |r| r.start), problem)
}

fn at(place: &str, text: &str, offset: usize, problem: String) -> TemplateError {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    TemplateError::Text { place: place.to_owned(), line, column, problem }
}
