//! A string that never shows itself.

use serde::{Deserialize, Deserializer};
use std::fmt;

/// A password, token or key. `Debug` and `Display` print `****`; it can't be serialised by accident.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

/// Letters and digits that nobody confuses when reading them aloud.
const ALPHABET: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

pub use getrandom::Error as RandomError;

/// Bytes from the operating system's random source.
///
/// # Errors
/// The source failed.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A random password of `length` letters and digits (5.8 bits each) from the operating system's source.
    /// It always holds a lower-case letter, an upper-case letter and a digit when `length` is 3 or more,
    /// since BMCs and directories with a password policy ask for that.
    ///
    /// # Errors
    /// The operating system's random source failed.
    pub fn random(length: usize) -> Result<Self, RandomError> {
        loop {
            let mut text = String::with_capacity(length);
            while text.len() < length {
                let bytes = random_bytes::<64>()?;
                // Bytes past the last whole multiple of the alphabet would favour its first letters.
                let limit = 256 - 256 % ALPHABET.len();
                let letters = bytes.iter().filter(|b| usize::from(**b) < limit);
                text.extend(
                    letters
                        .map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()]))
                        .take(length - text.len()),
                );
            }
            let has = |test: fn(&char) -> bool| text.chars().any(|c| test(&c));
            let all_classes =
                has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase) && has(char::is_ascii_digit);
            if length < 3 || all_classes {
                return Ok(Self(text));
            }
        }
    }

    /// The text itself, for the one line that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // StackStorm turns a config value whose datastore key is missing into null.
        Ok(Self(
            Option::<String>::deserialize(deserializer)?.unwrap_or_default(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shows_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "**** ****");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn random_passwords_differ_and_satisfy_policies() {
        let passwords: Vec<_> = (0..200).map(|_| Secret::random(16).unwrap()).collect();
        for (i, password) in passwords.iter().enumerate() {
            let text = password.expose();
            assert_eq!(text.len(), 16);
            assert!(text.chars().any(|c| c.is_ascii_digit()) && text.chars().any(|c| c.is_ascii_uppercase()));
            assert!(!passwords[..i].contains(password));
        }
    }
}
