//! Rows as PHP reads them from the database: every column is a string.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::macros::format_description;

/// The columns of one object by the names of the API.
pub type Row = Map<String, Value>;

/// The date of something that never happened.
pub const NEVER: &str = "0000-00-00 00:00:00";

/// A row with these columns and values.
pub fn row<const N: usize>(columns: [(&str, &str); N]) -> Row {
    columns
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// Writes a column.
pub fn set(row: &mut Row, column: &str, value: impl ToString) {
    row.insert(column.into(), value.to_string().into());
}

/// Reads a column; the empty text if there is none.
pub fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

/// Reads a column that holds an id; 0, which FOG gives to nothing, if it is
/// none.
pub fn id(row: &Row, column: &str) -> u32 {
    text(row, column).parse().unwrap_or_default()
}

/// Sets the columns that `wanted` names and the row has, as an edit does. The
/// id stays, and so does what is `null`: PHP takes that for unset.
pub fn edit(row: &mut Row, wanted: &Row) {
    for (column, value) in row.iter_mut() {
        let new = match wanted.get(column) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(flag)) => u8::from(*flag).to_string(),
            _ => continue,
        };
        if column != "id" {
            *value = new.into();
        }
    }
}

/// The time as FOG writes it, by the clock of the server.
pub fn now() -> String {
    OffsetDateTime::now_utc()
        .format(format_description!(
            "[year]-[month]-[day] [hour]:[minute]:[second]"
        ))
        .unwrap_or_else(|_| NEVER.into())
}
