use serde_json::{Value, json};

use super::*;
use crate::limits::TEMPLATE_BYTES_MAX;

fn body(language: &str, text: &str) -> Variant {
    let text = Text::Body { subject: None, body: text.to_owned() };
    Variant { language: language.to_owned(), text, defaults: BTreeMap::new() }
}

fn sms(text: &str) -> Template {
    Template::compile(Channel::Sms, vec![body("", text)]).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Values in the order of the template's variables, from an object.
fn values(template: &Template, contact: &Value) -> Vec<Value> {
    template.variables().iter().map(|name| contact[name.as_str()].clone()).collect()
}

fn said(template: &Template, variant: i16, contact: &Value) -> Result<String, RenderError> {
    match template.render(variant, &values(template, contact))? {
        Content::Text { body, .. } => Ok(body),
        Content::Template(approved) => Ok(approved.params.join("|")),
        other => Ok(serde_json::to_string(&other).unwrap()),
    }
}

#[track_caller]
fn renders(text: &str, contact: Value, expected: &str) {
    assert_eq!(said(&sms(text), 0, &contact).as_deref(), Ok(expected), "{text} with {contact}");
}

#[test]
fn texts_are_rendered_as_their_authors_mean_them() {
    renders("Hello {{ name | default(\"friend\") }}", json!({"name": "Ali"}), "Hello Ali");
    for nobody in [json!({}), json!({"name": null}), json!({"name": ""}), json!({"name": " \t"})] {
        renders("Hello {{ name | default(\"friend\") }}", nobody.clone(), "Hello friend");
        renders("Hello {{ name }}!", nobody.clone(), "Hello !");
        renders("{% if name %}Dear {{ name }}{% else %}Hello{% endif %}", nobody, "Hello");
    }
    renders("{{ a }} < & {{ b }} {{ c }}", json!({"a": 12, "b": 1.5, "c": true}), "12 < & 1.5 True");
    renders(
        "{{ name | upper }} {{ n | upper }} {{ t | title }}",
        json!({"name": "zoé", "n": 7, "t": true}),
        "ZOÉ 7 True",
    );
    renders("{{ prénom }} {{ الاسم }}", json!({"prénom": "Zoé", "الاسم": "علي"}), "Zoé علي");
    renders("{{ day | replace('-', '/') }}", json!({"day": "2026-12-01"}), "2026/12/01");
    renders("{% if country in ['FR', 'BE'] %}Bonjour{% else %}Hello{% endif %}", json!({"country": "BE"}), "Bonjour");
    renders("{{ '{{' }} {name}", json!({}), "{{ {name}");
}

#[track_caller]
fn lacks(text: &str, contact: Value, expected: &[&str]) {
    let template = sms(text);
    let found = template.lacking(0, &values(&template, &contact)).unwrap();
    let found: Vec<_> = found.into_iter().map(|i| template.variables()[i].as_str()).collect();
    assert_eq!(found, expected, "{text} with {contact}");
}

#[test]
fn what_a_contact_lacks_is_found() {
    lacks("{{ name }} {{ city }}", json!({"name": "Ali"}), &["city"]);
    lacks("{{ name }} {{ city }}", json!({"name": " "}), &["name", "city"]);
    lacks("{{ name | default('x') }} {{ name | upper }}", json!({}), &["name"]);
    lacks("{{ name | trim | default('x') }}", json!({}), &["name"]);
    lacks("{{ name | default('x') | upper }}", json!({}), &[]);
    // Either would do.
    lacks("{{ first_name | default(name) }}", json!({}), &["first_name", "name"]);
    lacks("{{ first_name | default(name) }}", json!({"name": "Ali"}), &[]);
    lacks("{% if name %}{{ name }}{% endif %}", json!({}), &[]);
    // What a branch needs is asked only of those who take it.
    let branch = "{% if vip == 'yes' %}{{ gift }}{% endif %}";
    lacks(branch, json!({"vip": "no"}), &[]);
    lacks(branch, json!({"vip": "yes"}), &["gift"]);
    lacks(branch, json!({"vip": "yes", "gift": "a pen"}), &[]);
    lacks("{{ a ~ b }}", json!({}), &["a", "b"]);
    lacks("{{ a - 1 }}", json!({}), &["a"]);
}

#[test]
fn declared_defaults_stand_in_for_what_is_missing() {
    let mut variant = body("", "Hello {{ name }}, {{ city }}");
    variant.defaults.insert("name".to_owned(), "friend".to_owned());
    let template = Template::compile(Channel::Whatsapp, vec![variant]).unwrap();
    assert_eq!(template.lacking(0, &[Value::Null, Value::Null]), Ok(vec![1]));
    assert_eq!(said(&template, 0, &json!({"city": "Oran"})).unwrap(), "Hello friend, Oran");
}

#[test]
fn the_variant_follows_the_language() {
    let variants =
        vec![body("en", "Hello {{ name }}"), body("fr", "Bonjour {{ prenom }} {{ name }}"), body("pt-br", "Oi")];
    let template = Template::compile(Channel::Sms, variants).unwrap();
    assert_eq!(template.variables(), ["name", "prenom"]);
    for (language, variant) in
        [(None, 0), (Some("fr"), 1), (Some("fr-ca"), 1), (Some("pt-br"), 2), (Some("pt"), 0), (Some("ar"), 0)]
    {
        assert_eq!(template.pick(language), variant, "{language:?}");
    }
    assert_eq!(template.lacking(0, &[json!("Ali"), Value::Null]), Ok(vec![]));
    assert_eq!(template.lacking(1, &[json!("Ali"), Value::Null]), Ok(vec![1]));
    assert_eq!(said(&template, 1, &json!({"name": "Ali", "prenom": "Zoé"})).unwrap(), "Bonjour Zoé Ali");

    let frozen = ["x", "prenom", "name"].map(str::to_owned);
    let template = template.ordered_as(&frozen).unwrap();
    assert_eq!(template.lacking(1, &[Value::Null, Value::Null, json!("Ali")]), Ok(vec![1]));
    assert_eq!(said(&template, 1, &json!({"name": "Ali", "prenom": "Zoé"})).unwrap(), "Bonjour Zoé Ali");
    assert!(template.ordered_as(&frozen[..2]).unwrap_err().to_string().contains("\"name\""));
}

#[test]
fn approved_templates_take_positional_parameters() {
    let params = ["{{ name }}", "{{ order }} on {{ day | default('Monday') }}"].map(str::to_owned).into();
    let text = Text::Approved { name: "order_ready".to_owned(), params };
    let variant = Variant { language: "fr".to_owned(), text, defaults: BTreeMap::new() };
    let template = Template::compile(Channel::Whatsapp, vec![variant]).unwrap();
    assert_eq!(template.variables(), ["name", "order", "day"]);
    let content = template.render(0, &[json!("Ali"), json!(17), Value::Null]).unwrap();
    let params = vec!["Ali".to_owned(), "17 on Monday".to_owned()];
    assert_eq!(
        content,
        Content::Template(Approved {
            name: "order_ready".to_owned(),
            language: "fr".to_owned(),
            params,
            ..Approved::default()
        })
    );
}

#[test]
fn an_sms_costs_its_segments() {
    let template = sms("{{ name }}");
    for (name, units) in [("a".repeat(160), 1), ("a".repeat(161), 2), ("ش".repeat(71), 2)] {
        assert_eq!(template.units(0, &[json!(name)]), Ok(units));
    }
    assert!(matches!(template.units(0, &[Value::Null]), Err(RenderError::Unfit(_))));
    assert!(matches!(template.units(0, &[json!("a".repeat(153 * 255 + 1))]), Err(RenderError::TooLong(_))));
    let whatsapp = Template::compile(Channel::Whatsapp, vec![body("", "{{ name }}")]).unwrap();
    assert_eq!(whatsapp.units(0, &[json!("a".repeat(1000))]), Ok(1));
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = Template::compile(Channel::Sms, vec![body("", text)]).unwrap_err().to_string();
    assert!(error.contains(expected), "{text}: {error}");
}

#[test]
fn faults_are_named_with_their_place() {
    refused("Hello\n dear {{ name", "body, line 2, column 10: unexpected end of input, expected `}}`");
    refused("Hello {{ name | uper }}", "body, line 1, column 17: there is no filter \"uper\"; filters are default");
    refused("é {% if name %}x", "line 1, column ");
    refused("Hello {{ }}", "line 1, column 10: unexpected `}}`");
    refused("{% for x in y %}{% endfor %}", "no statement \"for\"");
    refused("{{ name | default('a', true, 3) }}", "too many arguments");
    refused(" \n ", "the body is empty");
    refused(&"x".repeat(TEMPLATE_BYTES_MAX + 1), "bytes; at most");

    let twice = vec![body("fr", "a"), body("fr", "b")];
    assert!(Template::compile(Channel::Sms, twice).unwrap_err().to_string().contains("\"fr\""));
    let second = vec![body("en", "a"), body("fr", "{{ x")];
    assert!(Template::compile(Channel::Sms, second).unwrap_err().to_string().starts_with("body (fr), line 1"));
    assert!(Template::compile(Channel::Email, vec![body("", "a")]).unwrap_err().to_string().contains("--subject"));
    assert!(Template::compile(Channel::Sms, vec![]).is_err());
}

#[test]
fn values_that_do_not_fit_are_an_error_and_not_a_panic() {
    let template = sms("{{ n - 1 }} {{ n | int }} {{ s | first }}");
    for odd in [json!("x"), json!(true), json!(1.5), json!(i64::MIN), json!(u64::MAX), json!([1]), json!({"a": 1})] {
        let _ = template.units(0, &[odd.clone(), odd]);
    }
    let grown = sms("{{ a | replace('', 'xxxxxxxxxx') }}");
    assert!(matches!(grown.units(0, &[json!("aaaa")]), Err(RenderError::Unfit(_))));
    let long = "y".repeat(RENDERED_BYTES_MAX);
    assert!(matches!(sms("{{ a }}{{ a }}").units(0, &[json!(long)]), Err(RenderError::TooLong(_))));
}

/// Any text either is refused or renders: nothing in between.
#[test]
fn no_text_panics() {
    let pieces = [
        "{{", "}}", "{%", "%}", "{#", "#}", " name ", "|", "default", "(", ")", "'", "\"", "\\", "if", "endif", "else",
        "is", "not", "defined", "é", "👋", "-", "1", ".", "=", "[", "]", ",", "\n", "~", "{", "x",
    ];
    let rng = crate::rng::Rng::seeded(11);
    for _ in 0..20_000 {
        let n = rng.below(12) + 1;
        let text: String = (0..n).map(|_| pieces[rng.below(pieces.len() as u64) as usize]).collect();
        if let Ok(template) = Template::compile(Channel::Whatsapp, vec![body("", &text)]) {
            let none = vec![Value::Null; template.variables().len()];
            let _ = (template.render(0, &none), template.lacking(0, &none), template.units(0, &none));
        }
    }
}

#[test]
fn columns_have_variables() {
    for (column, variable) in [
        ("Order No.", "order_no"),
        ("  Date -- d'envoi ", "date_d_envoi"),
        ("Prénom", "prénom"),
        ("الاسم الكامل", "الاسم_الكامل"),
        ("2nd name", "_2nd_name"),
        ("vip", "vip"),
        ("%", ""),
    ] {
        assert_eq!(variable_name(column), variable, "{column}");
        if !variable.is_empty() {
            assert_eq!(sms(&format!("x {{{{ {variable} }}}}")).variables(), [variable]);
        }
    }
}

/// Only in a template's own texts do braces mean that more is to come.
#[test]
fn a_value_with_braces_is_held_to_what_a_text_may_be() {
    let text = Text::Rich(json!({"type": "image", "url": "{{ photo }}", "caption": "{{ name }}"}));
    let variant = Variant { language: String::new(), text, defaults: BTreeMap::new() };
    let template = Template::compile(Channel::Whatsapp, vec![variant]).unwrap();
    let said = |photo: &str, name: &str| said(&template, 0, &json!({"photo": photo, "name": name}));
    assert!(said("https://example.com/a.jpg?{{b}}", "{{ Ana }}").is_ok_and(|said| said.contains("a.jpg?{{b}}")));
    for photo in ["http://10.0.0.1/a.jpg", "http://10.0.0.1/{{a}}.jpg", "http://localhost/?{%", "{{ photo }}"] {
        assert!(said(photo, "Ana").is_err(), "{photo}");
    }
    assert!(said("https://example.com/a.jpg", &format!("{{{{{}", "a".repeat(5_000))).is_err(), "too long");
}

#[test]
fn every_text_of_a_rich_content_may_hold_variables() {
    let rich = |content: Value| {
        let variant = Variant { language: "fr".to_owned(), text: Text::Rich(content), defaults: BTreeMap::new() };
        Template::compile(Channel::Whatsapp, vec![variant])
    };
    let template = rich(json!({
        "type": "template", "name": "offer", "params": ["{{ name }}"],
        "buttons": [{"type": "url", "index": 1, "text": "{{ code }}"}],
    }))
    .unwrap();
    assert_eq!(template.variables(), ["code", "name"]);
    let Content::Template(said) = template.render(0, &[json!("x9"), json!("Ana")]).unwrap() else { panic!() };
    assert_eq!((said.language.as_str(), said.params.as_slice()), ("fr", ["Ana".to_owned()].as_slice()));
    assert_eq!(serde_json::to_value(&said.buttons).unwrap(), json!([{"type": "url", "index": 1, "text": "x9"}]));
    assert_eq!(template.features(), [Feature::Template, Feature::TemplateUrl]);

    let refused = |content: Value| rich(content).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        refused(json!({"type": "image", "url": "https://a.b/c", "captoin": "x"})),
        "content: captoin is no field of type \"image\"",
    );
    assert_eq!(
        refused(json!({"type": "image", "url": "https://a.b/c", "caption": "{{ nope"})).split(": ").next(),
        Some("caption (fr), line 1, column 4"),
    );
    // What fits only for some contacts is found when it is rendered for them.
    let long = rich(json!({"type": "buttons", "body": "x", "buttons": [{"id": "1", "title": "{{ name }}"}]})).unwrap();
    assert_eq!(long.units(0, &[json!("Ana")]), Ok(1));
    assert!(matches!(long.units(0, &[json!("a".repeat(21))]), Err(RenderError::Content(_))));
}

