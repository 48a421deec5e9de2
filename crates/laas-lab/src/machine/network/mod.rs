//! What a host's operating system makes of its network configuration: which
//! card gets which address, untagged or on a VLAN.

mod networkd;
mod sysconfig;

use std::collections::BTreeMap;
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

/// The links that the operating system below `root` sets up, by the
/// configuration of its own kind. `run` is its `/run`.
pub fn links(root: &Path, run: &Path, os: &str, nics: &[Nic]) -> Vec<Link> {
    match os {
        "centos" | "rhel" | "fedora" | "rocky" | "almalinux" => sysconfig::links(
            &sysconfig::Family::RedHat,
            &ini_like(&[root.join("etc/sysconfig/network-scripts")], "ifcfg-"),
            nics,
        ),
        _ if os.contains("suse") || os == "sles" => sysconfig::links(
            &sysconfig::Family::Suse,
            &ini_like(&[root.join("etc/sysconfig/network")], "ifcfg-"),
            nics,
        ),
        _ => networkd::links(
            &ini_like(
                &[root.join("etc/systemd/network"), run.join("systemd/network")],
                "",
            ),
            nics,
        ),
    }
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
