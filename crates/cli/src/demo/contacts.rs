//! The demo's contact files.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use fanfare_domain::rng::Rng;

use crate::import::Imported;
use crate::output::{Table, count, dim};

/// A CSV and an Excel workbook with faulty rows, as people make them.
pub const FIXTURES: &[(&str, &[u8])] = &[
    ("contacts.csv", include_bytes!("../../../../fixtures/contacts.csv")),
    ("contacts.xlsx", include_bytes!("../../../../fixtures/contacts.xlsx")),
];

const FIRST_NAMES: &[&str] = &["Amina", "Yacine", "Claire", "Jürgen", "Sofía", "نور", "Omar", "Lina", "Zoë", "محمد"];
const LAST_NAMES: &[&str] = &["Benali", "Haddad", "Martin", "Müller", "Núñez", "بن علي", "Cherif", "O'Neil"];
const FAULTY: &[&str] = &["n/a", "0555", "+999 12 34 56 78", "0551 22 33 4x", "2,13E+11", ""];
/// Refused rows that are shown.
const REJECTS_SHOWN: usize = 3;

/// Writes a file with `good` contacts, with e-mails if they are wanted, and one faulty row and one repeated
/// address for each hundred.
pub fn generate(path: &Path, good: i64, seed: u64, emails: bool) -> io::Result<()> {
    let rng = Rng::seeded(seed);
    let pick = |from: &'static [&'static str]| from[rng.below(from.len() as u64) as usize];
    let mut out = BufWriter::new(File::create(path)?);
    // As a French Excel writes it.
    writeln!(out, "Téléphone;Nom;Langue;Ville;Courriel")?;
    let email = |i: i64| if emails { format!("client{i}@example.com") } else { String::new() };
    for i in 0..good {
        let (name, family) = (pick(FIRST_NAMES), pick(LAST_NAMES));
        let language = ["", "", "", "fr", "fr", "ar"][rng.below(6) as usize];
        writeln!(out, "{};{name} {family};{language};Oran;{}", phone(i), email(i))?;
        if i % 100 == 50 {
            writeln!(out, "{};{name};;;", pick(FAULTY))?;
        }
        if i % 100 == 99 {
            writeln!(out, "{};{name} {family};;Alger;", phone(i - 7))?;
        }
    }
    out.flush()
}

/// Every tenth is in France. Each is another one.
fn phone(i: i64) -> String {
    let digits = |i: i64| format!("{:02} {:02} {:02}", i / 10_000 % 100, i / 100 % 100, i % 100);
    match i % 10 {
        0 => format!("+33 6 12 {}", digits(i / 10)),
        _ => format!("077{} {}", i / 1_000_000 % 10, digits(i)),
    }
}

/// What became of the rows of each file.
pub fn render(files: &[Imported]) -> String {
    let mut table = Table::new(&["file", "rows", "imported", "updated", "unchanged", "duplicates", "rejected"]);
    for f in files {
        let c = &f.summary.counts;
        let numbers = [c.rows, c.imported, c.updated, c.unchanged, c.duplicates, c.rejected];
        table.row([f.file.clone()].into_iter().chain(numbers.map(count)));
    }
    let rejects = files.iter().filter_map(|f| Some((f, f.summary.rejects.first()?))).take(REJECTS_SHOWN);
    let rejects: String = rejects
        .map(|(f, r)| {
            dim(&format!("rejected, {} row {}: {} {:?}: {}", f.file, r.row, r.column, r.value, r.reason)) + "\n"
        })
        .collect();
    format!("{}{rejects}", table.render())
}
