//! Sets of VLANs as switches write them: `11,103-105`.

use laas_core::VlanId;
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// `Display` gives the shortest list of ranges, or `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VlanSet(BTreeSet<VlanId>);

#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no list of VLANs like `11-13,100`")]
pub struct VlanSetError {
    text: String,
}

impl VlanSet {
    /// 1 to 4094: what a trunk lets through when nothing is configured.
    pub fn all() -> Self {
        (1..=4094).filter_map(|id| VlanId::try_from(id).ok()).collect()
    }

    pub fn contains(&self, vlan: VlanId) -> bool {
        self.0.contains(&vlan)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = VlanId> {
        self.0.iter().copied()
    }

    /// The same set as texts of ranges, which can be put on several lines.
    pub fn ranges(&self) -> Vec<String> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for vlan in self.0.iter().map(|v| v.get()) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == vlan => *last = vlan,
                _ => ranges.push((vlan, vlan)),
            }
        }
        let text = |(first, last): &(u16, u16)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        ranges.iter().map(text).collect()
    }
}

impl FromIterator<VlanId> for VlanSet {
    fn from_iter<I: IntoIterator<Item = VlanId>>(vlans: I) -> Self {
        Self(vlans.into_iter().collect())
    }
}

impl Extend<VlanId> for VlanSet {
    fn extend<I: IntoIterator<Item = VlanId>>(&mut self, vlans: I) {
        self.0.extend(vlans);
    }
}

/// `none`, `all`, `11,103-105`, `except 2-10`.
impl FromStr for VlanSet {
    type Err = VlanSetError;

    fn from_str(text: &str) -> Result<Self, VlanSetError> {
        let list = |text: &str| -> Option<BTreeSet<VlanId>> {
            let mut vlans = BTreeSet::new();
            for part in text.split(',') {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let [first, last] = [first, last].map(|t| t.trim().parse::<VlanId>().ok());
                let (first, last) = (first?.get(), last?.get());
                if first > last {
                    return None;
                }
                vlans.extend((first..=last).filter_map(|id| VlanId::try_from(u64::from(id)).ok()));
            }
            Some(vlans)
        };
        let found = match text.trim() {
            "none" => Some(BTreeSet::new()),
            "all" => Some(Self::all().0),
            text => match text.strip_prefix("except ") {
                Some(but) => list(but).map(|but| Self::all().0.difference(&but).copied().collect()),
                None => list(text),
            },
        };
        found.map(Self).ok_or_else(|| VlanSetError {
            text: text.chars().take(80).collect(),
        })
    }
}

impl fmt::Display for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.ranges().join(","))
    }
}

impl Serialize for VlanSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_switches_write_them() {
        for (text, shown) in [
            ("none", "none"),
            ("all", "1-4094"),
            ("1-4094", "1-4094"),
            ("11", "11"),
            ("105,11,103-104", "11,103-105"),
            ("1, 3-5 ,4", "1,3-5"),
            ("except 2-4094", "1"),
            ("except 1,4094", "2-4093"),
        ] {
            assert_eq!(text.parse::<VlanSet>().unwrap().to_string(), shown, "{text}");
        }
        for foreign in [
            "",
            "0",
            "4095",
            "5-3",
            "a",
            "1-",
            "1,,2",
            "except",
            "except none",
            "1-2-3",
            "-1",
        ] {
            assert!(foreign.parse::<VlanSet>().is_err(), "{foreign:?}");
        }
    }
}
