//! The lab's machines as `hosts.json` describes them.

use crate::datastore::{Datastore, DatastoreError};
use crate::keys::{self, HOSTS};
use crate::names::{Address, BmcSlot, Label, legible};
use crate::{Classify, HostName, Kind, Mac, Secret, VlanId, parallel};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// How many entries are read side by side.
const AT_ONCE: u64 = 8;
/// Of what a parser says, in characters: it repeats what it can't take.
const LONGEST_WORDS: usize = 200;

/// One machine, as its key in the datastore says.
#[derive(Clone, Debug, Deserialize)]
pub struct Host {
    #[serde(skip, default = "unnamed")]
    pub name: HostName,
    /// The resource id on the dashboard.
    #[serde(default)]
    pub dashboard_id: Option<Value>,
    /// The name that FOG knows the host by.
    #[serde(deserialize_with = "checked::<Label, _>")]
    pub fog_name: String,
    /// A name or address that resolves to the host, wherever it is at the moment.
    #[serde(deserialize_with = "checked::<Address, _>")]
    pub hostname: String,
    #[serde(default)]
    pub ubuntu_image: Option<u64>,
    #[serde(default)]
    pub centos_image: Option<u64>,
    #[serde(default)]
    pub suse_image: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    pub interfaces: BTreeMap<String, Interface>,
    /// The host's reserved address by VLAN id, for labs without a DNS that follows DHCP.
    #[serde(default, deserialize_with = "addresses")]
    pub addresses: BTreeMap<String, String>,
    /// How to reach its BMC.
    #[serde(default)]
    pub bmc: Option<Bmc>,
}

/// A network interface and where its cable goes.
#[derive(Clone, Debug, Deserialize)]
pub struct Interface {
    pub mac: Mac,
    /// The PCI address, as `ethtool -i` reports it.
    #[serde(default)]
    pub bus: Option<String>,
    /// The management address of the switch.
    #[serde(deserialize_with = "checked::<Address, _>")]
    pub switch: String,
    /// The port's name on the switch, `Ethernet1/34`.
    pub port: String,
    /// The interface's name in the system, `eno49`.
    pub name: String,
}

/// A baseboard management controller.
#[derive(Clone, Debug, Deserialize)]
pub struct Bmc {
    /// `ipmi` (the default) or `redfish`.
    #[serde(default, deserialize_with = "or_default")]
    pub driver: BmcDriver,
    #[serde(deserialize_with = "checked::<Address, _>")]
    pub address: String,
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(deserialize_with = "checked::<Label, _>")]
    pub user: String,
    /// The (encrypted) datastore key of the password.
    #[serde(deserialize_with = "checked::<Label, _>")]
    pub password_key: String,
    /// IPMI cipher suite: 17 (the default) or 3.
    #[serde(default)]
    pub cipher: Option<u8>,
    /// The slot of the tenants' account, in Redfish its id; a free one is looked for if it is absent.
    #[serde(default)]
    pub user_slot: Option<BmcSlot>,
    /// How the certificate of a Redfish service is verified. BMCs come with one that they signed themselves: give it
    /// as `ca`.
    #[serde(default, deserialize_with = "or_default")]
    pub tls: crate::http::Tls,
    /// For the dashboard; asked from the BMC if it is absent.
    #[serde(default)]
    pub mac: Option<Mac>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum BmcDriver {
    #[default]
    Ipmi,
    Redfish,
}

/// A switch's access, as the key `switch_<address>` says.
#[derive(Clone, Debug, Deserialize)]
pub struct Switch {
    /// `nxos` (the default) or `eos`.
    #[serde(default = "nxos")]
    pub driver: String,
    /// Where its API is, if not at `https://<address>`.
    #[serde(default)]
    pub url: Option<String>,
    pub user: String,
    pub password: Secret,
    /// Of privileged mode, where an EOS switch asks for one.
    #[serde(default)]
    pub enable_password: Option<Secret>,
    #[serde(default)]
    pub tls: crate::http::Tls,
}

