//! What may stand in an entry: its fields, and what each of them is.

use super::Mistake;
use super::tree::{Key, Kind, Node};
use laas_core::names::{Address, BmcSlot, InterfaceName, Label};
use laas_core::{HostName, Mac, VlanId};
use laas_switch::PortName;
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::str::FromStr;

pub struct Field {
    pub name: &'static str,
    shape: Shape,
    required: bool,
}

enum Shape {
    /// Gets the text, and gives the JSON or says what it should be.
    Scalar(fn(&str) -> Result<Value, String>),
    /// A scalar that is text even where it looks like a number.
    Text(fn(&str) -> Result<Value, String>),
    Map(&'static [Field]),
    /// Any keys of this kind, with text for values.
    Table(fn(&str) -> Result<Value, String>),
    /// A list of maps; in JSON a map by MAC address.
    Interfaces,
}

const fn field(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        shape,
        required: false,
    }
}

const fn required(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        shape,
        required: true,
    }
}

pub const HOST: &[Field] = &[
    field("dashboard_id", Shape::Scalar(any)),
    required("fog_name", Shape::Text(parsed::<Label>)),
    required("hostname", Shape::Text(parsed::<Address>)),
    field("ubuntu_image", Shape::Scalar(id)),
    field("centos_image", Shape::Scalar(id)),
    field("suse_image", Shape::Scalar(id)),
    required("interfaces", Shape::Interfaces),
    field("addresses", Shape::Table(vlan)),
    field("bmc", Shape::Map(BMC)),
];
const INTERFACE: &[Field] = &[
    required("mac", Shape::Text(parsed::<Mac>)),
    field("bus", Shape::Text(parsed::<Label>)),
    required("switch", Shape::Text(parsed::<Address>)),
    required("port", Shape::Text(parsed::<PortName>)),
    required("name", Shape::Text(parsed::<InterfaceName>)),
];
const BMC: &[Field] = &[
    field("driver", Shape::Text(|text| one_of(text, &["ipmi", "redfish"]))),
    required("address", Shape::Text(parsed::<Address>)),
    field("port", Shape::Scalar(|text| number::<u16>(text, "a port number"))),
    required("user", Shape::Text(parsed::<Label>)),
    field("password", Shape::Text(some_text)),
    field("password_key", Shape::Text(parsed::<Label>)),
    field(
        "cipher",
        Shape::Scalar(|text| number::<u8>(text, "a cipher suite: 17 or 3")),
    ),
    field("user_slot", Shape::Scalar(slot)),
    field("tls", Shape::Map(TLS)),
    field("mac", Shape::Text(parsed::<Mac>)),
];
pub const SWITCH: &[Field] = &[
    field("driver", Shape::Text(|text| one_of(text, &["nxos", "eos"]))),
    field("url", Shape::Text(url)),
    required("user", Shape::Text(parsed::<Label>)),
    field("password", Shape::Text(some_text)),
    field("enable_password", Shape::Text(some_text)),
    field("tls", Shape::Map(TLS)),
];
const TLS: &[Field] = &[
    field("ca", Shape::Text(some_text)),
    field("insecure", Shape::Scalar(flag)),
];

/// Which of the two kinds of file it is: JSON's own types count in one of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    Yaml,
    Json,
}

/// The entry as JSON, of what is right in it.
pub fn read(what: &str, node: &Node, fields: &[Field], syntax: Syntax, mistakes: &mut Vec<Mistake>) -> Value {
    let Kind::Map(entries) = &node.kind else {
        mistakes.push(Mistake::new(node.line, format!("{what} is no map")));
        return Value::Null;
    };
    let mut map = Map::new();
    for (Key { line, name }, value) in entries {
        let Some(field) = fields.iter().find(|f| f.name == *name) else {
            let known: Vec<_> = fields.iter().map(|f| format!("`{}`", f.name)).collect();
            let hint = format!("known are {}", known.join(", "));
            mistakes.push(Mistake::new(*line, format!("{what} has an unknown `{name}`")).hint(hint));
            continue;
        };
        if value.is_null() {
            continue;
        }
        let whole = format!("`{name}` of {what}");
        let found = match field.shape {
            Shape::Scalar(read) => scalar(&whole, value, read, false, mistakes),
            Shape::Text(read) => text(&whole, value, read, syntax, mistakes),
            Shape::Map(fields) => Some(self::read(&whole, value, fields, syntax, mistakes)),
            Shape::Table(key) => Some(table(&whole, value, key, syntax, mistakes)),
            Shape::Interfaces => Some(interfaces(what, &whole, value, syntax, mistakes)),
        };
        if let Some(found) = found {
            map.insert(name.clone(), found);
        }
    }
    for field in fields.iter().filter(|f| f.required) {
        if node.get(field.name).is_none_or(Node::is_null) {
            mistakes.push(Mistake::new(node.line, format!("{what} has no `{}`", field.name)));
        }
    }
    Value::Object(map)
}

/// Each interface of an entry, whichever way the file has them.
pub fn interface_nodes(host: &Node) -> Vec<&Node> {
    match host.get("interfaces").map(|node| &node.kind) {
        Some(Kind::List(items)) => items.iter().collect(),
        Some(Kind::Map(entries)) => entries.iter().map(|(_, node)| node).collect(),
        _ => Vec::new(),
    }
}

