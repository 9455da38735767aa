//! Templates whose variables have names. Ours are given by position, so that a parameter of such a
//! template is written with the name of its variable: `date=12 April`.

use fanfare_domain::content::listed;
use serde_json::{Map, Value};

/// The parameters by name; `None` if one has no name.
pub(crate) fn named(params: &[String]) -> Option<Map<String, Value>> {
    params.iter().map(|param| listed::named(param).map(|(name, value)| (name.to_owned(), value.into()))).collect()
}

/// The parameters by position, from 1.
pub(crate) fn numbered(params: &[String]) -> Map<String, Value> {
    params.iter().enumerate().map(|(i, param)| ((i + 1).to_string(), param.as_str().into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(params: &[&str], expect: Option<&str>) {
        let params: Vec<String> = params.iter().map(|p| (*p).to_owned()).collect();
        let seen = named(&params).map(|map| Value::from(map).to_string());
        assert_eq!(seen.as_deref(), expect, "{params:?}");
    }

    #[test]
    fn a_name_stands_before_the_first_equals_sign() {
        check(&[], Some("{}"));
        check(&["date=12 April", "sum=1=1"], Some(r#"{"date":"12 April","sum":"1=1"}"#));
        check(&["date=", "_x1=y"], Some(r#"{"_x1":"y","date":""}"#));
        for nameless in ["Amina", "=x", "1=x", "https://example.com/?a=b", "a b=c"] {
            check(&["date=1", nameless], None);
        }
        assert_eq!(Value::from(numbered(&["a=b".into(), "c".into()])).to_string(), r#"{"1":"a=b","2":"c"}"#);
    }
}