/// How a host makes itself known to the lab's Jenkins, as the key `jenkins_<host>` says.
#[derive(Clone, Debug, Deserialize)]
pub struct JenkinsNode {
    /// The node's name in Jenkins.
    pub name: String,
    /// What Jenkins shows on the node's page.
    pub secret: Secret,
}

#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error("can't read the lab's inventory")]
    Datastore(#[from] DatastoreError),
    #[error("the datastore has no key `{key}`")]
    Missing { key: String },
    /// The parser's words would quote values, and some are secrets: only the place is told.
    #[error("the datastore's key `{key}` is malformed at line {line} column {column}")]
    Malformed {
        key: String,
        line: usize,
        column: usize,
        source: Option<NotQuoted>,
    },
    #[error("host `{host}` is not in the datastore's list `hosts`")]
    Unlisted { host: HostName },
    #[error("{why}")]
    Reserved { why: String },
    #[error("the hosts `{host}` and `{other}` have the same {what}, so nobody knows which one it is of")]
    Ambiguous {
        host: HostName,
        other: HostName,
        what: &'static str,
    },
}

/// What a parser said, when it quotes nothing secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotQuoted(String);

impl Classify for InventoryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Datastore(source) => source.kind(),
            Self::Missing { .. }
            | Self::Malformed { .. }
            | Self::Unlisted { .. }
            | Self::Reserved { .. }
            | Self::Ambiguous { .. } => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Datastore(source) => source.hint(),
            Self::Missing { key } => Some(format!(
                "load it with `st2 key load hosts.json` or `st2 key set {key} …`"
            )),
            Self::Malformed { .. } => {
                Some("compare it with `hosts.json.example` and `secrets.json.example` of the pack".to_owned())
            }
            Self::Unlisted { host } => Some(format!(
                "add `{host}` to the key `{HOSTS}`, or check the spelling"
            )),
            Self::Reserved { .. } => Some(format!(
                "give it another name in the inventory and in the key `{HOSTS}`"
            )),
            Self::Ambiguous { host, other, .. } => Some(format!(
                "correct the key `{host}` or `{other}`; `laas.inventory` finds such mistakes"
            )),
        }
    }
}

impl Host {
    /// The host's entry; it must be in the list `hosts`.
    ///
    /// # Errors
    /// It is unlisted, missing or malformed, or the datastore can't be read.
    pub fn load(datastore: &Datastore, name: &HostName) -> Result<Self, InventoryError> {
        Self::load_of(datastore, name, &listed(datastore)?)
    }

    fn load_of(datastore: &Datastore, name: &HostName, listed: &[Value]) -> Result<Self, InventoryError> {
        if !listed.contains(&Value::from(name.as_str())) {
            return Err(InventoryError::Unlisted { host: name.clone() });
        }
        Self::load_listed(datastore, name)
    }

    fn load_listed(datastore: &Datastore, name: &HostName) -> Result<Self, InventoryError> {
        let value = read(datastore, name.as_str())?;
        let mut host: Self = parse(name.as_str(), &value, true)?;
        host.name = name.clone();
        Ok(host)
    }

