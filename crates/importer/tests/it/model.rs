//! Imports against a model of what they are to do: random dirty files, in one list after the other.

use std::collections::BTreeMap;

use fanfare_domain::rng::Rng;
use fanfare_store::contacts::OnDuplicate;
use fanfare_store::imports::Counts;

use crate::support::{Scene, line, with};

/// A row as it is meant, whatever it looks like.
#[derive(Debug, Clone, Default, PartialEq)]
struct Person {
    email: Option<String>,
    name: Option<String>,
    attributes: BTreeMap<String, String>,
}

/// The list as it has to be, and which import has met each contact last.
#[derive(Debug, Default)]
struct Model(BTreeMap<String, (Person, usize)>);

impl Model {
    fn apply(&mut self, policy: OnDuplicate, import: usize, address: &str, row: &Person, counts: &mut Counts) {
        let Some((person, met)) = self.0.get_mut(address) else {
            counts.imported += 1;
            self.0.insert(address.to_owned(), (row.clone(), import));
            return;
        };
        let repeat = *met == import;
        *met = import;
        let new = match policy {
            OnDuplicate::Skip => person.clone(),
            OnDuplicate::Overwrite => row.clone(),
            OnDuplicate::Merge if repeat => joined(person, row),
            OnDuplicate::Merge => joined(row, person),
        };
        match policy {
            _ if repeat => counts.duplicates += 1,
            OnDuplicate::Skip if row != person => counts.duplicates += 1,
            _ if new == *person => counts.unchanged += 1,
            _ => counts.updated += 1,
        }
        *person = new;
    }

    fn lines(&self) -> Vec<String> {
        let of = |x: &Option<String>| x.clone().unwrap_or_default();
        let shown = |(address, (p, _)): (&String, &(Person, usize))| {
            let attributes: serde_json::Value = p.attributes.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            let attributes = if p.attributes.is_empty() { String::new() } else { attributes.to_string() };
            format!("{address}|{}|{}|DZ||{attributes}", of(&p.email), of(&p.name))
        };
        self.0.iter().map(shown).collect()
    }
}

/// What `first` says, and where it is silent what `second` says.
fn joined(first: &Person, second: &Person) -> Person {
    let mut attributes = second.attributes.clone();
    attributes.extend(first.attributes.clone());
    Person {
        email: first.email.clone().or_else(|| second.email.clone()),
        name: first.name.clone().or_else(|| second.name.clone()),
        attributes,
    }
}

/// A file of `rows` rows about `people` people, and what its rows mean; none for a row that is to be refused.
fn file(rng: &Rng, rows: usize, people: u64) -> (String, Vec<Option<(String, Person)>>) {
    let mut csv = String::from("city;phone;note;e-mail;full name\r\n");
    let mut meant = Vec::new();
    let some = |words: &[&str]| {
        let word = words[rng.below(words.len() as u64) as usize];
        (!word.is_empty()).then(|| word.to_owned())
    };
    for _ in 0..rows {
        let number = format!("55{:07}", rng.below(people) * 104_729 % 10_000_000);
        let phone = match rng.below(6) {
            0 => format!("0{number}"),
            1 => format!("+213{number}"),
            2 => format!(" 00213 {number} "),
            3 => format!("+213 (0) {} {}", &number[..3], &number[3..]),
            4 => format!("213{number}"),
            _ => format!("\"0{}-{}\"", &number[..2], &number[2..]),
        };
        let person = Person {
            email: some(&["", "", "a@b.dz", "c@d.dz"]),
            name: some(&["", "Ali", "Zoé Ben", "أمين"]),
            attributes: [
                ("city", some(&["", "Oran", "Alger"])),
                ("note", some(&["", "x;y", "line 1\nline 2", "say \"hi\""])),
            ]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect(),
        };
        let quoted = |value: Option<&String>| {
            let value = value.cloned().unwrap_or_default();
            let plain = !value.contains([';', '"', '\n', '\r']);
            if plain { value } else { format!("\"{}\"", value.replace('"', "\"\"")) }
        };
        let of = |key: &str| quoted(person.attributes.get(key));
        let (mut phone, mut email, mut more) = (phone, quoted(person.email.as_ref()), "");
        let bad = rng.chance(0.1);
        if bad {
            match rng.below(5) {
                0 => phone = "12345".into(),
                1 => phone = "n/a?".into(),
                2 => email = "nobody@".into(),
                3 => more = ";more",
                _ => (phone, email) = (String::new(), String::new()),
            }
        }
        csv.push_str(&format!(
            "{};{phone};{};{email};{}{more}\r\n",
            of("city"),
            of("note"),
            quoted(person.name.as_ref())
        ));
        if rng.chance(0.02) {
            csv.push_str("\r\n");
        }
        meant.push((!bad).then(|| (format!("+213{number}"), person)));
    }
    (csv, meant)
}

async fn check(seed: u64, imports: usize, rows: usize, people: u64) {
    let scene = Scene::new().await;
    let rng = Rng::seeded(seed);
    let mut model = Model::default();
    for import in 0..imports {
        let policy = [OnDuplicate::Skip, OnDuplicate::Overwrite, OnDuplicate::Merge][rng.below(3) as usize];
        let (csv, meant) = file(&rng, rows, people);
        let mut expect = Counts { rows: rows as i64, ..Counts::default() };
        for row in &meant {
            match row {
                Some((address, person)) => model.apply(policy, import, address, person, &mut expect),
                None => expect.rejected += 1,
            }
        }
        let at = format!("seed {seed}, import {import}, {policy:?}");
        let path = scene.file(&format!("{import}.csv"), &csv);
        let rehearsed = scene.counts(&path, fanfare_importer::Options { dry_run: true, ..with(policy) }).await;
        assert_eq!(rehearsed, expect, "{at}, dry run");
        let counts = scene.counts(&path, with(policy)).await;
        assert_eq!(counts, expect, "{at}");
        let sum = counts.imported + counts.updated + counts.unchanged + counts.duplicates + counts.rejected;
        assert_eq!(sum, counts.rows, "{at}");
        let contacts = scene.contacts().await;
        let lines: Vec<String> = contacts.iter().map(line).collect();
        assert_eq!(lines.len(), model.0.len(), "{at}");
        for (got, expect) in lines.iter().zip(model.lines()) {
            assert_eq!(*got, expect, "{at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_do_what_the_model_does() {
    for seed in 0..25 {
        check(seed, 4, 60, 20).await;
    }
}

/// Several batches, and repeats across them.
#[tokio::test(flavor = "multi_thread")]
async fn large_files_do_what_the_model_does() {
    for seed in 100..103 {
        check(seed, 3, 24_000, 9_000).await;
    }
}
