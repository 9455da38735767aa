//! Contact files made by code.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use rust_xlsxwriter::Workbook;

const NAMES: [&str; 8] = ["Amina", "Karim", "Léa", "Yacine", "Nadia", "Sofiane", "Inès", "Mehdi"];
const CITIES: [&str; 5] = ["Alger", "Oran", "Constantine", "Annaba", "Sétif"];

/// Header of the files.
pub const COLUMNS: [&str; 4] = ["phone", "name", "city", "amount"];

/// Row `i`: an Algerian mobile number, a name, a city, an amount. All numbers differ up to 30 million.
pub fn row(i: u64) -> [String; 4] {
    // 5, 6 and 7 begin the mobile ranges; a stride prime to ten million spreads the numbers.
    let (range, number) = (5 + i / 10_000_000 % 3, i % 10_000_000 * 7_654_321 % 10_000_000);
    let phone = format!("+213{range}5{number:07}");
    let pick = |list: &[&str]| list[(i % list.len() as u64) as usize].to_owned();
    [phone, format!("{} {}", pick(&NAMES), i % 977), pick(&CITIES), (i % 5000).to_string()]
}

/// A CSV file of `rows` contacts.
pub fn csv(path: &Path, rows: u64) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "{}", COLUMNS.join(","))?;
    for i in 0..rows {
        writeln!(out, "{}", row(i).join(","))?;
    }
    Ok(out.flush()?)
}

/// An xlsx file of `rows` contacts, phones as numbers as spreadsheets keep them.
pub fn xlsx(path: &Path, rows: u32) -> anyhow::Result<()> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet_with_constant_memory()?;
    for (column, name) in (0..).zip(COLUMNS) {
        sheet.write_string(0, column, name)?;
    }
    for i in 0..rows {
        let [phone, name, city, amount] = row(u64::from(i));
        sheet.write_number(i + 1, 0, phone[1..].parse::<f64>()?)?;
        sheet.write_string(i + 1, 1, name)?;
        sheet.write_string(i + 1, 2, city)?;
        sheet.write_number(i + 1, 3, amount.parse::<f64>()?)?;
    }
    Ok(book.save(path)?)
}
