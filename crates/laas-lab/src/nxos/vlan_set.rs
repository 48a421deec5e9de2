//! Sets of VLAN ids, as ranges are written on a switch.

use std::fmt;

/// The highest VLAN id of IEEE 802.1Q that may carry frames.
pub const MAX_VLAN: u16 = 4094;

/// VLAN ids 1 to 4094.
#[derive(Clone, PartialEq, Eq)]
pub struct VlanSet([u64; 64]);

impl VlanSet {
    /// No VLAN at all.
    pub const fn none() -> Self {
        Self([0; 64])
    }

    /// 1 to 4094, what a trunk lets through when nothing else is said.
    pub fn all() -> Self {
        (1..=MAX_VLAN).collect()
    }

    /// Reads `11,103-105`. `None` if it is not a list of VLAN ids in
    /// ascending ranges.
    pub fn parse(text: &str) -> Option<Self> {
        let mut set = Self::none();
        for part in text.split(',') {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let low = parse_vlan(low)?;
            let high = parse_vlan(high)?;
            if low > high {
                return None;
            }
            set.extend(low..=high);
        }
        Some(set)
    }

    /// Whether `vlan` is in the set.
    pub fn contains(&self, vlan: u16) -> bool {
        (1..=MAX_VLAN).contains(&vlan) && self.0[usize::from(vlan / 64)] & (1 << (vlan % 64)) != 0
    }

    /// Adds a VLAN; an id out of range is left out.
    pub fn insert(&mut self, vlan: u16) {
        if (1..=MAX_VLAN).contains(&vlan) {
            self.0[usize::from(vlan / 64)] |= 1 << (vlan % 64);
        }
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |one, two| one | two)
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |one, two| one & two)
    }

    /// What is in this one and not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, |one, two| one & !two)
    }

    /// Whether there is no VLAN in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (1..=MAX_VLAN).filter(|vlan| self.contains(*vlan))
    }

    fn zip(&self, other: &Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|index| {
            operation(self.0[index], other.0[index])
        }))
    }
}

fn parse_vlan(text: &str) -> Option<u16> {
    let vlan = text.parse().ok()?;
    (1..=MAX_VLAN).contains(&vlan).then_some(vlan)
}

impl Default for VlanSet {
    fn default() -> Self {
        Self::none()
    }
}

impl FromIterator<u16> for VlanSet {
    fn from_iter<I: IntoIterator<Item = u16>>(vlans: I) -> Self {
        let mut set = Self::none();
        set.extend(vlans);
        set
    }
}

impl Extend<u16> for VlanSet {
    fn extend<I: IntoIterator<Item = u16>>(&mut self, vlans: I) {
        vlans.into_iter().for_each(|vlan| self.insert(vlan));
    }
}

/// As the switch writes it: `11,103-105`, and `none` for the empty set.
impl fmt::Display for VlanSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("none");
        }
        let mut separator = "";
        let mut vlan = 1;
        while vlan <= MAX_VLAN {
            let low = vlan;
            while self.contains(vlan) {
                vlan += 1;
            }
            match vlan - low {
                0 => {
                    vlan += 1;
                    continue;
                }
                1 => write!(formatter, "{separator}{low}")?,
                _ => write!(formatter, "{separator}{low}-{}", vlan - 1)?,
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for VlanSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VlanSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written_as_on_a_switch() {
        for text in ["1", "11,103-105", "1-4094", "1,3-4094", "63-65,128"] {
            assert_eq!(VlanSet::parse(text).expect(text).to_string(), text);
        }
        for text in ["", "0", "4095", "5-3", "a", "1,,2", "1-", "-3"] {
            assert_eq!(VlanSet::parse(text), None, "{text}");
        }
        assert_eq!(VlanSet::none().to_string(), "none");
        assert_eq!(VlanSet::all().to_string(), "1-4094");
    }
}
