//! `fanfare list words`: the words by which recipients opt out, or come back.

use clap::Args;
use fanfare_domain::receipt::Meaning;
use fanfare_store::opt_words::{self, OptWord};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{Output, fields};

#[derive(Debug, Args)]
pub struct Options {
    /// A word that means this when it is all that a recipient writes; one that was removed counts again
    #[arg(long, value_name = "WORD", requires = "means", conflicts_with = "remove")]
    add: Option<String>,
    /// That nothing more shall be sent, or that they want to hear from us again
    #[arg(long, value_name = "stop|start", requires = "add", value_parser = means)]
    means: Option<Meaning>,
    /// A word that means nothing any more, be it built in or added
    #[arg(long, value_name = "WORD")]
    remove: Option<String>,
}

impl Options {
    /// Whether it changes anything.
    pub fn changes(&self) -> bool {
        self.add.is_some() || self.remove.is_some()
    }
}

fn means(text: &str) -> Result<Meaning, String> {
    [Meaning::OptOut, Meaning::OptIn]
        .into_iter()
        .find(|meaning| word_of(*meaning) == text)
        .ok_or_else(|| format!("{text:?} is neither stop nor start"))
}

/// As it is written on the command line.
fn word_of(meaning: Meaning) -> &'static str {
    if meaning == Meaning::OptOut { "stop" } else { "start" }
}

pub async fn run(context: &Context, options: &Options, output: Output) -> anyhow::Result<()> {
    let (store, workspace_id) = (&context.store, context.workspace_id);
    let mut c = store.pool.acquire().await?;
    let now = store.clock.now();
    if let (Some(word), Some(meaning)) = (&options.add, options.means) {
        let word = opt_words::add(&mut c, workspace_id, word, meaning, now).await?;
        let means = word_of(meaning);
        return output.result(&json!({ "word": word, "means": means }), |_| format!("{word} means {means}"));
    }
    if let Some(word) = &options.remove {
        let word = opt_words::remove(&mut c, workspace_id, word, now).await?;
        return output.result(&json!({ "word": word, "means": null }), |_| format!("{word} means nothing any more"));
    }
    let all = opt_words::all(&mut c, workspace_id).await?;
    let line = |w: &OptWord| json!({ "word": w.word, "means": w.means.map(word_of), "built_in": w.built_in });
    output.result(&json!({ "words": all.iter().map(line).collect::<Vec<Value>>() }), |_| {
        let of = |means: Option<Meaning>| {
            let words: Vec<&str> = all.iter().filter(|w| w.means == means).map(|w| w.word.as_str()).collect();
            words.join(", ")
        };
        fields([("stop", of(Some(Meaning::OptOut))), ("start", of(Some(Meaning::OptIn))), ("removed", of(None))])
    })
}
