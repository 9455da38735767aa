//! `fanfare template`: what is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::{ArgGroup, Args, Subcommand};
use fanfare_domain::limits::TEMPLATE_BYTES_MAX;
use fanfare_domain::message::Channel;
use fanfare_domain::template::{Template, Text, Variant};
use fanfare_scheduler::preview::{self, Preview};
use fanfare_store::templates::{self, Head};
use serde_json::json;

use crate::attach::{self, Attached};
use crate::context::{Context, Global};
use crate::output::{Output, Table, dim, fields, when};
use crate::{parse, sample};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a template, or a new version of one; runs keep the version they were launched with
    Add(Add),
    /// List the templates
    Ls,
    /// Show a template
    Show {
        /// Which
        name: String,
    },
    /// Render a template for real contacts
    Preview {
        /// Which
        name: String,
        /// For contacts of this list
        #[arg(long)]
        list: String,
        /// For how many
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
        count: u16,
    },
}

/// A text is said either in our own words or by a template that the provider has approved. Options that
/// take `LANGUAGE=` may be repeated, once for each language.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("text").required(true).multiple(true).args(["body", "body_file", "provider_template", "content"]))]
pub struct Add {
    /// What the commands will call it
    #[arg(value_parser = parse::name)]
    name: String,
    /// whatsapp, sms or email
    #[arg(long)]
    channel: Channel,
    /// The text, e.g. 'Hello {{ name | default("friend") }}'; in several languages: --body 'Hello'
    /// --body 'fr=Bonjour'
    #[arg(long, value_name = "[LANGUAGE=]TEXT")]
    body: Vec<String>,
    /// The text from a file, or from standard input by -
    #[arg(long, value_name = "[LANGUAGE=]FILE")]
    body_file: Vec<String>,
    /// Subject line, for e-mail
    #[arg(long, value_name = "[LANGUAGE=]TEXT")]
    subject: Vec<String>,
    /// Name of a template that the provider has approved
    #[arg(long, value_name = "[LANGUAGE=]NAME", conflicts_with_all = ["body", "body_file", "subject"])]
    provider_template: Vec<String>,
    /// A positional parameter of the provider's template, e.g. '{{ name }}'; repeat it in their order. Where
    /// its variables have names (1Confirmed, OneSystem): 'variable={{ name }}'
    #[arg(long = "param", value_name = "TEXT", requires = "provider_template")]
    params: Vec<String>,
    /// A JSON file with a content of another type: image, buttons, list, location, template with header or
    /// cards, …; each of its texts may hold variables. Pictures, films, sounds and documents have a "url", or
    /// a "file" beside the content file, which is kept with the template; an html e-mail has "attachments"
    #[arg(long, value_name = "[LANGUAGE=]FILE", conflicts_with_all = ["body", "body_file", "subject"])]
    content: Vec<String>,
    /// Language of the texts that name none; contacts of no other language get it
    #[arg(long, value_name = "TAG", value_parser = language)]
    language: Option<String>,
    /// What stands in for a variable that a contact lacks
    #[arg(long = "default", value_name = "VARIABLE=TEXT", value_parser = default)]
    defaults: Vec<(String, String)>,
}

