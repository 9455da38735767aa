//! What a run says: one template, or several that are tried against each other.

use serde_json::Value;

use super::{RenderError, Template, TemplateError};
use crate::content::{Approved, Content, Feature};
use crate::limits::ARM_VARIANTS;
use crate::message::Channel;
use crate::split::{self, Purpose};

/// The templates of a run, each with its weight, over the same variables. A recipient's variant is the arm times
/// [`ARM_VARIANTS`], plus the language variant of that arm's template.
#[derive(Debug)]
pub struct Arms {
    campaign_id: i64,
    arms: Vec<(Template, i32)>,
}

impl From<Template> for Arms {
    fn from(template: Template) -> Self {
        Self { campaign_id: 0, arms: vec![(template, 1)] }
    }
}

impl Arms {
    /// These templates, of one channel, in the order of the arms, for a campaign that divides its recipients
    /// among them by their weights.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(campaign_id: i64, arms: Vec<(Template, i32)>) -> Result<Self, TemplateError> {
        if arms.is_empty() {
            return Err(TemplateError::Whole("it says nothing".to_owned()));
        }
        let mut names: Vec<String> = Vec::new();
        for name in arms.iter().flat_map(|(template, _)| template.variables()) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        Self { campaign_id, arms }.ordered_as(&names)
    }

    /// The same with its variables in the order of `names`, which a run has frozen.
    ///
    /// # Errors
    /// When a variable of a template is not among them.
    pub fn ordered_as(self, names: &[String]) -> Result<Self, TemplateError> {
        self.try_map(|template| template.ordered_as(names))
    }

    /// The same with each template changed.
    ///
    /// # Errors
    /// That of the change.
    pub fn try_map<E>(self, change: impl Fn(Template) -> Result<Template, E>) -> Result<Self, E> {
        let arms = self.arms.into_iter().map(|(template, weight)| Ok((change(template)?, weight)));
        Ok(Self { campaign_id: self.campaign_id, arms: arms.collect::<Result<_, E>>()? })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.arms.len()
    }

    /// There is always one; clippy wants the question answered all the same.
    pub fn is_empty(&self) -> bool {
        self.arms.is_empty()
    }

    /// Of which channel they are.
    pub fn channel(&self) -> Channel {
        self.first().channel()
    }

    /// The variables of all, in the order in which values are passed.
    pub fn variables(&self) -> &[String] {
        self.first().variables()
    }

    /// The variant for a contact: its arm by chance, and what that has in its language.
    pub fn pick(&self, address: &str, language: Option<&str>) -> i16 {
        let arm = match self.arms.len() {
            1 => 0,
            _ => {
                let weights = self.arms.iter().map(|(_, weight)| *weight);
                split::part(split::point(self.campaign_id, Purpose::Arm, address), weights)
            }
        };
        // There are few arms: a run has five at most.
        arm as i16 * ARM_VARIANTS + self.arms[arm].0.pick(language)
    }

    /// As [`Template::lacking`].
    ///
    /// # Errors
    /// As there.
    pub fn lacking(&self, variant: i16, values: &[Value]) -> Result<Vec<usize>, RenderError> {
        let (template, variant) = self.of(variant);
        template.lacking(variant, values)
    }

    /// As [`Template::render`].
    ///
    /// # Errors
    /// As there.
    pub fn render(&self, variant: i16, values: &[Value]) -> Result<Content, RenderError> {
        let (template, variant) = self.of(variant);
        template.render(variant, values)
    }

    /// As [`Template::units`].
    ///
    /// # Errors
    /// As there.
    pub fn units(&self, variant: i16, values: &[Value]) -> Result<i16, RenderError> {
        let (template, variant) = self.of(variant);
        template.units(variant, values)
    }

    /// As [`Template::is_free_form`].
    pub fn is_free_form(&self, variant: i16) -> bool {
        let (template, variant) = self.of(variant);
        template.is_free_form(variant)
    }

    /// Whether any of them says words of our own.
    pub fn has_free_form(&self) -> bool {
        self.arms.iter().any(|(template, _)| template.has_free_form())
    }

    /// The language of a variant; empty for the only one.
    pub fn language(&self, variant: i16) -> &str {
        let (template, variant) = self.of(variant);
        let nth = usize::try_from(variant).unwrap_or(0);
        template.variants().nth(nth).map_or("", |v| v.language.as_str())
    }

    /// What a provider must carry to send any of them.
    pub fn features(&self) -> Vec<Feature> {
        self.arms.iter().flat_map(|(template, _)| template.features()).collect()
    }

    /// The templates of a provider that they name.
    pub fn approved(&self) -> Vec<Approved> {
        self.arms.iter().flat_map(|(template, _)| template.approved()).collect()
    }

    fn first(&self) -> &Template {
        &self.arms[0].0
    }

    fn of(&self, variant: i16) -> (&Template, i16) {
        let arm = usize::try_from(variant / ARM_VARIANTS).unwrap_or(0);
        let (template, _) = self.arms.get(arm).unwrap_or(&self.arms[0]);
        (template, variant % ARM_VARIANTS)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::template::{Text, Variant};

    fn template(texts: &[(&str, &str)]) -> Template {
        let variant = |(language, body): &(&str, &str)| Variant {
            language: (*language).to_owned(),
            text: Text::Body { subject: None, body: (*body).to_owned() },
            defaults: Default::default(),
        };
        Template::compile(Channel::Sms, texts.iter().map(variant).collect()).unwrap()
    }

    #[test]
    fn each_arm_says_its_own_in_the_recipients_language_over_the_variables_of_all() {
        let hello = template(&[("en", "Hello {{ name }}"), ("fr", "Bonjour {{ name }}")]);
        let sale = template(&[("", "{{ discount }} off")]);
        let arms = Arms::new(7, vec![(hello, 1), (sale, 1)]).unwrap();
        assert_eq!(arms.variables(), ["name", "discount"]);
        let values = [json!("Amina"), json!("20 %")];
        let mut said = std::collections::BTreeMap::new();
        for i in 0..200 {
            let address = format!("+21355500{i:04}");
            let variant = arms.pick(&address, Some("fr"));
            assert_eq!(variant, arms.pick(&address, Some("fr")), "stable");
            let Content::Text { body, .. } = arms.render(variant, &values).unwrap() else { panic!("a text") };
            *said.entry(body).or_insert(0) += 1;
        }
        assert_eq!(said.keys().collect::<Vec<_>>(), ["20 % off", "Bonjour Amina"]);
        assert!(said.values().all(|n| *n > 60), "{said:?}");
        let lacks_discount = [json!("Amina"), json!(null)];
        assert!(arms.lacking(0, &lacks_discount).unwrap().is_empty());
        assert_eq!(arms.lacking(ARM_VARIANTS, &lacks_discount).unwrap(), [1]);
    }
}
