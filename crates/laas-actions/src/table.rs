//! Rows for a person at a terminal.

use std::io::{self, IsTerminal, Write};

/// Prints a table to stderr if that is a terminal; stdout has the document.
pub fn print<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        // Nobody is left to tell when the terminal is gone.
        let _ = stderr.write_all(text(head, rows).as_bytes());
    }
}

/// The columns are as wide as what is in them. What a peer said moves no cursor.
pub fn text<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let escaped = |cells: [String; N]| cells.map(|cell| cell.escape_debug().to_string().replace("\\'", "'"));
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.into_iter().map(escaped));
    let width = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let mut text = String::new();
    for cells in &lines {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
