//! YAML with the line of every value, read as StackStorm reads it.
//!
//! StackStorm's parser (PyYAML) follows YAML 1.1: a bare `on`, `off`, `yes` or `no` is a boolean. What it would turn
//! into a value that JSON has no word for (a date, a binary) is refused here with its line.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// Counted from 1.
    pub line: usize,
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Null, boolean, number or string.
    Scalar(Value),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(Key, Node)>),
}

/// The name of an entry and where it stands.
#[derive(Debug, Clone)]
pub struct Key {
    pub line: usize,
    pub name: String,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub line: usize,
    pub message: String,
}

impl Problem {
    pub fn new(line: usize, message: impl Into<String>) -> Self {
        Problem {
            line,
            message: message.into(),
        }
    }
}

/// Reads the one document in `text`; an empty one is null.
pub fn parse(text: &str) -> Result<Node, Problem> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event
            .map_err(|error| Problem::new(error.marker().line(), format!("bad YAML: {}", error.info())))?;
        builder.take(event, span)?;
    }
    Ok(builder.document.unwrap_or(Node {
        line: 1,
        kind: Kind::Scalar(Value::Null),
    }))
}

impl Node {
    /// The value without its lines.
    pub fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => items.iter().map(Node::value).collect(),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.name.clone(), node.value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// The entry `name`, when this is a map that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, node)| node)
    }

    /// The entries of a map, nothing for anything else.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text, when this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    document: Option<Node>,
    documents: usize,
}

struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map(Vec<(Key, Node)>, Option<Key>),
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Problem::new(
                        line,
                        "a second document starts here; StackStorm reads one per file",
                    ));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(tag) = tag {
                    return Err(Problem::new(
                        line,
                        format!("the tag `{}` is not supported", tag.suffix),
                    ));
                }
                let value = match style {
                    ScalarStyle::Plain => plain(&text).map_err(|message| Problem::new(line, message))?,
                    _ => Value::String(text.into_owned()),
                };
                self.put(
                    Node {
                        line,
                        kind: Kind::Scalar(value),
                    },
                    anchor,
                )?;
            }
            Event::SequenceStart(anchor, _) => {
                self.open.push(Open {
                    line,
                    anchor,
                    content: Content::List(Vec::new()),
                });
            }
            Event::MappingStart(anchor, _) => {
                self.open.push(Open {
                    line,
                    anchor,
                    content: Content::Map(Vec::new(), None),
                });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open {
                    line,
                    anchor,
                    content,
                }) = self.open.pop()
                {
                    let kind = match content {
                        Content::List(items) => Kind::List(items),
                        Content::Map(entries, _) => Kind::Map(entries),
                    };
                    self.put(Node { line, kind }, anchor)?;
                }
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node =
                    node.ok_or_else(|| Problem::new(line, "an alias refers to itself or to nothing"))?;
                self.put(node, 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.document = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map(entries, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let name = key_name(&node)?;
                    if entries.iter().any(|(key, _)| key.name == name) {
                        return Err(Problem::new(
                            node.line,
                            format!("`{name}` stands here a second time"),
                        ));
                    }
                    *key = Some(Key {
                        line: node.line,
                        name,
                    });
                }
            },
        }
        Ok(())
    }
}

fn key_name(node: &Node) -> Result<String, Problem> {
    match &node.kind {
        Kind::Scalar(Value::String(name)) if name == "<<" => {
            Err(Problem::new(node.line, "the merge key `<<` is not supported"))
        }
        Kind::Scalar(Value::String(name)) => Ok(name.clone()),
        Kind::Scalar(Value::Number(number)) => Ok(number.to_string()),
        Kind::Scalar(other) => Err(Problem::new(
            node.line,
            format!("a bare word is read as {other} here; put the name in quotes"),
        )),
        _ => Err(Problem::new(node.line, "a name must be a string")),
    }
}

/// A bare word as YAML 1.1 resolves it.
fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        "=" => return Err("a bare `=` is not supported; put it in quotes".into()),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(Value::String(text.to_string()));
    }
    let looks_like_a_date = {
        let mut parts = text.splitn(3, '-');
        let digits = |part: Option<&str>, length: std::ops::RangeInclusive<usize>| {
            part.is_some_and(|part| {
                let digits = part.bytes().take_while(u8::is_ascii_digit).count();
                length.contains(&digits)
                    && (digits == part.len()
                        || part.as_bytes()[digits].is_ascii_whitespace()
                        || part.as_bytes()[digits] | 32 == b't')
            })
        };
        digits(parts.next(), 4..=4) && digits(parts.next(), 1..=2) && digits(parts.next(), 1..=2)
    };
    if looks_like_a_date {
        return Err(format!("`{text}` is read as a date; put it in quotes"));
    }
    Ok(number(text).unwrap_or_else(|| Value::String(text.to_string())))
}

