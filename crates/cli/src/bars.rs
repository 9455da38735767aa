//! Progress bars, on standard error, and only there where a person looks.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a bar that stands still is drawn anew.
const REDRAW_EVERY: Duration = Duration::from_millis(200);
const CELLS: &str = "━╸─";

/// Whether a person sees standard error.
pub fn seen() -> bool {
    std::io::stderr().is_terminal()
}

/// A bar of things counted, with rate and time left; hidden unless `wanted` and a person looks.
pub fn counting(label: &str, wanted: bool) -> ProgressBar {
    let bar = hidden_unless(wanted && seen());
    bar.set_style(style(
        "{prefix} {bar:30.cyan/dim} {human_pos}/{human_len} · {per_sec} · {eta} left",
        "{prefix} {spinner} {human_pos} · {per_sec}",
    ));
    bar.set_prefix(label.to_owned());
    bar
}

/// A bar of bytes, with rate and time left.
pub fn bytes(label: &str, wanted: bool) -> ProgressBar {
    let bar = hidden_unless(wanted && seen());
    bar.set_style(style(
        "{prefix} {bar:30.cyan/dim} {percent}% of {total_bytes} · {eta} left · {msg}",
        "{prefix} {spinner} {bytes} · {msg}",
    ));
    bar.set_prefix(label.to_owned());
    bar
}

/// A bar whose numbers its owner writes into the message.
pub fn plain(label: &str, all: &MultiProgress) -> ProgressBar {
    let bar = all.add(ProgressBar::new(0));
    bar.set_style(style("{prefix} {bar:30.cyan/dim} {wide_msg}", "{prefix} {spinner} {wide_msg}"));
    bar.set_prefix(label.to_owned());
    bar.enable_steady_tick(REDRAW_EVERY);
    bar
}

/// Several bars together; hidden unless `wanted` and a person looks.
pub fn several(wanted: bool) -> MultiProgress {
    MultiProgress::with_draw_target(target(wanted && seen()))
}

fn hidden_unless(shown: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), target(shown));
    if shown {
        bar.enable_steady_tick(REDRAW_EVERY);
    }
    bar
}

fn target(shown: bool) -> ProgressDrawTarget {
    if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

/// `full` where the terminal is wide enough for the bar, else `narrow`.
fn style(full: &str, narrow: &str) -> ProgressStyle {
    let wide = terminal_columns().is_none_or(|columns| columns >= 80);
    // The templates are this file's own, and are looked at by its test.
    ProgressStyle::with_template(if wide { full } else { narrow })
        .expect("a template that parses")
        .progress_chars(CELLS)
}

fn terminal_columns() -> Option<u16> {
    rustix::termios::tcgetwinsize(std::io::stderr()).ok().map(|size| size.ws_col).filter(|columns| *columns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_parses() {
        counting("x", false);
        bytes("x", false);
        plain("x", &several(false));
    }
}