fn default(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((variable, value)) if !variable.trim().is_empty() => Ok((variable.trim().to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not VARIABLE=TEXT: write for example name=friend")),
    }
}

fn language(text: &str) -> Result<String, String> {
    let tag = text.to_lowercase();
    if is_language(&tag) { Ok(tag) } else { Err(format!("{text:?} is no language tag: write for example fr or pt-br")) }
}

/// Two or three letters, with subtags.
fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let primary =
        parts.next().is_some_and(|p| (2..=3).contains(&p.len()) && p.chars().all(|c| c.is_ascii_alphabetic()));
    primary && parts.all(|p| (1..=8).contains(&p.len()) && p.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// `fr=Bonjour` → (`fr`, `Bonjour`); what does not begin with a language is of the main one.
fn tagged<'a>(text: &'a str, main: &str) -> (String, &'a str) {
    match text.split_once('=') {
        Some((tag, rest)) if is_language(&tag.to_lowercase()) => (tag.to_lowercase(), rest),
        _ => (main.to_owned(), text),
    }
}

pub async fn run(global: &Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    // A template that cannot be is refused before the database is opened.
    let command = match command {
        Command::Add(new) => {
            let (template, files) = compile(&new).with_context(|| format!("template {:?}", new.name))?;
            return add(global, &new.name, &template, &files, output).await;
        }
        other => other,
    };
    global
        .with(async |context| match command {
            Command::Add(_) | Command::Ls => ls(context, output).await,
            Command::Show { name } => show(context, &name, output).await,
            Command::Preview { name, list, count } => {
                let found =
                    preview::preview(&context.store, context.workspace_id, &name, &list, i64::from(count)).await?;
                output
                    .result(&json!({ "template": name, "list": list, "previews": found }), |_| previews(&list, &found))
            }
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}

async fn add(
    global: &Global,
    name: &str,
    template: &Template,
    files: &[Attached],
    output: Output,
) -> anyhow::Result<ExitCode> {
    global
        .with_workspace(true, async |context| {
            // Kept first: no template names a file that is not there.
            for file in files {
                file.keep(&context.store, context.workspace_id).await?;
            }
            let head = templates::add(&context.store, context.workspace_id, name, template).await?;
            present(&head, template, output)
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}

/// The template that the options describe, and the files that it names.
fn compile(new: &Add) -> anyhow::Result<(Template, Vec<Attached>)> {
    let main = new.language.as_deref().unwrap_or_default();
    let mut texts: Vec<(String, Text)> = Vec::new();
    let mut files = Vec::new();
    for body in &new.body {
        let (language, body) = tagged(body, main);
        texts.push((language, Text::Body { subject: None, body: body.to_owned() }));
    }
    for file in &new.body_file {
        let (language, file) = tagged(file, main);
        texts.push((language, Text::Body { subject: None, body: read(Path::new(file))? }));
    }
    for approved in &new.provider_template {
        let (language, approved) = tagged(approved, main);
        texts.push((language, Text::Approved { name: approved.to_owned(), params: new.params.clone() }));
    }
    for file in &new.content {
        let (language, file) = tagged(file, main);
        let content = serde_json::from_str(&read(Path::new(file))?);
        let mut content = content.with_context(|| format!("{file} is no JSON"))?;
        let directory = Path::new(file).parent().unwrap_or(Path::new(""));
        attach::read(&mut content, directory, &mut files).with_context(|| format!("content {file}"))?;
        texts.push((language, Text::Rich(content)));
    }
    for given in &new.subject {
        let (language, given) = tagged(given, main);
        let text = texts.iter_mut().find(|(l, _)| *l == language);
        match text {
            Some((_, Text::Body { subject: subject @ None, .. })) => *subject = Some(given.to_owned()),
            Some(_) => bail!("two subjects for one language: give one"),
            None if language.is_empty() => {
                bail!("the subject {given:?} names no language: write --subject LANGUAGE=TEXT")
            }
            None => {
                bail!("the subject {given:?} is for {language}, which has no body: add one with --body {language}=TEXT")
            }
        }
    }
    // What names no language is the fallback.
    texts.sort_by_key(|(language, _)| language != main);
    let defaults: BTreeMap<String, String> = new.defaults.iter().cloned().collect();
    ensure!(defaults.len() == new.defaults.len(), "two defaults for one variable: give one");
    let variants = texts.into_iter().map(|(language, text)| Variant { language, text, defaults: defaults.clone() });
    let template = Template::compile(new.channel, variants.collect())?;
    if let Some(unknown) = defaults.keys().find(|d| !template.variables().contains(d)) {
        let known = template.variables().join(", ");
        let used = if known.is_empty() { "it has none".to_owned() } else { format!("it has {known}") };
        bail!("--default {unknown}=…: the template has no variable {unknown:?}; {used}");
    }
    Ok((template, files))
}

fn read(path: &Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let standard_input = path == Path::new("-");
    let from: Box<dyn std::io::Read> = match standard_input {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?),
    };
    let path = if standard_input { PathBuf::from("standard input") } else { path.to_owned() };
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that the template's own check can refuse it.
    let limit = TEMPLATE_BYTES_MAX as u64 + 1;
    from.take(limit).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        anyhow::anyhow!("{}: invalid UTF-8 at byte {}: save the file as UTF-8", path.display(), at + 1)
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
    // Editors end the last line; messages do not.
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

async fn ls(context: &Context, output: Output) -> anyhow::Result<()> {
    let heads = templates::list(&mut *context.store.pool.acquire().await?, context.workspace_id).await?;
    let json: Vec<_> = heads.iter().map(head).collect();
    output.result(&json!({ "templates": json }), |_| {
        let mut table = Table::new(&["template", "channel", "version", "added"]);
        for h in &heads {
            table.row([h.name.clone(), h.channel.to_string(), h.version.to_string(), when(h.created_at)]);
        }
        let none = "no templates yet: fanfare template add NAME --channel sms --body 'Hello {{ name }}'";
        if heads.is_empty() { none.to_owned() } else { table.render() }
    })
}

fn head(h: &Head) -> serde_json::Value {
    json!({ "name": h.name, "channel": h.channel, "version": h.version, "created_at": h.created_at })
}

async fn show(context: &Context, name: &str, output: Output) -> anyhow::Result<()> {
    let mut c = context.store.pool.acquire().await?;
    let head = templates::get(&mut c, context.workspace_id, name).await?;
    let template = templates::compile(&mut c, context.workspace_id, head.template_id, head.version).await?;
    present(&head, &template, output)
}

fn present(head: &Head, template: &Template, output: Output) -> anyhow::Result<()> {
    let variants: Vec<&Variant> = template.variants().collect();
    let value = json!({
        "name": head.name, "channel": head.channel, "version": head.version, "created_at": head.created_at,
        "variables": template.variables(), "variants": variants.iter().map(|v| variant_json(v)).collect::<Vec<_>>(),
    });
    output.result(&value, |_| {
        let variables = template.variables();
        let mut rows = vec![
            ("template", head.name.clone()),
            ("channel", head.channel.to_string()),
            ("version", head.version.to_string()),
            ("variables", if variables.is_empty() { "none".to_owned() } else { variables.join(", ") }),
        ];
        for variant in &variants {
            let label = if variant.language.is_empty() { "text" } else { variant.language.as_str() };
            rows.push((label, in_words(&variant.text)));
        }
        let defaults = variants.first().map(|v| &v.defaults).into_iter().flatten();
        rows.push(("defaults", defaults.map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("\n")));
        fields(rows)
    })
}

fn variant_json(v: &Variant) -> serde_json::Value {
    let (subject, body, approved, params, content) = match &v.text {
        Text::Body { subject, body } => (subject.as_ref(), Some(body), None, [].as_slice(), None),
        Text::Approved { name, params } => (None, None, Some(name), params.as_slice(), None),
        Text::Rich(content) => (None, None, None, [].as_slice(), Some(content)),
    };
    json!({
        "language": v.language, "subject": subject, "body": body, "provider_template": approved, "params": params,
        "content": content, "defaults": v.defaults,
    })
}

fn in_words(text: &Text) -> String {
    match text {
        Text::Body { subject: None, body } => body.clone(),
        Text::Body { subject: Some(subject), body } => format!("{subject}\n\n{body}"),
        Text::Approved { name, params } => format!("{name} ({})", params.join(", ")),
        Text::Rich(content) => content.to_string(),
    }
}

fn previews(list: &str, found: &[Preview]) -> String {
    if found.is_empty() {
        return format!("list {list} has no contacts: fanfare import FILE --list {list}");
    }
    let mut text = String::new();
    for p in found {
        let lacks = if p.missing.is_empty() { String::new() } else { format!("lacks {}", p.missing.join(", ")) };
        match (&p.sample, &p.left_out) {
            (Some(sample), _) => text.push_str(&sample::render(sample, &lacks)),
            (None, why) => {
                let why = why.as_deref().unwrap_or("it is left out");
                text.push_str(&format!("{}\n  {}\n", p.contact, dim(&format!("not written to: {why}"))));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_told_from_a_text_that_holds_an_equals_sign() {
        assert_eq!(tagged("fr=Bonjour", ""), ("fr".to_owned(), "Bonjour"));
        assert_eq!(tagged("PT-br=Olá", ""), ("pt-br".to_owned(), "Olá"));
        assert_eq!(tagged("1 + 1 = 2", "en"), ("en".to_owned(), "1 + 1 = 2"));
        assert_eq!(tagged("See https://example.com/?id=7", ""), (String::new(), "See https://example.com/?id=7"));
        assert_eq!(tagged("Hello", ""), (String::new(), "Hello"));
    }
}