fn number(text: &str) -> Option<Value> {
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => (-1, &text[1..]),
        [b'+', ..] => (1, &text[1..]),
        _ => (1, text),
    };
    let clean = digits.replace('_', "");
    let integer = if let Some(hex) = clean.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok()
    } else if let Some(binary) = clean.strip_prefix("0b") {
        i64::from_str_radix(binary, 2).ok()
    } else if clean.len() > 1 && clean.starts_with('0') && clean.bytes().all(|b| b.is_ascii_digit()) {
        // A leading zero means octal; what is no octal number stays a string.
        return i64::from_str_radix(&clean, 8)
            .ok()
            .map(|value| Value::from(sign * value));
    } else if digits.contains(':') {
        sexagesimal(&clean)
    } else if clean.bytes().all(|b| b.is_ascii_digit()) && digits.starts_with(|c: char| c.is_ascii_digit()) {
        clean.parse().ok()
    } else {
        None
    };
    if let Some(value) = integer {
        return Some(Value::from(sign * value));
    }
    // YAML 1.1 wants a dot in a floating point number and a sign in its exponent.
    let mantissa = clean.split(['e', 'E']).next()?;
    let exponent_has_sign = clean
        .split_once(['e', 'E'])
        .is_none_or(|(_, exponent)| exponent.starts_with(['+', '-']));
    if !mantissa.contains('.') || !exponent_has_sign || !clean.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    if !mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    clean
        .parse::<f64>()
        .ok()
        .and_then(|value| Number::from_f64(f64::from(sign as i32) * value))
        .map(Value::Number)
}

/// `1:30` is ninety.
fn sexagesimal(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let first: i64 = parts.next()?.parse().ok()?;
    parts.try_fold(first, |total, part| {
        let digit: i64 = part.parse().ok()?;
        (part.len() <= 2 && digit < 60 && part.bytes().all(|b| b.is_ascii_digit()))
            .then_some(total * 60 + digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bare_words_are_read_as_stackstorm_reads_them() {
        let cases = [
            ("on", json!(true)),
            ("No", json!(false)),
            ("~", json!(null)),
            ("", json!(null)),
            ("'on'", json!("on")),
            ("pod1", json!("pod1")),
            ("17", json!(17)),
            ("-17", json!(-17)),
            ("010", json!(8)),
            ("0x1f", json!(31)),
            ("1_000", json!(1000)),
            ("1:30", json!(90)),
            ("52:54:00:12:34:56", json!(41_135_085_296_i64)),
            ("52:54:00:ab:34:56", json!("52:54:00:ab:34:56")),
            ("1.5", json!(1.5)),
            ("1e5", json!("1e5")),
            ("1.0e+5", json!(100000.0)),
            ("10.0.0.1", json!("10.0.0.1")),
            ("1.0", json!(1.0)),
            ("-", json!([null])),
            ("--verbose", json!("--verbose")),
            ("[a, 1, {b: yes}]", json!(["a", 1, {"b": true}])),
            ("a: &x {k: 1}\nb: *x", json!({"a": {"k": 1}, "b": {"k": 1}})),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(|node| node.value()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_json_cannot_say_is_refused_with_its_line() {
        let cases = [
            (
                "a: 1\nb: 2026-11-23\n",
                2,
                "`2026-11-23` is read as a date; put it in quotes",
            ),
            ("a: 1\na: 2\n", 2, "`a` stands here a second time"),
            (
                "a: 1\non: 2\n",
                2,
                "a bare word is read as true here; put the name in quotes",
            ),
            (
                "---\na: 1\n---\nb: 1\n",
                3,
                "a second document starts here; StackStorm reads one per file",
            ),
            ("a:\n  <<: {b: 1}\n", 2, "the merge key `<<` is not supported"),
            ("a: !!binary xx\n", 1, "the tag `binary` is not supported"),
        ];
        for (text, line, message) in cases {
            assert_eq!(parse(text).unwrap_err(), Problem::new(line, message), "{text}");
        }
        let broken = parse("a: [1,\nb: {\n").unwrap_err();
        assert!(broken.message.starts_with("bad YAML: "), "{broken:?}");
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let node = parse("---\nname: x\ntasks:\n  one:\n    action: a.b\n").unwrap();
        let task = node.get("tasks").unwrap().get("one").unwrap();
        assert_eq!(task.get("action").unwrap().line, 5);
        assert_eq!(node.get("tasks").unwrap().entries()[0].0.line, 4);
    }
}
