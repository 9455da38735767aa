//! To whom a message goes, and with which values.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use crate::output::Usage;
use crate::parse;

#[derive(Debug, Args)]
pub struct Addressed {
    /// To whom: a phone with its country code, or an e-mail address
    #[arg(long)]
    pub to: String,
    /// A value of the template, e.g. --param name=Ali; repeat it
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse::param)]
    param: Vec<(String, String)>,
    /// Values as one JSON object, e.g. '{"name":"Ali","items":["tea"]}'
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    /// The same key again is the same message [default: every call is a message]
    #[arg(long)]
    pub key: Option<String>,
    /// What is not sent this long after it came is not sent at all, e.g. 10m [default: as the campaign says]
    #[arg(long, value_name = "TIME", value_parser = parse::seconds)]
    pub expires_after: Option<i64>,
    /// Wait so long for the result, e.g. 10s; 0s = only until it is accepted for sending
    #[arg(long, value_name = "TIME", value_parser = parse::wait, default_value = "10s")]
    wait: Duration,
}

impl Addressed {
    /// The values; what is given twice is refused.
    pub fn params(&self) -> Result<Map<String, Value>, Usage> {
        let mut params = match self.params.as_deref().map(serde_json::from_str) {
            None => Map::new(),
            Some(Ok(Value::Object(params))) => params,
            Some(Ok(_)) => {
                return Err(Usage("--params is no JSON object: write for example '{\"name\":\"Ali\"}'".to_owned()));
            }
            Some(Err(e)) => {
                return Err(Usage(format!("--params is no JSON: {e}; write for example '{{\"name\":\"Ali\"}}'")));
            }
        };
        for (name, value) in &self.param {
            if params.insert(name.clone(), Value::from(value.as_str())).is_some() {
                return Err(Usage(format!("value {name:?} is given twice: give it once")));
            }
        }
        Ok(params)
    }

    /// How long to wait for the result.
    pub fn wait(&self) -> Duration {
        self.wait
    }
}
