//! Values as Python writes them, which is how StackStorm puts them on command lines, into texts and into errors.

use serde_json::Value;

/// `str(value)`: a string as it is, everything else like [`repr`].
pub fn to_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

/// `repr(value)`: `None`, `True`, `'text'`, `['x', 1]`, `{'k': 'v'}`.
pub fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => number_repr(number),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", quoted(key), repr(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// `pprint.pformat(value, width=72)`, with every line but the first moved right by `indent`.
pub fn indented(value: &Value, indent: usize) -> String {
    let line = repr(&sorted(value));
    let is_short = line.chars().count() + indent <= PPRINT_WIDTH;
    let parts: Vec<String> = match value {
        Value::Object(entries) if !is_short => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let part = |(key, item): (&String, &Value)| {
                let key = format!("{}: ", quoted(key));
                let below = indent + 1 + key.chars().count();
                key + &indented(item, below)
            };
            entries.into_iter().map(part).collect()
        }
        Value::Array(items) if !is_short => items.iter().map(|item| indented(item, indent + 1)).collect(),
        _ => return line,
    };
    let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
    format!(
        "{open}{}{close}",
        parts.join(&format!(",\n{}", " ".repeat(indent + 1)))
    )
}

/// 72 columns, counted without the four that the whole is moved right by.
const PPRINT_WIDTH: usize = 72 + 4;

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries
                .iter()
                .map(|(key, item)| (key.clone(), sorted(item)))
                .collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// How `json.dumps` is told to write.
#[derive(Debug, Clone, Copy)]
pub struct JsonStyle {
    /// Between two entries.
    pub comma: &'static str,
    pub sort_keys: bool,
}

/// `json.dumps(value)`, with `": "` after a name and everything beyond ASCII escaped.
pub fn json_dumps(value: &Value, style: JsonStyle) -> String {
    let mut text = String::new();
    write_json(value, style, &mut text);
    text
}

fn write_json(value: &Value, style: JsonStyle, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                out.push_str(if position > 0 { style.comma } else { "" });
                write_json(item, style, out);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            if style.sort_keys {
                entries.sort_by_key(|(key, _)| *key);
            }
            out.push('{');
            for (position, (key, item)) in entries.into_iter().enumerate() {
                out.push_str(if position > 0 { style.comma } else { "" });
                write_json_string(key, out);
                out.push_str(": ");
                write_json(item, style, out);
            }
            out.push('}');
        }
        Value::String(text) => write_json_string(text, out),
        Value::Number(number) => out.push_str(&number_repr(number)),
        other => out.push_str(&other.to_string()),
    }
}

fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

/// Reads what [`repr`] writes; `None` when it is something else.
pub fn parse_literal(text: &str) -> Option<Value> {
    let mut rest = text.trim();
    let value = literal(&mut rest)?;
    rest.trim().is_empty().then_some(value)
}

fn literal(rest: &mut &str) -> Option<Value> {
    *rest = rest.trim_start();
    for (word, value) in [
        ("None", Value::Null),
        ("True", Value::Bool(true)),
        ("False", Value::Bool(false)),
    ] {
        if let Some(after) = rest.strip_prefix(word) {
            *rest = after;
            return Some(value);
        }
    }
    match rest.chars().next()? {
        quote @ ('\'' | '"') => literal_text(rest, quote).map(Value::String),
        '[' | '(' => {
            let close = if rest.starts_with('[') { ']' } else { ')' };
            let mut items = Vec::new();
            *rest = &rest[1..];
            while !closes(rest, close) {
                items.push(literal(rest)?);
                separator(rest, close)?;
            }
            Some(Value::Array(items))
        }
        '{' => {
            let mut entries = serde_json::Map::new();
            *rest = &rest[1..];
            while !closes(rest, '}') {
                let key = literal(rest)?;
                *rest = rest.trim_start().strip_prefix(':')?;
                entries.insert(to_text(&key), literal(rest)?);
                separator(rest, '}')?;
            }
            Some(Value::Object(entries))
        }
        _ => {
            let end = rest
                .find([',', ']', '}', ')', ':', ' ', '\n'])
                .unwrap_or(rest.len());
            let number = rest[..end].parse::<serde_json::Number>().ok()?;
            *rest = &rest[end..];
            Some(Value::Number(number))
        }
    }
}

fn closes(rest: &mut &str, close: char) -> bool {
    *rest = rest.trim_start();
    rest.strip_prefix(close).map(|after| *rest = after).is_some()
}

fn separator(rest: &mut &str, close: char) -> Option<()> {
    *rest = rest.trim_start();
    match rest.strip_prefix(',') {
        Some(after) => *rest = after,
        None if rest.starts_with(close) => {}
        None => return None,
    }
    Some(())
}

fn literal_text(rest: &mut &str, quote: char) -> Option<String> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    loop {
        let (at, character) = characters.next()?;
        match character {
            '\\' => match characters.next()?.1 {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                'x' => {
                    let digits: String = [characters.next()?.1, characters.next()?.1].iter().collect();
                    text.push(char::from(u8::from_str_radix(&digits, 16).ok()?));
                }
                other => text.push(other),
            },
            end if end == quote => {
                *rest = &rest[at + 1..];
                return Some(text);
            }
            other => text.push(other),
        }
    }
}

fn number_repr(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => {
            if float != 0.0 && !(1e-4..1e16).contains(&float.abs()) {
                let text = format!("{float:e}");
                // Python writes at least two digits of exponent and always its sign.
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let exponent: i32 = exponent.parse().unwrap_or(0);
                let sign = if exponent < 0 { '-' } else { '+' };
                format!("{mantissa}e{sign}{:02}", exponent.abs())
            } else {
                format!("{float:?}")
            }
        }
        _ => number.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || (0x7f..0xa1).contains(&(c as u32)) => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_look_like_python() {
        let cases = [
            (json!(null), "None"),
            (json!([true, false]), "[True, False]"),
            (json!(["x", "y z"]), "['x', 'y z']"),
            (json!("it's"), "\"it's\""),
            (json!("it's \"x\""), "'it\\'s \"x\"'"),
            (json!("a\nb\\"), "'a\\nb\\\\'"),
            (json!({"k": ["v", 1, 1.0, 0.1]}), "{'k': ['v', 1, 1.0, 0.1]}"),
            (json!(1e20), "1e+20"),
            (json!(1.5e-7), "1.5e-07"),
            (json!("é"), "'é'"),
        ];
        for (value, expected) in cases {
            assert_eq!(repr(&value), expected);
            assert_eq!(parse_literal(expected), Some(value), "{expected}");
        }
        assert_eq!(to_text(&json!("plain")), "plain");
        for bad in ["plain", "[1", "{'a'}", "'a", "[1 2]", "__import__('os')"] {
            assert_eq!(parse_literal(bad), None, "{bad}");
        }
    }

    #[test]
    fn json_looks_like_python() {
        let value = json!({"b": [1, "é\"\n"], "a": null});
        let compact = JsonStyle {
            comma: ",",
            sort_keys: false,
        };
        assert_eq!(
            json_dumps(&value, compact),
            "{\"b\": [1,\"\\u00e9\\\"\\n\"],\"a\": null}"
        );
        let sorted = JsonStyle {
            comma: ", ",
            sort_keys: true,
        };
        assert_eq!(
            json_dumps(&value, sorted),
            "{\"a\": null, \"b\": [1, \"\\u00e9\\\"\\n\"]}"
        );
    }
}
