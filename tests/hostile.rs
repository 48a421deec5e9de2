//! What stands where nobody expects it, and the places in a document where it can stand.

use serde_json::{Map, Value, json};

const TEXTS: [&str; 24] = [
    "",
    " ",
    "'",
    "\"; reboot; \"",
    "pod1\npod2",
    "pod1\r\nHost: evil",
    "$(reboot)",
    "`reboot`",
    "../../etc/passwd",
    "..",
    "/",
    "*)(uid=*",
    "cn=admin,dc=lab\\2c",
    "<a>&b;<!--",
    "a\0b",
    "\u{1b}[2J\u{7}",
    "\u{202e}1dop",
    "pod1\u{200b}",
    "ｐｏｄ１",
    "{{ st2kv.system.lab_auth_token }}",
    "{% include '/etc/passwd' %}",
    "<% $.st2kv.system.lab_auth_token %>",
    "-oProxyCommand=reboot",
    "%2e%2e%2f",
];

/// Texts that mean something to somebody, one that is `longest`, and values of the wrong type.
pub fn values(longest: usize) -> Vec<Value> {
    let wrong = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(0.5),
        json!(4095),
        json!(u64::MAX),
        json!(1e300),
        json!([]),
        json!({}),
        json!([[["pod1"]]]),
        json!({"pod1": {"pod1": "pod1"}}),
    ];
    let texts = TEXTS.into_iter().map(Value::from);
    wrong
        .into_iter()
        .chain(texts)
        .chain([json!("x".repeat(longest))])
        .collect()
}

/// The pointers to everything below the root.
pub fn pointers(value: &Value, below: &str, found: &mut Vec<String>) {
    let mut add = |name: &str, value: &Value| {
        let pointer = format!("{below}/{name}");
        pointers(value, &pointer, found);
        found.push(pointer);
    };
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(n, item)| add(&n.to_string(), item)),
        Value::Object(map) => map.iter().for_each(|(name, value)| add(name, value)),
        _ => {}
    }
}

/// The same with another name at the pointer; nothing if none stands there.
pub fn renamed(list: &Value, pointer: &str, name: &str) -> Option<Value> {
    let (parent, old) = pointer.rsplit_once('/')?;
    let mut list = list.clone();
    let map = list.pointer_mut(parent)?.as_object_mut()?;
    let entries = std::mem::take(map).into_iter();
    let rename = |(key, value)| (if key == old { name.to_owned() } else { key }, value);
    *map = entries.map(rename).collect::<Map<_, _>>();
    Some(list)
}

/// Whether it is no longer than that, in characters, and one line that shows all that is in it.
pub fn is_legible(text: &str, longest: usize) -> bool {
    let is_shown = |c: char| c.escape_debug().count() == 1 || "'\"\\".contains(c);
    text.chars().count() <= longest && text.chars().all(is_shown)
}