    /// As [`Host::load`], for what destroys: nothing of the host may be another one's as well. Other hosts whose entries
    /// can't be read don't count.
    ///
    /// # Errors
    /// As [`Host::load`], or it can be confused with another host.
    pub fn load_alone(datastore: &Datastore, name: &HostName) -> Result<Self, InventoryError> {
        let listed = listed(datastore)?;
        let host = Self::load_of(datastore, name, &listed)?;
        let others = listed.iter().filter_map(|listed| listed.as_str()?.parse().ok());
        let others: Vec<HostName> = others.filter(|other| other != name).collect();
        let entries = parallel::map(&others, AT_ONCE, |other| Self::load_listed(datastore, other));
        for other in entries {
            match other {
                Ok(other) => {
                    if let Some(what) = host.shared(&other) {
                        let (host, other) = (host.name, other.name);
                        return Err(InventoryError::Ambiguous { host, other, what });
                    }
                }
                Err(error @ InventoryError::Datastore(_)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(host)
    }

    /// What no two hosts may have, and these two have.
    fn shared(&self, other: &Self) -> Option<&'static str> {
        let cards = |same: fn(&Interface, &Interface) -> bool| {
            let mut all = self.interfaces.values();
            all.any(|own| other.interfaces.values().any(|card| same(own, card)))
        };
        let bmc = |host: &Self| host.bmc.as_ref().map(|bmc| (bmc.address.clone(), bmc.port));
        if self.fog_name == other.fog_name {
            Some("`fog_name`")
        } else if cards(|a, b| a.mac == b.mac) {
            Some("MAC address")
        } else if cards(|a, b| (&a.switch, &a.port) == (&b.switch, &b.port)) {
            Some("port of a switch")
        } else if bmc(self).is_some() && bmc(self) == bmc(other) {
            Some("BMC")
        } else {
            None
        }
    }

    /// The interface with this MAC.
    pub fn interface(&self, mac: &Mac) -> Option<&Interface> {
        self.interfaces.values().find(|i| i.mac == *mac)
    }

    /// The operating system that the inventory says an image holds: `ubuntu`, `centos` or `suse`.
    pub fn image_os(&self, image: u64) -> Option<&'static str> {
        let known = [
            ("ubuntu", self.ubuntu_image),
            ("centos", self.centos_image),
            ("suse", self.suse_image),
        ];
        known.iter().find(|(_, id)| *id == Some(image)).map(|(os, _)| *os)
    }

    /// Where to look for the host when it is on one of `vlans`: reserved addresses first, then its `hostname`.
    pub fn addresses_on(&self, vlans: &[VlanId]) -> Vec<String> {
        let reserved = vlans
            .iter()
            .filter_map(|v| self.addresses.get(&v.to_string()).cloned());
        let mut found: Vec<String> = reserved.collect();
        if found.is_empty() {
            found.push(self.hostname.clone());
        }
        found
    }
}

/// The names of all hosts of the lab.
///
/// # Errors
/// The key `hosts` is missing or malformed, or the datastore can't be read.
pub fn names(datastore: &Datastore) -> Result<Vec<HostName>, InventoryError> {
    parse(HOSTS, &list(datastore)?, true)
}

/// As [`names`], whatever they are: that one of them is no name is for those to say who want them all.
fn listed(datastore: &Datastore) -> Result<Vec<Value>, InventoryError> {
    parse(HOSTS, &list(datastore)?, true)
}

/// The list of all hosts. A name in it that is the key of something else concerns every host, since the work on one of
/// the others would overwrite its entry.
fn list(datastore: &Datastore) -> Result<Secret, InventoryError> {
    let list = read(datastore, HOSTS)?;
    let names: Vec<Value> = parse(HOSTS, &list, true)?;
    match names.iter().filter_map(Value::as_str).find_map(keys::reserved) {
        Some(why) => Err(InventoryError::Reserved { why }),
        None => Ok(list),
    }
}

impl Switch {
    /// # Errors
    /// The key `switch_<address>` is missing or malformed, or the datastore can't be read.
    pub fn load(datastore: &Datastore, address: &str) -> Result<Self, InventoryError> {
        let key = format!("switch_{address}");
        parse(&key, &read(datastore, &key)?, false)
    }
}

impl JenkinsNode {
    /// `None` if the host has no key: it is no agent.
    ///
    /// # Errors
    /// The key is malformed, or the datastore can't be read.
    pub fn load(datastore: &Datastore, host: &HostName) -> Result<Option<Self>, InventoryError> {
        let key = format!("jenkins_{host}");
        let value = datastore.get(&key)?;
        value.map(|value| parse(&key, &value, false)).transpose()
    }
}

/// A key that must be there, such as a password.
///
/// # Errors
/// It is missing, or the datastore can't be read.
pub fn read(datastore: &Datastore, key: &str) -> Result<Secret, InventoryError> {
    datastore
        .get(key)?
        .ok_or_else(|| InventoryError::Missing { key: key.to_owned() })
}

fn parse<T: serde::de::DeserializeOwned>(
    key: &str,
    value: &Secret,
    quotable: bool,
) -> Result<T, InventoryError> {
    serde_json::from_str(value.expose()).map_err(|e| InventoryError::Malformed {
        key: key.to_owned(),
        line: e.line(),
        column: e.column(),
        source: quotable.then(|| NotQuoted(legible(&e.to_string(), LONGEST_WORDS))),
    })
}

/// The text, if it is a `T`.
fn checked<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse::<T>().map_err(serde::de::Error::custom)?;
    Ok(text)
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let addresses: BTreeMap<String, Address> = or_default(deserializer)?;
    let text = |(vlan, address): (String, Address)| (vlan, address.to_string());
    Ok(addresses.into_iter().map(text).collect())
}

