//! Foreign text, parsed at the door: once a value has one of these types it can't break out of a shell line,
//! a URL path or a file name.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Why a text is not what it should be; `Display` names the text and what was expected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{}` is not {what}", shorten(text))]
pub struct ParseError {
    text: String,
    what: &'static str,
}

fn shorten(text: &str) -> String {
    let mut short: String = text.escape_debug().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The text as one line that shows each character, without its middle if it is longer than `most`: its beginning says
/// what it is about, its end what is wrong.
pub fn legible(text: &str, most: usize) -> String {
    let shown = |c: char| match c {
        '\'' | '"' | '\\' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    let chars: Vec<String> = text.chars().map(shown).collect();
    if chars.len() <= most {
        return chars.concat();
    }
    let half = most / 2;
    format!(
        "{}…{}",
        chars[..half].concat(),
        chars[chars.len() - half..].concat()
    )
}

fn error(text: &str, what: &'static str) -> ParseError {
    ParseError {
        text: text.to_owned(),
        what,
    }
}

/// The lab's name of a host (`pod1`), as the dashboard, the datastore and the lock files use it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

impl FromStr for HostName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > 63 || !text.chars().all(ok) || text.starts_with(['.', '-', '_']) {
            return Err(error(
                text,
                "a host name (letters, digits, `.`, `_`, `-`; at most 63)",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The name that a tenant gives to a machine. The dashboard's form lets `_` pass, and `-` at the beginning: systemd
/// drops the one at the next boot, and hostname(1) refuses it. A `-` is what such a name gets instead of `_`, and none
/// at the ends of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SystemHostname(String);

impl FromStr for SystemHostname {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let label = |label: &str| {
            let label = label.replace('_', "-").trim_matches('-').to_owned();
            let known = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            (known && (1..=63).contains(&label.len())).then_some(label)
        };
        let labels: Option<Vec<_>> = text.split('.').map(label).collect();
        // Linux cuts a host name at 64 bytes.
        let name = labels
            .map(|labels| labels.join("."))
            .filter(|name| name.len() <= 64);
        name.map(Self).ok_or_else(|| {
            error(
                text,
                "a hostname for a machine: use letters, digits and `-`, and dots between parts, 64 in all",
            )
        })
    }
}

/// A MAC address, kept in lower case with colons.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(String);

impl FromStr for Mac {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<_> = text.split([':', '-']).collect();
        let byte = |p: &&str| p.len() == 2 && p.chars().all(|c| c.is_ascii_hexdigit());
        if parts.len() != 6 || !parts.iter().all(byte) {
            return Err(error(text, "a MAC address like `00:11:22:33:44:55`"));
        }
        Ok(Self(parts.join(":").to_ascii_lowercase()))
    }
}

/// A VLAN id, 1 to 4094 (IEEE 802.1Q reserves 0 and 4095).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VlanId(u16);

impl VlanId {
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u64> for VlanId {
    type Error = ParseError;

    fn try_from(id: u64) -> Result<Self, ParseError> {
        match u16::try_from(id) {
            Ok(id @ 1..=4094) => Ok(Self(id)),
            _ => Err(error(&id.to_string(), "a VLAN id from 1 to 4094")),
        }
    }
}

impl FromStr for VlanId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse::<u64>()
            .map_err(|_| error(text, "a VLAN id from 1 to 4094"))?
            .try_into()
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for VlanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0)
    }
}

impl<'de> Deserialize<'de> for VlanId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer)?
            .try_into()
            .map_err(serde::de::Error::custom)
    }
}

/// A network interface of a Linux host. The kernel takes more (IFNAMSIZ leaves 15 bytes); what is left out would mean
/// something else to one of the files that such a name stands in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(String);

