//! What a host's operating system makes of its network configuration: which
//! card gets which address, untagged or on a VLAN.

mod ifupdown;
mod keyfile;
mod networkd;
pub mod stock;
mod sysconfig;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::cabling::MANAGEMENT_VLAN;
use crate::inventory::Nic;

/// How a link comes by its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It asks, and keeps asking until somebody answers.
    Dhcp,
    /// It was told.
    Static(Ipv4Addr),
}

/// A network interface of a running host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The interface's name, e.g. `eno1` or `vlan103`.
    pub name: String,
    /// Which of the host's cards its frames pass, counted from 0.
    pub card: usize,
    /// The VLAN id of tagged frames; `None`: untagged.
    pub tag: Option<u16>,
    /// Where its addresses come from; empty for a link that is up without.
    pub methods: Vec<Method>,
}

/// The links that the services of the operating system below `root` set up,
/// each by files of its own. `run` is its `/run`.
pub fn links(root: &Path, run: &Path, nics: &[Nic]) -> Vec<Link> {
    let enabled = |service: &str| is_enabled(root, service);
    let ifcfg = |directory: &str| ini_like(&[root.join("etc/sysconfig").join(directory)], "ifcfg-");
    let mut links = Vec::new();
    // What netplan generates, networkd reads without being enabled.
    let networkd = [root.join("etc/systemd/network"), run.join("systemd/network")];
    if enabled("systemd-networkd") || networkd[1].is_dir() {
        links.extend(networkd::links(&ini_like(&networkd, ""), nics));
    }
    if enabled("wicked") {
        links.extend(sysconfig::links(
            &sysconfig::Family::Suse,
            &ifcfg("network"),
            nics,
        ));
    }
    if enabled("network") || enabled("NetworkManager") {
        let files = ifcfg("network-scripts");
        links.extend(sysconfig::links(&sysconfig::Family::RedHat, &files, nics));
    }
    if enabled("NetworkManager") {
        let connections = "NetworkManager/system-connections";
        let directories = [root.join("etc").join(connections), run.join(connections)];
        links.extend(keyfile::links(&keyfile::read(&directories), nics));
    }
    if enabled("networking") {
        links.extend(ifupdown::links(root, nics));
    }
    // Two services may both look after a card, which has one set of addresses all the same.
    let mut seen = BTreeSet::new();
    links.retain(|link| seen.insert((link.card, link.tag)));
    links
}

/// Whether systemd, or a runlevel of System V, starts the service at boot.
fn is_enabled(root: &Path, service: &str) -> bool {
    let entries = |directory: &str| fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
    let unit = format!("{service}.service");
    let wanted = |directory: fs::DirEntry| directory.path().join(&unit).symlink_metadata().is_ok();
    let runlevel = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.strip_prefix('S').and_then(|name| name.get(2..)) == Some(service)
    };
    entries("etc/systemd/system").any(wanted) || entries("etc/rc.d/rc3.d").any(runlevel)
}

/// The VLAN whose network an address belongs to, by the lab's addressing;
/// `None` for an address that no network of the lab routes.
pub fn vlan_of(address: Ipv4Addr) -> Option<u16> {
    match address.octets() {
        [127, 99, 0, _] => Some(MANAGEMENT_VLAN),
        [127, high @ 128..=143, low, _] => Some(u16::from_be_bytes([high - 128, low])),
        _ => None,
    }
}

/// `(section, key, value)` of a file of the kind that systemd and GLib read, in
/// order.
type Unit = Vec<(String, String, String)>;

fn unit(text: &str) -> Unit {
    let mut section = String::new();
    let mut entries = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.split_once('=')
            && !line.starts_with(['#', ';'])
        {
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            entries.push((section.clone(), key, value));
        }
    }
    entries
}

/// The last value of a key.
fn value<'a>(unit: &'a Unit, section: &str, key: &str) -> Option<&'a str> {
    values(unit, section, key).last()
}

fn values<'a>(unit: &'a Unit, section: &str, key: &str) -> impl Iterator<Item = &'a str> {
    unit.iter()
        .filter(move |(at, name, _)| at == section && name == key)
        .map(|(.., value)| value.as_str())
}

/// The files of the directories whose names start with `prefix`, by name; a
/// name of an earlier directory hides the same one of a later.
fn ini_like(directories: &[PathBuf], prefix: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for directory in directories {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // A file that cannot be read configures nothing.
            if name.starts_with(prefix)
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                files.entry(name).or_insert(text);
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cabling::host_address;

    #[test]
    fn an_address_tells_its_vlan() {
        for vlan in [1, 11, 99, 256, 999, 4094] {
            assert_eq!(vlan_of(host_address(vlan, 7)), Some(vlan));
        }
        assert_eq!(vlan_of(Ipv4Addr::new(10, 0, 0, 1)), None);
    }
}
