//! What marks an entry as the pack's, and whose it is.

use std::fmt;
use std::str::FromStr;

/// How the description of every entry of ours begins.
pub(crate) const BEGIN: &str = "laas job ";

/// The user of a booking, as the entry's `description` names it: `laas job 1 user 3`. An entry without exactly that is
/// somebody else's and is never touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// On the dashboard, as the user is.
    pub job: u64,
    pub user: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BEGIN}{} user {}", self.job, self.user)
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words = text.strip_prefix(BEGIN).ok_or(())?;
        let (job, user) = words.split_once(" user ").ok_or(())?;
        let mark = Self {
            job: job.parse().map_err(drop)?,
            user: user.parse().map_err(drop)?,
        };
        // Numbers can be written in several ways; the pack writes them in one.
        if mark.to_string() == text {
            Ok(mark)
        } else {
            Err(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_pack_writes_is_a_mark() {
        let mark = Mark { job: 1, user: 3 };
        assert_eq!(mark.to_string().parse(), Ok(mark));
        for text in [
            "",
            "laas job 1",
            "laas job 01 user 3",
            "laas job +1 user 3",
            "laas job 1 user 3 ",
            "Laas job 1 user 3",
            "my laas job 1 user 3",
            "laas job 1 user 99999999999999999999",
        ] {
            assert_eq!(text.parse::<Mark>(), Err(()), "{text}");
        }
    }
}
