//! `{{ st2kv.system.KEY }}` in a configuration file, which an engine reads before an action sees it.

use crate::{Failure, Secret};
use serde_yaml::Value;

/// How a value begins that is a key of the datastore.
const SYSTEM_KEY: &str = "st2kv.system.";

/// Puts in the values of the datastore's keys. StackStorm makes null of a key that is not there.
pub fn put_in(
    value: &mut Value,
    read: &dyn Fn(&str) -> Result<Option<Secret>, Failure>,
) -> Result<(), Failure> {
    match value {
        Value::String(text) if text.contains("{{") => {
            let key = key_of(text).ok_or_else(|| {
                Failure::input(format!(
                    "`{text}` in the configuration can only be read by an engine"
                ))
                .hint("by hand an action knows `{{ st2kv.system.KEY }}` and nothing more")
            })?;
            *value = read(key)?.map_or(Value::Null, |found| found.expose().into());
            Ok(())
        }
        Value::Sequence(items) => items.iter_mut().try_for_each(|item| put_in(item, read)),
        Value::Mapping(map) => map.iter_mut().try_for_each(|(_, value)| put_in(value, read)),
        _ => Ok(()),
    }
}

/// The key in `{{ st2kv.system.KEY }}`, with or without `| decrypt_kv`.
fn key_of(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let inner = match inner.split_once('|') {
        Some((name, filter)) => (filter.trim() == "decrypt_kv").then(|| name.trim())?,
        None => inner,
    };
    let key = inner.strip_prefix(SYSTEM_KEY)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!key.is_empty() && key.chars().all(plain)).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_key_of_the_datastore_is_read_by_hand_too() {
        let mut config: Value = serde_yaml::from_str(
            r#"fog: {address: "http://fog", api_key: "{{ st2kv.system.fog_api_key }}", user_key: "{{st2kv.system.fog-2|decrypt_kv}}"}"#,
        )
        .unwrap();
        let read = |key: &str| Ok((key == "fog_api_key").then(|| Secret::new("{{ not again }}")));
        put_in(&mut config, &read).unwrap();
        let config: Config = serde_yaml::from_value(config).unwrap();
        let fog = config.fog.as_ref().unwrap();
        assert_eq!(fog.api_key.expose(), "{{ not again }}");
        assert!(config.fog().unwrap_err().error.contains("`fog.user_key`"));
        for other in [
            "{{ st2kv.user.x }}",
            "{{ st2kv.system.x | upper }}",
            "a {{ st2kv.system.x }}",
        ] {
            let mut value = Value::from(other);
            assert!(put_in(&mut value, &read).is_err(), "{other}");
        }
    }
}
