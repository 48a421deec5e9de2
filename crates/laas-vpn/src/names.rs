//! Names for users that can be told over the phone.

use laas_core::names::AccountName;

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

/// User names to try in turn for the user of a job: always the same ones, so that a run that has lost everything
/// still meets the entry that an earlier one made.
pub fn candidates(job: u64, user: u64) -> impl Iterator<Item = AccountName> {
    // Fibonacci hashing: the top bits of the product differ for numbers that differ little.
    let mixed = (job << 24 ^ user).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    let given = GIVEN[(mixed >> 5) as usize % GIVEN.len()];
    let family = FAMILY[mixed as usize % FAMILY.len()];
    (1..).filter_map(move |number: u64| {
        let suffix = if number == 1 {
            String::new()
        } else {
            number.to_string()
        };
        format!("{given}-{family}{suffix}").parse().ok()
    })
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
    fn names_are_stable_differ_and_can_be_said() {
        let of = |job, user| {
            candidates(job, user)
                .take(3)
                .map(|n| n.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(1, 3), of(1, 3));
        let [first, second, third] = &of(1, 3)[..] else {
            panic!()
        };
        assert_eq!([second, third], [&format!("{first}2"), &format!("{first}3")]);
        let jobs: HashSet<_> = (1..=100).map(|job| of(job, 3)[0].clone()).collect();
        let users: HashSet<_> = (1..=20).map(|user| of(1, user)[0].clone()).collect();
        assert!(
            jobs.len() > 80 && users.len() > 15,
            "{} {}",
            jobs.len(),
            users.len()
        );
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
