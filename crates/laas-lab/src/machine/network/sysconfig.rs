//! `ifcfg-*` files of Red Hat's network-scripts and of SUSE's wicked.

use std::collections::BTreeMap;

use super::{Link, Method};
use crate::inventory::Nic;

/// The two dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `/etc/sysconfig/network-scripts`: a file is of the device it names.
    RedHat,
    /// `/etc/sysconfig/network`, ifcfg(5): a file is of the device whose name
    /// it bears.
    Suse,
}

/// The links of these files.
pub fn links(family: &Family, files: &BTreeMap<String, String>, nics: &[Nic]) -> Vec<Link> {
    let mut links = Vec::new();
    for (file, text) in files {
        let settings = settings(text);
        let get = |key: &str| settings.get(key).map(String::as_str);
        let name = match family {
            Family::RedHat => get("DEVICE").or(get("NAME")),
            Family::Suse => None,
        };
        let name = name.unwrap_or(file.trim_start_matches("ifcfg-"));
        let started = match family {
            Family::RedHat => get("ONBOOT").is_none_or(|value| value == "yes"),
            Family::Suse => {
                get("STARTMODE").is_some_and(|mode| matches!(mode, "auto" | "boot" | "onboot" | "hotplug"))
            }
        };
        // Editors' leavings, which neither system reads.
        let stale = [".bak", ".orig", ".rpmsave", ".rpmnew", "~"];
        if !started || stale.iter().any(|suffix| file.ends_with(suffix)) {
            continue;
        }
        let of_name = name.rsplit_once('.');
        let parent = match family {
            Family::RedHat if get("VLAN") == Some("yes") => {
                get("PHYSDEV").or(of_name.map(|(parent, _)| parent))
            }
            Family::RedHat => None,
            Family::Suse => get("ETHERDEVICE"),
        };
        let id = match family {
            Family::RedHat => get("VID"),
            Family::Suse => get("VLAN_ID"),
        };
        let tag = parent.and_then(|_| {
            let digits = name.trim_start_matches(|character: char| !character.is_ascii_digit());
            id.unwrap_or(of_name.map_or(digits, |(_, id)| id)).parse().ok()
        });
        let device = parent.unwrap_or(name);
        // SUSE's LLADDR sets an address and selects no card.
        let hardware = get("HWADDR").filter(|_| *family == Family::RedHat);
        let card = nics.iter().position(|nic| match hardware {
            Some(mac) if parent.is_none() => nic.mac.eq_ignore_ascii_case(mac),
            _ => nic.name == device,
        });
        let (Some(card), true) = (card, parent.is_none() || tag.is_some()) else {
            continue;
        };
        let dhcp = get("BOOTPROTO").is_some_and(|value| matches!(value, "dhcp" | "dhcp4"));
        let address = get("IPADDR").and_then(|value| value.split('/').next()?.parse().ok());
        let methods = dhcp.then_some(Method::Dhcp).into_iter();
        links.push(Link {
            name: name.to_owned(),
            card,
            tag,
            methods: methods.chain(address.map(Method::Static)).collect(),
        });
    }
    links
}

/// `KEY=value` lines with the shell's quotes.
fn settings(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .filter(|(key, _)| !key.starts_with('#'))
        .map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::HostSpec;
    use std::net::Ipv4Addr;

    #[test]
    fn both_dialects_are_read() {
        let address = Method::Static(Ipv4Addr::new(127, 128, 11, 1));
        let cases = [
            (
                Family::RedHat,
                "ifcfg-any",
                "DEVICE=eno1\nONBOOT=yes\nBOOTPROTO=dhcp",
                Some(("eno1", 0, None, Method::Dhcp)),
            ),
            (
                Family::RedHat,
                "ifcfg-eno2.11",
                "DEVICE=eno2.11\nVLAN=yes\nBOOTPROTO=none\nIPADDR=\"127.128.11.1\"",
                Some(("eno2.11", 1, Some(11), address)),
            ),
            (
                Family::RedHat,
                "ifcfg-eno1",
                "DEVICE=eno1\nONBOOT=no\nBOOTPROTO=dhcp",
                None,
            ),
            (
                Family::Suse,
                "ifcfg-eno1",
                "STARTMODE='auto'\nBOOTPROTO='static'\nIPADDR='127.128.11.1/24'",
                Some(("eno1", 0, None, address)),
            ),
            (
                Family::Suse,
                "ifcfg-vlan11",
                "STARTMODE=auto\nETHERDEVICE=eno3\nBOOTPROTO=dhcp",
                Some(("vlan11", 2, Some(11), Method::Dhcp)),
            ),
            (Family::Suse, "ifcfg-eno1", "BOOTPROTO=dhcp", None),
            (Family::Suse, "ifcfg-lo", "STARTMODE=auto", None),
        ];
        for (family, file, text, expected) in cases {
            let files = BTreeMap::from([(file.to_owned(), text.to_owned())]);
            let expected = expected.map(|(name, card, tag, method)| Link {
                name: name.into(),
                card,
                tag,
                methods: vec![method],
            });
            assert_eq!(
                links(&family, &files, &HostSpec::numbered(1).nics).pop(),
                expected,
                "{file}: {text}"
            );
        }
    }
}