impl FromStr for InterfaceName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        if !first || text.len() > 15 || !text.chars().all(ok) {
            return Err(error(
                text,
                "the name of a network interface (letters, digits, `.`, `_`, `-`; at most 15)",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// An account on a Linux host, after useradd(8)'s portable rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(String);

impl FromStr for AccountName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let first = text
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_lowercase() || c == '_');
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if !first || text.len() > 32 || !text.chars().all(ok) {
            return Err(error(
                text,
                "an account name (lower-case letters, digits, `_`, `-`; at most 32)",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Where something answers: a name, or an IP address, maybe with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl FromStr for Address {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '[' | ']' | '%');
        // The longest name of the DNS (RFC 1035).
        if text.is_empty() || text.len() > 253 || !text.chars().all(ok) || text.starts_with(['.', '-']) {
            return Err(error(
                text,
                "a name or an IP address (letters, digits, `.`, `_`, `-`, `:`)",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What something is called at a peer that has rules of its own: short, and of nothing but characters that can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

impl FromStr for Label {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.trim().is_empty() || text.len() > 200 || legible(text, text.len()) != text {
            return Err(error(
                text,
                "a name (at most 200 characters, all of which can be seen)",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A slot of a BMC's table of accounts: a number in IPMI, the account's id in Redfish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BmcSlot(String);

impl BmcSlot {
    /// The slot of an account that is yet to be made, on a BMC that gives it an id itself. No id is written so.
    pub fn to_be_made() -> Self {
        Self("+".to_owned())
    }

    /// The number that IPMI knows it by.
    pub fn number(&self) -> Option<u8> {
        self.0.parse().ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BmcSlot {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_id =
            !text.is_empty() && text.len() <= 63 && text.chars().all(ok) && !text.starts_with(['.', '-']);
        if !is_id && text != Self::to_be_made().0 {
            return Err(error(
                text,
                "a slot of a BMC (a number, or an account's id of letters, digits, `.`, `_`, `-`)",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl From<u8> for BmcSlot {
    fn from(number: u8) -> Self {
        Self(number.to_string())
    }
}

impl fmt::Display for BmcSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for BmcSlot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.number() {
            Some(number) => serializer.serialize_u8(number),
            None => serializer.serialize_str(&self.0),
        }
    }
}

/// From a number or a text: inventories were written with numbers.
impl<'de> Deserialize<'de> for BmcSlot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u8),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(number.into()),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// The id of a task on the dashboard: a lower-case UUID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(String);

impl FromStr for TaskId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let groups: Vec<_> = text.split('-').collect();
        let hex = |g: &str| g.chars().all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f'));
        if groups.iter().map(|g| g.len()).ne([8, 4, 4, 4, 12]) || !groups.iter().all(|g| hex(g)) {
            return Err(error(text, "a task id (a lower-case UUID)"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What every checked text gives: the text itself, and serde both ways through the parser.
macro_rules! checked_text {
    ($($name:ident),*) => {$(
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

checked_text!(
    HostName,
    SystemHostname,
    Mac,
    InterfaceName,
    AccountName,
    TaskId,
    Address,
    Label
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_outside() {
        for bad in [
            "",
            "a b",
            "a;b",
            "$(x)",
            "../x",
            "-x",
            "a\n",
            "ä",
            "a/b",
            &"x".repeat(64),
            "a`b",
            "a'b",
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?}");
            assert!(bad.parse::<AccountName>().is_err(), "{bad:?}");
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
            assert!(bad.parse::<TaskId>().is_err(), "{bad:?}");
            assert!(bad.parse::<Mac>().is_err(), "{bad:?}");
            assert!(bad.parse::<BmcSlot>().is_err(), "{bad:?}");
        }
        for bad in [
            "",
            "a b",
            "$(x)",
            "../x",
            "-x",
            "a\n",
            "ä",
            "a/b",
            &"x".repeat(254),
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
        for bad in ["", " ", "a\n", "a\0", "\u{202e}a", "\u{1b}[2J", &"x".repeat(201)] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            "a b",
            "-",
            "a._",
            "a\nb",
            "$(x)",
            &"a".repeat(65),
            "x/y",
        ] {
            assert!(bad.parse::<SystemHostname>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_labs_really_use_passes() {
        for good in ["pod1", "rack2-u14.lab.example", "POD_3"] {
            assert_eq!(good.parse::<HostName>().unwrap().as_str(), good);
        }
        for (asked, expected) in [
            ("pod1", "pod1"),
            ("rack2-u14.lab.example", "rack2-u14.lab.example"),
            ("Jump.Host_1", "Jump.Host-1"),
            ("-jump_", "jump"),
        ] {
            let name: SystemHostname = asked.parse().unwrap();
            assert_eq!(name.as_str(), expected);
            assert_eq!(name.as_str().parse::<SystemHostname>().unwrap(), name);
        }
        for good in ["eno1", "enp130s0f1np1", "eth0.103", "br-lan"] {
            assert_eq!(good.parse::<InterfaceName>().unwrap().as_str(), good);
        }
        assert_eq!(
            "02-00-00-00-AA-01".parse::<Mac>().unwrap().as_str(),
            "02:00:00:00:aa:01"
        );
        assert!("aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da".parse::<TaskId>().is_ok());
        assert!("AEBE085C-2b8c-4dfc-a4fc-bb2fa5bb41da".parse::<TaskId>().is_err());
        for good in ["10.2.0.1", "fd00::1", "[fe80::1%eno1]:8443", "pod1.lab.example"] {
            assert_eq!(good.parse::<Address>().unwrap().as_str(), good);
        }
        for good in ["vm-1.1", "{pod 1}'s", "bmc_admin"] {
            assert_eq!(good.parse::<Label>().unwrap().as_str(), good);
        }
        assert_eq!("4094".parse::<VlanId>().unwrap().get(), 4094);
        assert!(
            ["0", "4095", "-1", "x"]
                .iter()
                .all(|t| t.parse::<VlanId>().is_err())
        );
    }

    #[test]
    fn a_slot_is_a_number_or_an_id() {
        for (written, number) in [
            ("4", Some(4)),
            ("\"4\"", Some(4)),
            ("\"opnfv\"", None),
            ("\"+\"", None),
        ] {
            let slot: BmcSlot = serde_json::from_str(written).unwrap();
            assert_eq!(slot.number(), number);
            let printed = serde_json::to_string(&slot).unwrap();
            assert_eq!(serde_json::from_str::<BmcSlot>(&printed).unwrap(), slot);
        }
        assert!(serde_json::from_str::<BmcSlot>("\"../1\"").is_err());
    }

    #[test]
    fn a_megabyte_is_not_repeated_in_the_error() {
        let error = "x".repeat(1 << 20).parse::<HostName>().unwrap_err().to_string();
        assert!(error.len() < 200, "{}", error.len());
        let long = format!("`{}` is wrong\n\u{202e}", "x".repeat(1 << 20));
        let line = legible(&long, 60);
        assert!(
            line.starts_with("`xxx") && line.ends_with("xx` is wrong\\n\\u{202e}"),
            "{line}"
        );
        assert_eq!(legible("`it's \"ä\"`", 60), "`it's \"ä\"`");
    }
}
