//! An approved template that stands in for words of our own.

use serde_json::Value;

use super::{RenderError, Template, TemplateError};
use crate::content::Content;

/// The contact's column that the variant is chosen by.
const LANGUAGE: &str = "language";

/// What is said to those who may not be sent a template's own words, with the values of that template's run.
#[derive(Debug)]
pub struct Fallback {
    template: Template,
    /// Position of the recipient's language among the values; none if there is nothing to choose.
    language: Option<usize>,
}

impl Fallback {
    /// The variables of a run whose words have those of `main`, and that has `fallback`: those of `main` first. The recipient's
    /// language is among them if the fallback has a choice.
    pub fn variables(main: &[String], fallback: &Template) -> Vec<String> {
        let mut names = main.to_vec();
        let language = has_choice(fallback).then(|| LANGUAGE.to_owned());
        for name in fallback.variables().iter().cloned().chain(language) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The fallback of a run that carries values of these `names`, in this order.
    ///
    /// # Errors
    /// When the run does not carry what it needs.
    pub fn ordered_as(template: Template, names: &[String]) -> Result<Self, TemplateError> {
        let language = names.iter().position(|name| name == LANGUAGE);
        if has_choice(&template) && language.is_none() {
            return Err(TemplateError::Whole("the run does not carry the recipient's language".to_owned()));
        }
        Ok(Self { template: template.ordered_as(names)?, language })
    }

    /// What it says to a recipient with these values, in their language as far as it exists there.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render(&self, values: &[Value]) -> Result<Content, RenderError> {
        self.template.render(self.pick(values), values)
    }

    /// The variables that it cannot do without for this recipient and that are missing, by position.
    ///
    /// # Errors
    /// When it does not fit the values.
    pub fn lacking(&self, values: &[Value]) -> Result<Vec<usize>, RenderError> {
        self.template.lacking(self.pick(values), values)
    }

    /// Holds that it can be sent with these values.
    ///
    /// # Errors
    /// As [`Template::units`].
    pub fn check(&self, values: &[Value]) -> Result<(), RenderError> {
        self.template.units(self.pick(values), values).map(drop)
    }

    fn pick(&self, values: &[Value]) -> i16 {
        self.template.pick(self.language.and_then(|position| values.get(position)?.as_str()))
    }
}

fn has_choice(template: &Template) -> bool {
    template.variants().len() > 1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::Channel;
    use crate::template::{Text, Variant};

    fn template(variants: &[(&str, Text)]) -> Template {
        let variant = |(language, text): &(&str, Text)| Variant {
            language: (*language).into(),
            text: text.clone(),
            defaults: [].into(),
        };
        Template::compile(Channel::Whatsapp, variants.iter().map(variant).collect()).unwrap()
    }

    #[test]
    fn it_is_rendered_in_the_recipients_language_with_the_values_of_the_run() {
        let body = |body: &str| Text::Body { subject: None, body: body.into() };
        let approved = |name: &str, param: &str| Text::Approved { name: name.into(), params: vec![param.into()] };
        let main = template(&[("", body("Hello {{ name }}, {{ city }}"))]);
        let choice =
            || template(&[("en", approved("spring", "{{ code }}")), ("fr", approved("printemps", "{{ name }}"))]);
        let names = Fallback::variables(main.variables(), &choice());
        assert_eq!(names, ["name", "city", "code", "language"]);
        let fallback = Fallback::ordered_as(choice(), &names).unwrap();
        let said = |values: serde_json::Value| match fallback.render(values.as_array().unwrap()).unwrap() {
            Content::Template(approved) => (approved.name, approved.params),
            other => panic!("{other:?}"),
        };
        assert_eq!(said(json!(["Ana", "Oran", "X1", "fr-ca"])), ("printemps".into(), vec!["Ana".into()]));
        assert_eq!(said(json!(["Ana", "Oran", "X1", null])), ("spring".into(), vec!["X1".into()]));
        assert_eq!(fallback.lacking(&[json!("Ana"), json!("Oran"), json!(null), json!("ar")]).unwrap(), [2]);
        assert!(Fallback::ordered_as(choice(), &names[..3]).is_err(), "without a language there is nothing to go by");
        let single = template(&[("", approved("spring", "{{ name }}"))]);
        assert_eq!(Fallback::variables(main.variables(), &single), ["name", "city"]);
    }
}
