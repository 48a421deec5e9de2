//! The rows for a person at a terminal.

use super::Row;
use crate::table;
use std::fmt::Display;

const HEAD: [&str; 6] = ["HOST", "BOOKED", "BEFORE", "AFTER", "CHANGED", ""];

/// Prints them to stderr if that is a terminal.
pub fn print(rows: &[Row]) {
    table::print(HEAD, rows.iter().map(cells));
}

fn cells(row: &Row) -> [String; 6] {
    let yes = |is: bool| if is { "yes" } else { "no" };
    let or_dash = |value: Option<&dyn Display>| value.map_or("-".to_owned(), ToString::to_string);
    let booked = row.booked.map(yes);
    let said = row.error.as_deref().or(row.skipped.as_deref());
    [
        row.host.to_string(),
        or_dash(booked.as_ref().map(|b| b as &dyn Display)),
        or_dash(row.before.as_ref().map(|p| p as &dyn Display)),
        or_dash(row.after.as_ref().map(|p| p as &dyn Display)),
        yes(row.changed).to_owned(),
        said.unwrap_or_default().to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use laas_bmc::Power;

    #[test]
    fn a_row_is_a_line() {
        let host = |name: &str| name.parse().unwrap();
        let rows = [
            Row {
                before: Some(Power::Off),
                after: Some(Power::On),
                changed: true,
                booked: Some(true),
                ..Row::new(&host("pod1"))
            },
            Row {
                error: Some("the BMC\n\u{1b}[2J is silent".to_owned()),
                booked: Some(true),
                ..Row::new(&host("a-longer-name"))
            },
            Row {
                booked: Some(false),
                ..Row::new(&host("pod3"))
            },
            Row {
                skipped: Some("the dashboard does not know it".to_owned()),
                ..Row::new(&host("pod4"))
            },
        ];
        let expected = "\
HOST           BOOKED  BEFORE  AFTER  CHANGED
pod1           yes     off     on     yes
a-longer-name  yes     -       -      no       the BMC\\n\\u{1b}[2J is silent
pod3           no      -       -      no
pod4           -       -       -      no       the dashboard does not know it
";
        assert_eq!(table::text(HEAD, rows.iter().map(cells)), expected);
    }
}