#[test]
fn a_text_that_becomes_too_long_is_found_before_it_is_sent() {
    let whatsapp = |text: &str| Template::compile(Channel::Whatsapp, vec![body("", text)]);
    let hello = whatsapp("Hello {{ name | upper }}").unwrap();
    let long = |chars: usize, c: &str| [json!(c.repeat(chars))];
    assert_eq!(hello.units(0, &long(4090, "x")), Ok(1));
    // One character becomes three, so that counting its bytes would not do.
    assert_eq!(hello.units(0, &long(1363, "ﬃ")), Ok(1));
    let said = hello.units(0, &long(1364, "ﬃ")).unwrap_err().to_string();
    assert_eq!(said, "body: has 4098 characters: expected at most 4096");
    let brief = sms("Hello {{ name }}").within(Some(10), false);
    assert_eq!(brief.units(0, &long(4, "x")), Ok(1));
    let said = brief.units(0, &long(5, "x")).unwrap_err().to_string();
    assert_eq!(said, "body: has 11 characters: expected at most 10");
    let said = whatsapp(&"x".repeat(4097)).unwrap_err().to_string();
    assert_eq!(said, "the body has 4097 characters: whatsapp takes 4096");
    let grown = whatsapp("{{ name | replace('x', 'yyy') }}").unwrap();
    assert!(grown.units(0, &long(1365, "x")).is_ok() && grown.units(0, &long(1366, "x")).is_err());
    let text = Text::Approved { name: "t".into(), params: vec!["{{ name }}".into(), "{{ name }}".into()] };
    let approved = Template::compile(Channel::Whatsapp, vec![Variant { text, ..body("", "") }]).unwrap();
    // Templates of a kind that nobody approves have no such limit.
    assert_eq!(approved.units(0, &long(4096, "x")), Ok(1));
    let approved = approved.within(None, true);
    assert_eq!(approved.units(0, &long(512, "x")), Ok(1));
    let said = approved.units(0, &long(513, "x")).unwrap_err().to_string();
    assert_eq!(said, "params: have 1026 characters together: expected at most 1024");
}
