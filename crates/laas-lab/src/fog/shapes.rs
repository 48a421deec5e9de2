//! What 1.6 makes of the rows: numbers are numbers, and lists come in pages.

use serde_json::{Value, json};

use super::rows::Row;

/// A list without `start` gets no more rows. 10000 in a stock FOG; few here,
/// so that every list of the lab comes in pages.
pub const MOST_ROWS: usize = 3;

/// Columns whose type in the database is a number.
const NUMBERS: [&str; 30] = [
    "id",
    "imageID",
    "hostID",
    "typeID",
    "stateID",
    "osID",
    "imageTypeID",
    "imagePartitionTypeID",
    "storagegroupID",
    "storagenodeID",
    "compress",
    "isEnabled",
    "isMaster",
    "toReplicate",
    "protected",
    "maxClients",
    "pct",
    "shutdown",
    "isDebug",
    "isForced",
    "wol",
    "useAD",
    "printerLevel",
    "pending",
    "pingstatus",
    "enforce",
    "building",
    "srvsize",
    "primary",
    "NFSLastMemberID",
];
/// Fields that a list leaves out: they are said of a single object only.
const SINGLE_ONLY: [&str; 4] = ["ADPass", "ADPassLegacy", "productKey", "sec_tok"];

/// Texts that are numbers in the database become numbers, in nested objects
/// too.
pub fn typed(value: Value) -> Value {
    match value {
        Value::Object(row) => {
            let number = |name: &str, value: Value| match value.as_str() {
                Some("") if NUMBERS.contains(&name) => 0.into(),
                Some(text) if NUMBERS.contains(&name) => text.parse::<u64>().map_or(value, Value::from),
                _ => typed(value),
            };
            row.into_iter()
                .map(|(name, value)| (name.clone(), number(&name, value)))
                .collect()
        }
        Value::Array(items) => items.into_iter().map(typed).collect(),
        other => other,
    }
}

/// A page of a list. `query` is what was asked for by `start` and `length`.
pub fn page(path: &str, class: &str, rows: Vec<Value>, query: &str) -> Value {
    let of = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
        values.next().and_then(|value| value.parse::<usize>().ok())
    };
    let total = rows.len();
    let start = of("start").unwrap_or_default();
    let asked = of("length").filter(|length| *length > 0);
    let length = match of("start") {
        Some(_) => asked.unwrap_or(MOST_ROWS),
        None => asked.unwrap_or(MOST_ROWS).min(MOST_ROWS),
    };
    let rows: Vec<Value> = rows
        .into_iter()
        .skip(start)
        .take(length)
        .map(|row| list_row(class, row))
        .collect();
    let url = |start: usize| format!("{path}?start={start}&length={length}");
    let next = start + rows.len();
    let last = total.saturating_sub(1) / length * length;
    let mut answer = json!({
        "draw": 0,
        "recordsTotal": total,
        "recordsFiltered": total,
        "recordsReturned": rows.len(),
        "firstUrl": url(0),
        "prevUrl": (start > 0).then(|| url(start.saturating_sub(length))),
        "nextUrl": (next < total).then(|| url(next)),
        "lastUrl": url(last),
        "_lang": class,
    });
    if of("start").is_none() && asked.is_none() && total > length {
        answer["truncated"] = true.into();
    }
    answer["data"] = rows.into();
    answer
}

/// A row of a list: flat, with links for the web pages, and a word where
/// there is no date.
fn list_row(class: &str, object: Value) -> Value {
    let Value::Object(object) = typed(object) else {
        return Value::Null;
    };
    let flat = object.into_iter().filter(|(name, value)| {
        !value.is_object() && !value.is_array() && !SINGLE_ONLY.contains(&name.as_str())
    });
    let dated = |value: Value| match value.as_str() {
        Some("0000-00-00 00:00:00") => "No Data".into(),
        _ => value,
    };
    let mut row: Row = flat.map(|(name, value)| (name, dated(value))).collect();
    let (id, name) = (row["id"].clone(), row.get("name").cloned().unwrap_or_default());
    row.insert("DT_RowId".into(), format!("row_{id}").into());
    let link = format!(
        "<a href=\"../management/index.php?node={class}&sub=edit&id={id}\">{}</a>",
        name.as_str().unwrap_or_default()
    );
    row.insert("mainlink".into(), link.into());
    row.into()
}
