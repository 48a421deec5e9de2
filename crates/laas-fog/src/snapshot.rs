//! Snapshots of hosts. FOG's list of images is the only book about them: version 3 of the snapshot `web` is the image
//! `web_v3`, which is called `web_v3_incomplete` until its capture is proven complete.

use crate::Image;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

/// FOG's column `images.imageName` holds 40 characters, and MySQL may cut what is longer without a word: this leaves
/// room for `_v999_incomplete`.
const MOST_CHARACTERS: usize = 24;
const MOST_VERSIONS: u16 = 999;
const INCOMPLETE: &str = "_incomplete";

/// The name of a snapshot, without a version. Names that differ in case only are one to FOG's database, and here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Snapshot(String);

/// What the name of an image says about the snapshot in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotImage {
    pub snapshot: Snapshot,
    /// From 1 on.
    pub version: NonZeroU16,
    /// Whether its capture is proven complete. An incomplete one must never be deployed.
    pub complete: bool,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SnapshotError {
    #[error(
        "`{}` is not the name of a snapshot (letters, digits, `_`, `-`, `.`; begins with a letter or digit; at most {MOST_CHARACTERS})",
        .0.escape_debug().take(60).collect::<String>()
    )]
    Name(String),
    #[error("the snapshot `{snapshot}` has had all of its {MOST_VERSIONS} versions")]
    Full { snapshot: Snapshot },
}

impl Snapshot {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }

    /// What FOG has of this snapshot, complete or not, by version.
    pub fn versions_of<'a>(&self, images: &'a [Image]) -> BTreeMap<NonZeroU16, (SnapshotImage, &'a Image)> {
        let named = images
            .iter()
            .filter_map(|image| Some((SnapshotImage::parse(&image.name)?, image)));
        named
            .filter(|(name, _)| name.snapshot.is(self))
            .map(|(name, image)| (name.version, (name, image)))
            .collect()
    }

    /// The name for the next capture, incomplete: one more than the highest version that FOG has, complete or not.
    ///
    /// # Errors
    /// There is no room in FOG's names for so many versions.
    pub fn next_of(&self, images: &[Image]) -> Result<SnapshotImage, SnapshotError> {
        let last = self
            .versions_of(images)
            .last_key_value()
            .map_or(0, |(v, _)| v.get());
        let next = NonZeroU16::new(last + 1).filter(|v| v.get() <= MOST_VERSIONS);
        Ok(SnapshotImage {
            snapshot: self.clone(),
            version: next.ok_or_else(|| SnapshotError::Full {
                snapshot: self.clone(),
            })?,
            complete: false,
        })
    }
}

impl FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins || text.len() > MOST_CHARACTERS || !text.chars().all(ok) {
            return Err(SnapshotError::Name(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Snapshot {
    type Error = SnapshotError;

    fn try_from(text: String) -> Result<Self, SnapshotError> {
        text.parse()
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SnapshotImage {
    /// `None` if an image of this name is no snapshot.
    pub fn parse(name: &str) -> Option<Self> {
        let (rest, complete) = match name.strip_suffix(INCOMPLETE) {
            Some(rest) => (rest, false),
            None => (name, true),
        };
        let (snapshot, version) = rest.rsplit_once("_v")?;
        // `web_v03` or `web_v+3` would be a second name of `web_v3`.
        if !version.starts_with(|c: char| matches!(c, '1'..='9')) {
            return None;
        }
        let version = version
            .parse()
            .ok()
            .filter(|v: &NonZeroU16| v.get() <= MOST_VERSIONS)?;
        Some(Self {
            snapshot: snapshot.parse().ok()?,
            version,
            complete,
        })
    }

    /// The same version under the name that it bears once its capture is proven complete.
    #[must_use]
    pub fn completed(&self) -> Self {
        Self {
            complete: true,
            ..self.clone()
        }
    }
}

impl fmt::Display for SnapshotImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.complete { "" } else { INCOMPLETE };
        write!(f, "{}_v{}{suffix}", self.snapshot, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_image_of_a_snapshot_is_known_by_its_name() {
        for (name, snapshot, version, complete) in [
            ("web_v1", "web", 1, true),
            ("web_v12_incomplete", "web", 12, false),
            ("web_v1_v2", "web_v1", 2, true),
            ("web_v1_incomplete_v2_incomplete", "web_v1_incomplete", 2, false),
            ("a.b-c_v999", "a.b-c", 999, true),
        ] {
            let parsed = SnapshotImage::parse(name).unwrap();
            let said = (parsed.snapshot.as_str(), parsed.version.get(), parsed.complete);
            assert_eq!(said, (snapshot, version, complete), "{name}");
            assert_eq!(parsed.to_string(), name);
        }
        for name in [
            "ubuntu-18.04",
            "web",
            "web_v",
            "web_v0",
            "web_v01",
            "web_v+1",
            "web_v1000",
            "_v1",
            "web_vx",
            "web_v1_",
            "web_incomplete",
            "web_v1_incomplete_incomplete",
            ".._v1",
            "a b_v1",
            "web_V1",
        ] {
            assert_eq!(SnapshotImage::parse(name), None, "{name}");
        }
    }

    #[test]
    fn the_name_of_a_snapshot_fits_into_fog_and_into_a_path() {
        for bad in [
            "",
            ".",
            "..",
            "-x",
            "_x",
            "a/b",
            "a b",
            "ä",
            "a\n",
            &"x".repeat(25),
        ] {
            let error = bad.parse::<Snapshot>().unwrap_err();
            assert!(error.to_string().len() < 250, "{error}");
        }
        let longest = SnapshotImage {
            snapshot: "x".repeat(24).parse().unwrap(),
            version: NonZeroU16::new(MOST_VERSIONS).unwrap(),
            complete: false,
        };
        assert_eq!(longest.to_string().len(), 40);
    }

    #[test]
    fn versions_are_those_of_the_one_snapshot() {
        let names = [
            "web_v2",
            "WEB_v10_incomplete",
            "web_v1_v7",
            "webs_v8",
            "web_v1",
            "web",
            "web_v1000",
        ];
        let images = names.iter().zip(1..).map(|(n, id)| json!({"id": id, "name": n}));
        let images: Vec<Image> = images.map(|i| serde_json::from_value(i).unwrap()).collect();
        let web: Snapshot = "web".parse().unwrap();
        let found: Vec<_> = web
            .versions_of(&images)
            .into_iter()
            .map(|(v, (name, image))| (v.get(), name.complete, image.id.get()))
            .collect();
        assert_eq!(found, [(1, true, 5), (2, true, 1), (10, false, 2)]);
        assert_eq!(web.next_of(&images).unwrap().to_string(), "web_v11_incomplete");
        assert_eq!(web.next_of(&images).unwrap().completed().to_string(), "web_v11");
        assert_eq!(web.next_of(&[]).unwrap().to_string(), "web_v1_incomplete");
        let full: Image = serde_json::from_value(json!({"id": 1, "name": "web_v999"})).unwrap();
        assert!(matches!(web.next_of(&[full]), Err(SnapshotError::Full { .. })));
    }
}
