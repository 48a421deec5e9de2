//! The descriptor files of a booking: the pod's (PDF) and the installer's (IDF).
//!
//! The dashboard makes them with a template engine for HTML, so they are YAML whose values are escaped, and not all of
//! it is sound: a key stands twice, a value is missing. Installers have always lived with that; what is wrong is told,
//! and only a file that can't be used at all is kept from them.

use super::installer::Descriptor;
use laas_core::Secret;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// More faults than these are not told.
const MOST_FAULTS: usize = 20;
/// Anything shorter stands in every second word.
const SHORTEST_SECRET: usize = 4;

/// A descriptor file, read and judged.
#[derive(Debug)]
pub struct Document {
    /// Without HTML's escapes.
    pub text: String,
    /// What is wrong with it; no value of it is quoted, since some are passwords.
    pub faults: Vec<String>,
    /// Whether an installer can be given it.
    pub usable: bool,
    /// The passwords in it, so that they can be kept out of what is told of an installer's log.
    pub secrets: Vec<Secret>,
}

/// Reads what the dashboard has.
pub fn read(kind: Descriptor, escaped: &str) -> Document {
    let text = unescape(escaped);
    let name = kind.name();
    let unusable = |why: String| Document {
        text: text.clone(),
        faults: vec![format!("the {name} {why}")],
        usable: false,
        secrets: Vec::new(),
    };
    if text.trim().is_empty() {
        return unusable("is empty: the dashboard makes it when it is told a BMC account".to_owned());
    }
    let node: Node = match serde_yaml::from_str(&text) {
        Ok(node) => node,
        Err(error) => {
            let place = error
                .location()
                .map_or(String::new(), |place| format!(" at line {}", place.line()));
            return unusable(format!("is no YAML{place}"));
        }
    };
    let wanted: &[&[&str]] = match kind {
        Descriptor::Pdf => &[&["jumphost"], &["nodes"]],
        Descriptor::Idf => &[&["idf", "net_config"]],
    };
    for path in wanted {
        if node.find(path).is_none() {
            return unusable(format!("lacks `{}`", path.join(".")));
        }
    }
    let mut faults = Vec::new();
    node.judge(name, &mut Vec::new(), &mut faults);
    faults.truncate(MOST_FAULTS);
    let mut secrets = Vec::new();
    node.secrets(&mut secrets);
    Document {
        text,
        faults,
        usable: true,
        secrets,
    }
}

/// Django's escapes, undone; `&amp;quot;` becomes `&quot;`.
fn unescape(text: &str) -> String {
    const ESCAPES: [(&str, char); 6] = [
        ("&amp;", '&'),
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&quot;", '"'),
        ("&#39;", '\''),
        ("&#x27;", '\''),
    ];
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let escape = ESCAPES.iter().find(|(escape, _)| rest.starts_with(escape));
        let (length, c) = escape.map_or((1, '&'), |(escape, c)| (escape.len(), *c));
        plain.push(c);
        rest = &rest[length..];
    }
    plain + rest
}

/// YAML as it stands there: also with keys that stand twice.
enum Node {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    fn find(&self, path: &[&str]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else {
            return (!matches!(self, Self::Null)).then_some(self);
        };
        match self {
            Self::Map(entries) => entries.iter().find(|(key, _)| key == first)?.1.find(rest),
            _ => None,
        }
    }

    fn secrets(&self, secrets: &mut Vec<Secret>) {
        match self {
            Self::Null | Self::Text(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.secrets(secrets)),
            Self::Map(entries) => {
                for (key, value) in entries {
                    match value {
                        Self::Text(text) if key == "pass" && text.len() >= SHORTEST_SECRET => {
                            secrets.push(Secret::new(text.as_str()));
                        }
                        other => other.secrets(secrets),
                    }
                }
            }
        }
    }

