//! Templates: what is said, with the contact's values in it.
//!
//! The texts are Jinja, by minijinja, cut down to `{{ variable | filter }}` and
//! `{% if %}…{% elif %}…{% else %}…{% endif %}`: see `scan`. A value that is null, empty or only white
//! space counts as missing, so that `{{ name | default("friend") }}` does what its author meant.

mod arms;
mod compile;
mod fallback;
mod render;
mod rich;
mod scan;
mod size;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::{Environment, Value};
use serde::{Deserialize, Serialize};

use crate::content::{Approved, Content, Feature, Unfit};
use crate::limits::RENDERED_BYTES_MAX;
use crate::message::Channel;
use crate::sms;

pub use arms::Arms;
pub use fallback::Fallback;
pub use render::is_missing;
use render::{Missing, Positional, environment, to_engine};
use size::{short_enough, text_chars_max, values_fit};

/// Variables that every contact has a column for. `first_name` is the first word of `name` where the
/// contact has no attribute of that name.
pub const CONTACT_VARIABLES: &[&str] = &["name", "first_name", "phone", "email", "country", "language"];

/// The variable that stands for a column of a contact file: `Order No.` is `order_no`. A column whose
/// name is written as the variable is goes before others that only come to it.
pub fn variable_name(column: &str) -> String {
    let mut name = String::with_capacity(column.len());
    for c in column.chars().flat_map(char::to_lowercase) {
        match c {
            _ if c.is_alphanumeric() => name.push(c),
            _ if name.is_empty() || name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    name.truncate(name.trim_end_matches('_').len());
    if name.starts_with(|c: char| c.is_numeric()) {
        name.insert(0, '_');
    }
    name
}

/// One language of a template, as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// BCP 47 tag in lower case; empty for the only variant of a template without languages.
    pub language: String,
    /// What is said.
    pub text: Text,
    /// What stands in for a missing value, by variable.
    pub defaults: BTreeMap<String, String>,
}

/// What a variant says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Text {
    /// A text of our own.
    Body {
        /// Subject line, for e-mail.
        subject: Option<String>,
        /// The text with its variables.
        body: String,
    },
    /// A template approved at the provider.
    Approved {
        /// Its name there.
        name: String,
        /// Its positional parameters, each a template text such as `{{ name }}`.
        params: Vec<String>,
    },
    /// A content of any other kind as JSON, each of its texts a template text.
    Rich(serde_json::Value),
}

/// Why a template was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Something in one of its texts.
    #[error("{place}, line {line}, column {column}: {problem}")]
    Text {
        /// Which text: `body`, `subject (fr)`, `parameter 2`.
        place: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// Something about the whole.
    #[error("{0}")]
    Whole(String),
}

/// Why a template could not be rendered for a contact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// An operation does not fit the contact's values.
    #[error("does not fit the contact's values: {0}")]
    Unfit(String),
    /// A part of the result cannot be sent.
    #[error(transparent)]
    Content(#[from] Unfit),
    /// The result is longer than can be sent.
    #[error("the text is too long to be sent ({0})")]
    TooLong(&'static str),
}

/// A template ready to be rendered. Cheap to share between threads, not to clone.
pub struct Template {
    channel: Channel,
    /// Most characters of a text of our own.
    text_chars_max: usize,
    /// Whether the provider's templates are those that WhatsApp approves, with its limits.
    approved: bool,
    variants: Vec<Compiled>,
    variables: Arc<[String]>,
    blank: Environment<'static>,
    strict: Environment<'static>,
}

struct Compiled {
    source: Variant,
    /// Names of the texts in the environments: the body, or the parameters in order.
    texts: Vec<String>,
    subject: Option<String>,
    /// Positions of the variables it uses.
    used: Vec<usize>,
    /// Positions of the variables it cannot do without; meaningful if `simple`.
    required: Vec<usize>,
    /// See [`scan::Scan::simple`].
    simple: bool,
    /// See [`Content::is_free_form`].
    free_form: bool,
    /// The declared default of each variable.
    defaults: Vec<Option<Value>>,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("channel", &self.channel).field("variables", &self.variables).finish()
    }
}

impl Template {
    /// Compiles the variants of a template; the first is the fallback.
    ///
    /// # Errors
    /// When there is none, two are of one language, a text is empty or too long, its syntax is wrong,
    /// or it names a filter, test or statement that does not exist.
    pub fn compile(channel: Channel, variants: Vec<Variant>) -> Result<Self, TemplateError> {
        compile::whole(channel, &variants)?;
        let mut template = Self {
            channel,
            text_chars_max: text_chars_max(channel),
            approved: false,
            variants: Vec::with_capacity(variants.len()),
            variables: Arc::default(),
            blank: environment(Missing::Blank),
            strict: environment(Missing::Fails),
        };
        let mut names = Vec::new();
        for (number, variant) in variants.into_iter().enumerate() {
            let compiled = template.add(number, variant, &mut names)?;
            template.variants.push(compiled);
        }
        template.name(names);
        template.find_required()?;
        Ok(template)
    }

