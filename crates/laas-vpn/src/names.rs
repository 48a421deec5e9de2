//! Names for users that can be told over the phone.

use laas_core::names::AccountName;
use laas_core::secret::{RandomError, random_bytes};

const GIVEN: [&str; 32] = [
    "ada", "alba", "anton", "bela", "bruno", "clara", "dora", "egon", "elena", "emil", "felix", "flora",
    "greta", "hugo", "ida", "jonas", "karla", "leon", "linus", "lotte", "marta", "milan", "nora", "oscar",
    "paula", "petra", "rosa", "selma", "simon", "tilda", "viktor", "wanda",
];
const FAMILY: [&str; 32] = [
    "adler", "berg", "blum", "brandt", "castor", "dahl", "ebner", "falk", "fuchs", "garner", "halm", "holm",
    "jansen", "keller", "kramer", "lindner", "lorenz", "maurer", "nolte", "olsen", "peters", "ritter",
    "roth", "sander", "sommer", "stein", "tanner", "urban", "vogel", "wagner", "winter", "zander",
];

/// After so many names that were all taken a number is put behind them.
const BARE: u32 = 8;

/// A name from the operating system's random source, so that nobody can tell it from the booking. `attempt` counts the
/// names that were taken already.
///
/// # Errors
/// The operating system's random source failed.
pub fn candidate(attempt: u32) -> Result<AccountName, RandomError> {
    // Both lists have 32 names: every byte is as good as any other.
    let [given, family, number] = random_bytes::<3>()?;
    let given = GIVEN[usize::from(given) % GIVEN.len()];
    let family = FAMILY[usize::from(family) % FAMILY.len()];
    let number = if attempt < BARE {
        String::new()
    } else {
        (2 + u32::from(number)).to_string()
    };
    let name = format!("{given}-{family}{number}");
    Ok(name.parse().expect("both lists hold lower-case letters only"))
}

/// The whole and the family name of somebody called so: `ada-berg2` is `Ada Berg`, `Berg`. Neither is empty.
pub fn real_name(uid: &AccountName) -> (String, String) {
    let capital = |word: &str| {
        let mut letters = word.chars().filter(|c| !c.is_ascii_digit());
        let first = letters.next()?.to_ascii_uppercase();
        Some(std::iter::once(first).chain(letters).collect())
    };
    let words: Vec<String> = uid.as_str().split('-').filter_map(capital).collect();
    let family = words.last().cloned().unwrap_or_else(|| uid.to_string());
    (
        if words.is_empty() {
            family.clone()
        } else {
            words.join(" ")
        },
        family,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_differ_and_can_be_said() {
        for (attempt, letters_only) in [(0, true), (BARE, false)] {
            let names: HashSet<_> = (0..200)
                .map(|_| candidate(attempt).unwrap().to_string())
                .collect();
            assert!(names.len() > 100, "{names:?}");
            for name in names {
                let digits = name.chars().filter(char::is_ascii_digit).count();
                assert_eq!(
                    (digits == 0, name.matches('-').count()),
                    (letters_only, 1),
                    "{name}"
                );
            }
        }
        let all = GIVEN.iter().chain(&FAMILY);
        assert!(
            all.clone()
                .all(|name| name.chars().all(|c| c.is_ascii_lowercase()))
        );
        assert_eq!(all.collect::<HashSet<_>>().len(), 64);
    }

    #[test]
    fn people_are_called_as_their_user_names_say() {
        for (uid, whole, family) in [
            ("ada-berg", "Ada Berg", "Berg"),
            ("ada-berg12", "Ada Berg", "Berg"),
            ("a--b", "A B", "B"),
            ("_", "_", "_"),
        ] {
            let found = real_name(&uid.parse().unwrap());
            assert_eq!((found.0.as_str(), found.1.as_str()), (whole, family));
        }
    }
}