/// `null` is as good as nothing.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn unnamed() -> HostName {
    "unnamed".parse().expect("a literal host name")
}

fn nxos() -> String {
    "nxos".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn host(name: &str) -> HostName {
        name.parse().unwrap()
    }

    #[test]
    fn the_example_loads() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hosts.json.example");
        let datastore = Datastore::file(path);
        for name in names(&datastore).unwrap() {
            let entry = Host::load(&datastore, &name).unwrap();
            let bmc = entry.bmc.as_ref().unwrap();
            assert_eq!((bmc.driver, entry.interfaces.len()), (BmcDriver::Ipmi, 2));
            let vlans = [VlanId::try_from(99).unwrap(), VlanId::try_from(11).unwrap()];
            assert_eq!(entry.addresses_on(&vlans).len(), 2);
            assert_eq!(
                (entry.image_os(17), entry.image_os(22)),
                (Some("ubuntu"), Some("centos"))
            );
        }
        let unlisted = Host::load(&datastore, &host("pod9")).unwrap_err();
        assert!(matches!(unlisted, InventoryError::Unlisted { .. }), "{unlisted}");
    }

    #[test]
    fn an_entry_written_for_the_pack_of_2019_loads() {
        let dir = tempfile::tempdir().unwrap();
        let datastore = Datastore::file(dir.path().join("hosts.json"));
        datastore.put("hosts", r#"["pod1"]"#).unwrap();
        let entry = r#"{"dashboard_id": 999, "fog_name": "vm-1.1", "hostname": "pod1", "ubuntu_image": 17,
            "centos_image": 22, "suse_image": 21, "interfaces": {"00:11:22:33:44:55": {"mac": "00:11:22:33:44:55",
            "bus": "0000:04:00.0", "switch": "10.10.10.10", "port": "Ethernet1/34", "name": "eno49"}}}"#;
        datastore.put("pod1", entry).unwrap();
        let loaded = Host::load(&datastore, &host("pod1")).unwrap();
        let mac = "00:11:22:33:44:55".parse().unwrap();
        assert_eq!(loaded.interface(&mac).unwrap().port, "Ethernet1/34");
        assert_eq!(loaded.addresses_on(&[]), ["pod1"]);
        assert!(loaded.bmc.is_none());
    }

    #[test]
    fn a_mistake_names_its_key_and_quotes_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let datastore = Datastore::file(dir.path().join("hosts.json"));
        datastore.put("hosts", r#"["pod1"]"#).unwrap();
        let missing = Host::load(&datastore, &host("pod1")).unwrap_err();
        assert_eq!(missing.to_string(), "the datastore has no key `pod1`");
        datastore.put("pod1", r#"{"fog_name": 7}"#).unwrap();
        let malformed = crate::failure::chain(&Host::load(&datastore, &host("pod1")).unwrap_err());
        assert!(
            malformed.contains("`pod1`") && malformed.contains("invalid type"),
            "{malformed}"
        );
        let secret = Secret::new(r#"{"user": "admin", "password": hunter2}"#);
        datastore.put_secret("switch_10.0.0.1", &secret).unwrap();
        let malformed = crate::failure::chain(&Switch::load(&datastore, "10.0.0.1").unwrap_err());
        assert!(
            malformed.contains("switch_10.0.0.1") && !malformed.contains("hunter2"),
            "{malformed}"
        );
    }
}
