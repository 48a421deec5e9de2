//! Rows as PHP reads them from the database: every column is a string.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::macros::format_description;

/// The columns of one object by the names of the API.
pub type Row = Map<String, Value>;

/// The date of something that never happened.
const NEVER: &str = "0000-00-00 00:00:00";

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

/// A host that was just registered.
pub fn host_row(id: u32, name: &str, image: u32) -> Row {
    row([
        ("id", &id.to_string()),
        ("name", name),
        ("description", ""),
        ("ip", ""),
        ("imageID", &image.to_string()),
        ("building", "0"),
        ("createdTime", &now()),
        ("deployed", NEVER),
        ("createdBy", "fog"),
        ("useAD", "0"),
        ("ADDomain", ""),
        ("ADOU", ""),
        ("ADUser", ""),
        ("ADPass", ""),
        ("ADPassLegacy", ""),
        ("productKey", ""),
        ("printerLevel", "0"),
        ("kernelArgs", ""),
        ("kernel", ""),
        ("kernelDevice", ""),
        ("init", ""),
        ("pending", "0"),
        ("pub_key", ""),
        ("sec_tok", ""),
        ("sec_time", NEVER),
        ("pingstatus", "6"),
        ("biosexit", ""),
        ("efiexit", ""),
        ("enforce", "1"),
    ])
}

/// An image that was just created.
pub fn image_row(id: u32, name: &str, enabled: bool) -> Row {
    row([
        ("id", &id.to_string()),
        ("name", name),
        ("description", ""),
        ("path", &name.replace(['.', '-'], "")),
        ("createdTime", &now()),
        ("createdBy", "fog"),
        ("building", "0"),
        ("size", "10737418240.000000:"),
        ("imageTypeID", "1"),
        ("imagePartitionTypeID", "1"),
        ("osID", "50"),
        ("deployed", NEVER),
        ("format", "5"),
        ("magnet", ""),
        ("protected", "0"),
        ("compress", "6"),
        ("isEnabled", if enabled { "1" } else { "0" }),
        ("toReplicate", "1"),
        ("srvsize", "1073741824"),
    ])
}

/// A task that was just queued; `asked` are the columns of the request.
pub fn task_row(id: u32, host: u32, image: u32, asked: &Row) -> Row {
    row([
        ("id", &id.to_string()),
        ("name", text(asked, "taskName")),
        ("checkInTime", NEVER),
        ("hostID", &host.to_string()),
        ("stateID", "1"),
        ("createdTime", &now()),
        ("createdBy", "fog"),
        ("isForced", "0"),
        ("scheduledStartTime", NEVER),
        ("typeID", text(asked, "taskTypeID")),
        ("pct", "0000000000"),
        ("bpm", ""),
        ("timeElapsed", ""),
        ("timeRemaining", ""),
        ("dataCopied", ""),
        ("percent", ""),
        ("dataTotal", ""),
        ("storagegroupID", "1"),
        ("storagenodeID", "1"),
        ("NFSFailures", ""),
        ("NFSLastMemberID", "0"),
        ("shutdown", text(asked, "shutdown")),
        ("passreset", text(asked, "passreset")),
        ("isDebug", text(asked, "debug")),
        ("imageID", &image.to_string()),
        ("wol", text(asked, "wol")),
    ])
}
