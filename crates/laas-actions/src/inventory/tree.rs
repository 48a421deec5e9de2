//! YAML and JSON with the line of every value. Scalars stay the text that stands there: what they mean depends on the
//! field, and no MAC address becomes a number in base 60.

use super::Mistake;
use saphyr_parser::{Event, Parser, ScalarStyle};

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Counted from 1.
    pub line: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Scalar {
        text: String,
        /// In quotes, or as a block: text whatever it looks like.
        quoted: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub line: usize,
    pub name: String,
}

/// Reads one document; an empty one is an empty map. Keys that stand twice are among the mistakes.
///
/// # Errors
/// It is no YAML, or has what no inventory has: anchors, tags, several documents.
pub fn parse(text: &str, mistakes: &mut Vec<Mistake>) -> Result<Node, Mistake> {
    let mut open: Vec<(Node, Option<Key>)> = Vec::new();
    let mut done = None;
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|e| Mistake::new(e.marker().line(), format!("no YAML: {}", e.info())))?;
        let line = span.start.line();
        let unknown = |what: &str| Err(Mistake::new(line, format!("{what} are not known here")));
        let whole = match event {
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                return unknown("anchors (`&`)");
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => return unknown("tags (`!`)"),
            Event::Alias(_) => return unknown("aliases (`*`)"),
            Event::Scalar(text, style, _, _) => Node {
                line,
                kind: Kind::Scalar {
                    text: text.into_owned(),
                    quoted: style != ScalarStyle::Plain,
                },
            },
            Event::SequenceStart(..) => {
                let kind = Kind::List(Vec::new());
                open.push((Node { line, kind }, None));
                continue;
            }
            Event::MappingStart(..) => {
                let kind = Kind::Map(Vec::new());
                open.push((Node { line, kind }, None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some((node, _)) => node,
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None if done.is_some() => return unknown("several documents"),
            None => done = Some(whole),
            Some((parent, key)) => match &mut parent.kind {
                Kind::List(items) => items.push(whole),
                Kind::Map(entries) => match (key.take(), whole.kind) {
                    (Some(name), kind) => {
                        if let Some((first, _)) = entries.iter().find(|(k, _)| k.name == name.name) {
                            let what = format!("`{}` stands in line {} already", name.name, first.line);
                            mistakes.push(Mistake::new(name.line, what));
                        }
                        entries.push((
                            name,
                            Node {
                                line: whole.line,
                                kind,
                            },
                        ));
                    }
                    (None, Kind::Scalar { text, .. }) => *key = Some(Key { line, name: text }),
                    (None, _) => return unknown("keys that are lists or maps"),
                },
                Kind::Scalar { .. } => {}
            },
        }
    }
    Ok(done.unwrap_or(Node {
        line: 1,
        kind: Kind::Map(Vec::new()),
    }))
}

impl Node {
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, node)| node)
    }

    /// Nothing for what is no map.
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Nothing is there: a key without a value, or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// The same with all of it on one line, as what stands in a JSON string does.
    #[must_use]
    pub fn on_line(self, line: usize) -> Self {
        let kind = match self.kind {
            Kind::List(items) => Kind::List(items.into_iter().map(|item| item.on_line(line)).collect()),
            Kind::Map(entries) => {
                let entries = entries.into_iter();
                Kind::Map(
                    entries
                        .map(|(key, node)| (Key { line, ..key }, node.on_line(line)))
                        .collect(),
                )
            }
            scalar => scalar,
        };
        Self { line, kind }
    }
}