    fn judge(&self, name: &str, path: &mut Vec<String>, faults: &mut Vec<String>) {
        let place = |path: &[String]| path.join(".");
        match self {
            Self::Null => faults.push(format!("the {name} has no value for `{}`", place(path))),
            Self::Text(text) => {
                let field = path.last().map_or("", String::as_str);
                if text == "default" && matches!(field, "address" | "pass") {
                    faults.push(format!("the {name} does not know `{}` yet", place(path)));
                }
            }
            Self::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    path.push(number.to_string());
                    item.judge(name, path, faults);
                    path.pop();
                }
            }
            Self::Map(entries) => {
                for (number, (key, value)) in entries.iter().enumerate() {
                    path.push(key.chars().filter(|c| !c.is_control()).take(40).collect());
                    if entries[..number].iter().any(|(earlier, _)| earlier == key) {
                        faults.push(format!("the {name} has `{}` twice", place(path)));
                    }
                    value.judge(name, path, faults);
                    path.pop();
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Node, Node>()? {
            let key = match key {
                Node::Text(key) => key,
                _ => String::new(),
            };
            map.push((key, value));
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body that the dashboard answered with.
    fn captured(name: &str) -> String {
        let path = "../laas-lab/tests/captures/dashboard-2019/main.jsonl";
        let captures = std::fs::read_to_string(path).unwrap();
        let mut captures = captures.lines().map(|line| serde_json::from_str(line).unwrap());
        let capture: serde_json::Value = captures.find(|c: &serde_json::Value| c["name"] == name).unwrap();
        capture["response"]["text"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_the_dashboard_really_answered() {
        let before = read(Descriptor::Pdf, &captured("047-pdf"));
        assert!(before.usable);
        assert!(
            before
                .faults
                .contains(&"the PDF does not know `jumphost.remote_management.pass` yet".to_owned())
        );
        let after = read(Descriptor::Pdf, &captured("059-pdf-after-bmc"));
        assert!(after.usable && after.faults.is_empty(), "{:?}", after.faults);
        assert!(after.text.contains("- \"2.0\"") && !after.text.contains('&'));
        let empty = read(Descriptor::Idf, &captured("048-idf-before-bmc"));
        assert!(!empty.usable && empty.faults[0].contains("is empty"));
        let idf = read(Descriptor::Idf, &captured("060-idf-after-bmc"));
        assert!(idf.usable);
        assert_eq!(
            idf.faults,
            [
                "the IDF has no value for `idf.net_config.public.ip-range`",
                "the IDF has `idf.net_config.public.mask` twice"
            ]
        );
    }

    #[test]
    fn what_is_no_descriptor() {
        for (text, why) in [
            ("<h1>403 Forbidden</h1>", "lacks `jumphost`"),
            ("{\"error\": \"hunter2\"}", "lacks `jumphost`"),
            ("jumphost: {pass: hunter2: x}", "is no YAML at line"),
            ("jumphost:\nnodes: []", "lacks `jumphost`"),
            ("a: &amp;a [x]\nb: [*c]", "is no YAML"),
        ] {
            let document = read(Descriptor::Pdf, text);
            assert!(!document.usable, "{text}");
            assert!(document.faults[0].contains(why), "{:?}", document.faults);
            assert!(!document.faults[0].contains("hunter2"));
        }
        // Billions of laughs are refused, not expanded.
        let mut bomb = "jumphost: {x: 1}\nnodes: []\na0: &a0 [x, x]\n".to_owned();
        for n in 1..60 {
            bomb += &format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1);
        }
        assert!(!read(Descriptor::Pdf, &bomb).usable);
    }

    #[test]
    fn escapes() {
        for (escaped, plain) in [
            ("a&amp;b", "a&b"),
            ("&amp;quot;", "&quot;"),
            ("&quot;&#39;&#x27;&lt;&gt;", "\"''<>"),
            ("& &x; &", "& &x; &"),
            ("ä&amp;", "ä&"),
        ] {
            assert_eq!(unescape(escaped), plain);
        }
    }
}
