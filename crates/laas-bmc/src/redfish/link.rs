//! Links between resources, as a BMC writes them.

use serde::{Deserialize, Deserializer};
use std::fmt;

/// The path of a resource on the BMC that we talk to: below `/redfish/`, of plain segments, and thus never another
/// host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link(Vec<String>);

impl Link {
    /// `None` if the text is no such path.
    pub fn parse(text: &str) -> Option<Self> {
        let segments: Vec<_> = text.strip_prefix('/')?.split('/').map(str::to_owned).collect();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:@#$&+,;=!*'()".contains(c);
        let (last, inner) = segments.split_last()?;
        let is_segment = |s: &String| !s.is_empty() && *s != "." && *s != ".." && s.chars().all(plain);
        let fits = inner.iter().all(is_segment) && (last.is_empty() || is_segment(last));
        (fits && segments.first()? == "redfish").then_some(Self(segments))
    }

    /// The service's root.
    pub fn root() -> Self {
        Self(["redfish", "v1", ""].map(str::to_owned).to_vec())
    }

    /// The resource of this name below.
    #[must_use]
    pub fn below(&self, names: &[&str]) -> Self {
        let mut segments = self.0.clone();
        segments.retain(|s| !s.is_empty());
        segments.extend(names.iter().map(ToString::to_string));
        Self(segments)
    }

    /// The same path with a slash at its end.
    #[must_use]
    pub fn with_slash(&self) -> Self {
        self.below(&[""])
    }

    /// Whether both name the same resource; a slash at the end is no difference.
    pub fn names(&self, other: &Self) -> bool {
        self.with_slash() == other.with_slash()
    }

    /// The last word of it.
    pub fn name(&self) -> &str {
        let last = self.0.iter().rev().find(|s| !s.is_empty());
        last.map_or("", String::as_str)
    }

    pub fn segments(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.join("/"))
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no link to a resource of this service"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_on_the_bmc() {
        for good in [
            "/redfish/v1/",
            "/redfish/v1/Systems/1",
            "/redfish/v1/Systems/System.Embedded.1/",
            "/redfish/v1/AccountService/Accounts/it's(me)",
        ] {
            assert_eq!(Link::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "/",
            "redfish/v1",
            "//evil/redfish/v1",
            "https://evil/redfish/v1",
            "/redfish/../cgi",
            "/redfish/v1/%2e%2e/x",
            "/redfish/v1//x",
            "/redfish/v1/a b",
            "/redfish/v1/x?y",
            "/rest/v1/Systems/1",
        ] {
            assert_eq!(Link::parse(bad), None, "{bad}");
        }
        let link = Link::parse("/redfish/v1/Systems/1").unwrap();
        assert!(link.names(&Link::parse("/redfish/v1/Systems/1/").unwrap()));
        assert_eq!(
            link.with_slash().with_slash().to_string(),
            "/redfish/v1/Systems/1/"
        );
        assert_eq!(
            link.with_slash().below(&["Bios"]).to_string(),
            "/redfish/v1/Systems/1/Bios"
        );
    }
}