fn interfaces(host: &str, what: &str, node: &Node, syntax: Syntax, mistakes: &mut Vec<Mistake>) -> Value {
    let mut map = Map::new();
    let mut add = |node: &Node, mistakes: &mut Vec<Mistake>| {
        let one = read(
            &format!("an interface of {host}"),
            node,
            INTERFACE,
            syntax,
            mistakes,
        );
        let mac = one["mac"].as_str().map(str::to_owned);
        map.extend(mac.clone().map(|mac| (mac, one)));
        mac
    };
    match (&node.kind, syntax) {
        (Kind::List(items), Syntax::Yaml) => items.iter().for_each(|item| drop(add(item, mistakes))),
        (Kind::Map(entries), Syntax::Json) => {
            for (key, node) in entries {
                let mac = add(node, mistakes);
                if mac.is_some_and(|mac| !mac.eq_ignore_ascii_case(&key.name)) {
                    let what = format!("the interface `{}` of {host} has another `mac`", key.name);
                    mistakes.push(Mistake::new(key.line, what));
                }
            }
        }
        (_, Syntax::Yaml) => mistakes.push(Mistake::new(node.line, format!("{what} is no list"))),
        (_, Syntax::Json) => mistakes.push(Mistake::new(
            node.line,
            format!("{what} is no map by MAC address"),
        )),
    }
    Value::Object(map)
}

fn table(
    what: &str,
    node: &Node,
    key_of: fn(&str) -> Result<Value, String>,
    syntax: Syntax,
    mistakes: &mut Vec<Mistake>,
) -> Value {
    if !matches!(node.kind, Kind::Map(_)) {
        mistakes.push(Mistake::new(node.line, format!("{what} is no map")));
    }
    let mut map = Map::new();
    for (key, value) in node.entries() {
        if let Err(why) = key_of(&key.name) {
            mistakes.push(Mistake::new(key.line, format!("in {what} {why}")));
        }
        let what = format!("`{}` of {what}", key.name);
        let found = text(&what, value, parsed::<Address>, syntax, mistakes);
        map.extend(found.map(|found| (key.name.clone(), found)));
    }
    Value::Object(map)
}

fn text(
    what: &str,
    node: &Node,
    read: fn(&str) -> Result<Value, String>,
    syntax: Syntax,
    mistakes: &mut Vec<Mistake>,
) -> Option<Value> {
    let is_bare = matches!(node.kind, Kind::Scalar { quoted: false, .. });
    if syntax == Syntax::Json && is_bare {
        mistakes.push(Mistake::new(node.line, format!("{what} is no text")));
        return None;
    }
    scalar(what, node, read, true, mistakes)
}

fn scalar(
    what: &str,
    node: &Node,
    read: fn(&str) -> Result<Value, String>,
    is_text: bool,
    mistakes: &mut Vec<Mistake>,
) -> Option<Value> {
    let said = match &node.kind {
        Kind::Scalar { text, quoted } if is_text || !quoted || read(text).is_ok_and(|v| v.is_string()) => {
            read(text).map_err(|why| format!("{what}: {why}"))
        }
        Kind::Scalar { .. } => Err(format!("{what} is text, and should be a number without quotes")),
        _ => Err(format!("{what} is no single value")),
    };
    said.map_err(|what| mistakes.push(Mistake::new(node.line, what)))
        .ok()
}

fn parsed<T: FromStr<Err: Display> + Display>(text: &str) -> Result<Value, String> {
    match text.parse::<T>() {
        Ok(parsed) => Ok(json!(parsed.to_string())),
        Err(error) => Err(error.to_string()),
    }
}

fn some_text(text: &str) -> Result<Value, String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        _ => Ok(json!(text)),
    }
}

fn number<T: FromStr + Into<u64>>(text: &str, what: &str) -> Result<Value, String> {
    match text.parse::<T>() {
        Ok(number) => Ok(json!(number.into())),
        Err(_) => Err(format!("`{text}` is not {what}")),
    }
}

fn id(text: &str) -> Result<Value, String> {
    number::<u64>(text, "the number of an image in FOG")
}

fn any(text: &str) -> Result<Value, String> {
    Ok(text
        .parse::<u64>()
        .map_or_else(|_| json!(text), |number| json!(number)))
}

fn slot(text: &str) -> Result<Value, String> {
    let slot: BmcSlot = text.parse().map_err(|e| format!("{e}"))?;
    Ok(json!(slot))
}

fn flag(text: &str) -> Result<Value, String> {
    text.parse::<bool>()
        .map(Value::from)
        .map_err(|_| format!("`{text}` is not `true` or `false`"))
}

fn vlan(text: &str) -> Result<Value, String> {
    parsed::<VlanId>(text)
}

fn url(text: &str) -> Result<Value, String> {
    match text.split_once("://") {
        Some(("http" | "https", rest)) if !rest.is_empty() => Ok(json!(text)),
        _ => Err(format!("`{text}` is not an http or https address")),
    }
}

fn one_of(text: &str, known: &[&str]) -> Result<Value, String> {
    if known.contains(&text) {
        return Ok(json!(text));
    }
    let known: Vec<_> = known.iter().map(|k| format!("`{k}`")).collect();
    Err(format!("`{text}` is not {}", known.join(" or ")))
}

/// Whether a host may be called so.
pub fn host_name(text: &str) -> Result<Value, String> {
    parsed::<HostName>(text)
}

/// Whether a switch may be called so.
pub fn address(text: &str) -> Result<Value, String> {
    parsed::<Address>(text)
}