    /// The same with its variables in the order of `names`, which a run has frozen.
    ///
    /// # Errors
    /// When a variable of the template is not among them.
    pub fn ordered_as(mut self, names: &[String]) -> Result<Self, TemplateError> {
        let position = |name: &String| {
            let unnamed = || TemplateError::Whole(format!("the template uses {name:?}, which the run does not carry"));
            names.iter().position(|n| n == name).ok_or_else(unnamed)
        };
        let moved = self.variables.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        for variant in &mut self.variants {
            variant.used.iter_mut().for_each(|i| *i = moved[*i]);
        }
        self.name(names.to_vec());
        self.find_required()?;
        Ok(self)
    }

    /// The same for a provider that takes texts of at most so many characters, and whose templates are those
    /// that WhatsApp approves, or are not.
    pub fn within(mut self, chars_max: Option<usize>, approved: bool) -> Self {
        self.approved = approved;
        self.text_chars_max = self.text_chars_max.min(chars_max.unwrap_or(usize::MAX));
        self
    }

    /// The channel it is written for.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// The variables of all variants, each once, in the order of their first appearance (or the order
    /// it was given). Values are passed in this order.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// The variants as they were written.
    pub fn variants(&self) -> impl ExactSizeIterator<Item = &Variant> {
        self.variants.iter().map(|v| &v.source)
    }

    /// The variant for a contact of this language: of exactly that tag, else of its primary subtag, else 0.
    pub fn pick(&self, language: Option<&str>) -> i16 {
        let of = |tag: &str| self.variants.iter().position(|v| v.source.language == tag);
        let found = language.and_then(|tag| of(tag).or_else(|| of(tag.split(['-', '_']).next()?)));
        // There are at most `VARIANTS_MAX`.
        found.unwrap_or(0) as i16
    }

    /// The variables that `variant` cannot do without and that are missing in `values`, by position.
    ///
    /// # Errors
    /// When the text does not fit the values.
    pub fn lacking(&self, variant: i16, values: &[serde_json::Value]) -> Result<Vec<usize>, RenderError> {
        let v = self.variant(variant);
        let missing = |i: &usize| values.get(*i).is_none_or(is_missing);
        if v.simple {
            return Ok(v.required.iter().copied().filter(missing).collect());
        }
        let missing: Vec<usize> = v.used.iter().copied().filter(|i| missing(i) && v.defaults[*i].is_none()).collect();
        match self.render_strictly(v, values, &[]) {
            Ok(()) => return Ok(Vec::new()),
            Err(e) if missing.is_empty() => return Err(unfit(e)),
            Err(_) => {}
        }
        let mut lacking = Vec::new();
        for i in &missing {
            let others: Vec<usize> = missing.iter().copied().filter(|other| other != i).collect();
            if self.render_strictly(v, values, &others).is_err() {
                lacking.push(*i);
            }
        }
        Ok(if lacking.is_empty() { missing } else { lacking })
    }

    /// What `variant` says to a contact with these values; nothing stands in place of a missing one.
    ///
    /// # Errors
    /// When the text does not fit the values, or becomes too long.
    pub fn render(&self, variant: i16, values: &[serde_json::Value]) -> Result<Content, RenderError> {
        let v = self.variant(variant);
        let context = self.context(v, values, &[]);
        let text = |name: &String| {
            let text = self.blank.get_template(name).and_then(|t| t.render(context.clone())).map_err(unfit)?;
            if text.len() > RENDERED_BYTES_MAX { Err(RenderError::TooLong("more than 1 MiB")) } else { Ok(text) }
        };
        let subject = v.subject.as_ref().map(text).transpose()?;
        match &v.source.text {
            Text::Body { .. } => Ok(Content::Text { subject, body: text(&v.texts[0])? }),
            Text::Approved { name, .. } => Ok(Content::Template(Approved {
                name: name.clone(),
                language: v.source.language.clone(),
                params: v.texts.iter().map(text).collect::<Result<_, _>>()?,
                ..Approved::default()
            })),
            Text::Rich(json) => {
                let texts = v.texts.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                let read = |texts: Vec<String>| {
                    let rendered = rich::filled(json, &mut texts.into_iter());
                    serde_json::from_value::<Content>(rendered).map_err(|e| RenderError::Unfit(e.to_string()))
                };
                // What looks like a variable in a contact's value must not pass for one that is still to be rendered.
                if texts.iter().any(|text| text.contains("{{") || text.contains("{%")) {
                    read(texts.iter().map(|text| text.replace('{', "(")).collect())?.check(self.channel)?;
                }
                let mut content = read(texts)?;
                content.check(self.channel)?;
                if let Content::Template(approved) = &mut content
                    && approved.language.is_empty()
                {
                    approved.language.clone_from(&v.source.language);
                }
                Ok(content)
            }
        }
    }

