//! What people and programs see: aligned text for the one, one JSON object for the other.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use chrono::{DateTime, Local, Utc};
use serde::Serialize;

/// Whoever read standard output has seen enough, as in `fanfare … | head`. Not a failure.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct ReaderGone;

/// A signal ended the command where it stood.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Bad usage that the reading of the command line could not see. Nothing was touched.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Exit code after bad usage, as clap has it.
const BAD_USAGE: u8 = 2;

/// Exit code after an interrupt, as shells count it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Where results go. Standard output holds results only; everything else goes to standard error.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints a result: as JSON, or by `human`.
    pub fn result<T: Serialize>(self, value: &T, human: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let text = if self.json { serde_json::to_string(value)? } else { human(value) };
        self.line(&text)
    }

    /// Prints one line, or several.
    pub fn line(self, text: &str) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        written(writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()))
    }

    /// Says why the command failed, and gives its exit code.
    pub fn error(self, error: &anyhow::Error) -> ExitCode {
        if error.is::<ReaderGone>() {
            return ExitCode::SUCCESS;
        }
        if error.is::<Interrupted>() && !self.json {
            return ExitCode::from(INTERRUPTED);
        }
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        if self.json {
            // If standard output is closed there is nobody to tell.
            let _ = self.line(&serde_json::json!({ "error": causes.join(": ") }).to_string());
        } else {
            let red = paint("error:", "31;1", std::io::stderr().is_terminal());
            eprintln!("{red} {}", causes.join(": "));
        }
        match (error.is::<Interrupted>(), error.is::<Usage>()) {
            (true, _) => ExitCode::from(INTERRUPTED),
            (_, true) => ExitCode::from(BAD_USAGE),
            _ => ExitCode::FAILURE,
        }
    }
}

/// The result of writing to standard output.
pub fn written(done: io::Result<()>) -> anyhow::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        done => Ok(done?),
    }
}

/// `text` in a colour (an SGR code), if it is for a terminal.
pub fn paint(text: &str, sgr: &str, terminal: bool) -> String {
    if terminal && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{sgr}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Whether results are seen by a person.
pub fn on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// `text` dimmed for a person's eyes.
pub fn dim(text: &str) -> String {
    paint(text, "2", on_terminal())
}

/// `text` in bold for a person's eyes.
pub fn bold(text: &str) -> String {
    paint(text, "1", on_terminal())
}

/// A point in time as people read it: local, with its offset.
pub fn when(at: DateTime<Utc>) -> String {
    at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// An id as it stands in JSON: a string, since JavaScript cannot hold 63 bits in a number.
pub fn id(id: i64) -> String {
    id.to_string()
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./=+:,@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Lines of a label and what it stands for, aligned. What is empty is left out.
pub fn fields<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let rows: Vec<(&str, String)> = rows.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let line = |(label, value): &(&str, String)| {
        let hanging = format!("\n{:width$}  ", "");
        format!("{}  {}\n", dim(&format!("{label:width$}")), value.trim_end().replace('\n', &hanging))
    };
    rows.iter().map(line).collect()
}

/// A table: a header and rows, columns aligned, numbers to the right. Empty without rows.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|h| h.to_uppercase()).collect()] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn render(&self) -> String {
        if self.rows.len() == 1 {
            return String::new();
        }
        let columns = self.rows.first().map_or(0, Vec::len);
        let cell = |row: &Vec<String>, i: usize| row.get(i).cloned().unwrap_or_default();
        let width: Vec<usize> =
            (0..columns).map(|i| self.rows.iter().map(|r| cell(r, i).chars().count()).max().unwrap_or(0)).collect();
        let numeric: Vec<bool> =
            (0..columns).map(|i| self.rows.iter().skip(1).all(|r| is_number(&cell(r, i)))).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for i in 0..columns {
                let (c, pad) = (cell(row, i), width[i] - cell(row, i).chars().count());
                let gap = " ".repeat(pad);
                line.push_str(&if numeric[i] { format!("{gap}{c}  ") } else { format!("{c}{gap}  ") });
            }
            let line = line.trim_end();
            text.push_str(&if number == 0 { dim(line) } else { line.to_owned() });
            text.push('\n');
        }
        text
    }
}

fn is_number(cell: &str) -> bool {
    cell.is_empty() || cell.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '%'))
}

/// 1234567 → 1,234,567
pub fn count(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::from(if n < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Micro-credits as credits: 1500000 → 1.5
pub fn credits(micro: i64) -> String {
    let sign = if micro < 0 { "-" } else { "" };
    let (whole, part) = ((micro.unsigned_abs() / 1_000_000) as i64, micro.unsigned_abs() % 1_000_000);
    match part {
        0 => format!("{sign}{}", count(whole)),
        part => format!("{sign}{}.{}", count(whole), format!("{part:06}").trim_end_matches('0')),
    }
}

/// Seconds as people say them: 45s, 3m 20s, 2h 5m, 3d 4h
pub fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(-1000), "-1,000");
        assert_eq!(credits(1_500_000), "1.5");
        assert_eq!(credits(-2_000_000), "-2");
        assert_eq!(credits(5000), "0.005");
        assert_eq!(duration(200.4), "3m 20s");
    }

    #[test]
    fn columns_align() {
        let mut table = Table::new(&["name", "rows"]);
        table.row(["spring".to_owned(), "7".to_owned()]);
        table.row(["a".to_owned(), "1,200".to_owned()]);
        assert_eq!(table.render(), "NAME     ROWS\nspring      7\na       1,200\n");
    }
}