    /// What a provider must carry to send any of its variants, each once.
    pub fn features(&self) -> Vec<Feature> {
        let of = |v: &Compiled| match &v.source.text {
            Text::Body { .. } => vec![Feature::Text],
            Text::Approved { .. } => vec![Feature::Template],
            // It was read when it was compiled.
            Text::Rich(json) => rich::parse(json, self.channel).map(|c| c.features()).unwrap_or_default(),
        };
        let mut all: Vec<Feature> = self.variants.iter().flat_map(of).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Whether what `variant` says is in words of our own: see [`Content::is_free_form`].
    pub fn is_free_form(&self, variant: i16) -> bool {
        self.variant(variant).free_form
    }

    /// Whether that goes for any of its variants.
    pub fn has_free_form(&self) -> bool {
        self.variants.iter().any(|v| v.free_form)
    }

    /// The templates of a provider that its variants name, their texts as they were written.
    pub fn approved(&self) -> Vec<Approved> {
        let of = |v: &Compiled| {
            let mut approved = match &v.source.text {
                Text::Body { .. } => return None,
                Text::Approved { name, params } => {
                    Approved { name: name.clone(), params: params.clone(), ..Approved::default() }
                }
                // It was read when it was compiled.
                Text::Rich(json) => match rich::parse(json, self.channel) {
                    Ok(Content::Template(approved)) => approved,
                    _ => return None,
                },
            };
            if approved.language.is_empty() {
                approved.language.clone_from(&v.source.language);
            }
            Some(approved)
        };
        self.variants.iter().filter_map(of).collect()
    }

    /// How many times the price is due for what `variant` says to a contact with these values: the
    /// segments of an SMS, else 1.
    ///
    /// # Errors
    /// As [`Template::render`]; also when a text is longer than it may be, an SMS takes more segments than can
    /// be joined, or is blank.
    pub fn units(&self, variant: i16, values: &[serde_json::Value]) -> Result<i16, RenderError> {
        let v = self.variant(variant);
        let rich = matches!(v.source.text, Text::Rich(_));
        if self.channel != Channel::Sms && v.simple && !rich && self.surely_fits(v, values) {
            return Ok(1);
        }
        let content = self.render(variant, values)?;
        match &content {
            Content::Text { body, .. } => short_enough(body, self.text_chars_max)?,
            Content::Template(approved) if self.approved => values_fit(approved)?,
            _ => {}
        }
        match content {
            Content::Text { body, .. } if body.trim().is_empty() => Err(RenderError::Unfit("the text is empty".into())),
            Content::Text { body, .. } if self.channel == Channel::Sms => {
                let segments = sms::size(&body).segments;
                if segments > sms::SEGMENTS_MAX {
                    return Err(RenderError::TooLong("more than 255 SMS segments"));
                }
                Ok(segments as i16)
            }
            _ => Ok(1),
        }
    }

    fn variant(&self, number: i16) -> &Compiled {
        usize::try_from(number).ok().and_then(|n| self.variants.get(n)).unwrap_or(&self.variants[0])
    }

    /// Gives the variables these positions.
    fn name(&mut self, names: Vec<String>) {
        for variant in &mut self.variants {
            let default = |name: &String| variant.source.defaults.get(name).map(|d| Value::from(d.as_str()));
            variant.defaults = names.iter().map(default).collect();
        }
        self.variables = names.into();
    }

    /// Tries simple texts with each variable missing in turn.
    fn find_required(&mut self) -> Result<(), TemplateError> {
        let all = vec![serde_json::Value::from("x"); self.variables.len()];
        for number in 0..self.variants.len() {
            let v = &self.variants[number];
            if !v.simple {
                continue;
            }
            self.render_strictly(v, &all, &[]).map_err(|e| TemplateError::Whole(unfit(e).to_string()))?;
            let mut required = Vec::new();
            for &i in v.used.iter().filter(|i| v.defaults[**i].is_none()) {
                let mut but_one = all.clone();
                but_one[i] = serde_json::Value::Null;
                if self.render_strictly(v, &but_one, &[]).is_err() {
                    required.push(i);
                }
            }
            self.variants[number].required = required;
        }
        Ok(())
    }

    /// Fails where a value is missing, unless the text asks for a default or tests for the variable.
    /// Something is put in place of those at `filled`.
    fn render_strictly(
        &self,
        v: &Compiled,
        values: &[serde_json::Value],
        filled: &[usize],
    ) -> Result<(), minijinja::Error> {
        let context = self.context(v, values, filled);
        for name in v.subject.iter().chain(&v.texts) {
            self.strict.get_template(name)?.render(context.clone())?;
        }
        Ok(())
    }

    fn context(&self, v: &Compiled, values: &[serde_json::Value], filled: &[usize]) -> Value {
        let value = |(i, default): (usize, &Option<Value>)| match values.get(i).map(to_engine) {
            Some(given) if !given.is_undefined() => given,
            _ if filled.contains(&i) => Value::from("x"),
            _ => default.clone().unwrap_or(Value::UNDEFINED),
        };
        let values = v.defaults.iter().enumerate().map(value).collect();
        Value::from_object(Positional { names: self.variables.clone(), values })
    }
}

fn unfit(e: minijinja::Error) -> RenderError {
    RenderError::Unfit(e.detail().map_or_else(|| e.kind().to_string(), str::to_owned))
}
