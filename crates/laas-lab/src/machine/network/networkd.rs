//! systemd-networkd's files, as netplan generates them (systemd.network(5),
//! systemd.netdev(5), systemd.link(5)).

use std::collections::BTreeMap;

use super::{Link, Method, Unit, unit, value, values};
use crate::inventory::Nic;

/// The links of these files: the cards that a `.network` matches, and the
/// VLANs on top of them.
pub fn links(files: &BTreeMap<String, String>, nics: &[Nic]) -> Vec<Link> {
    let with = |suffix: &str| -> Vec<Unit> {
        let files = files.iter().filter(|(name, _)| name.ends_with(suffix));
        files.map(|(_, text)| unit(text)).collect()
    };
    let (renames, devices, networks) = (with(".link"), with(".netdev"), with(".network"));
    let mut links = Vec::new();
    for (card, nic) in nics.iter().enumerate() {
        let rename = renames.iter().find(|unit| matches(unit, nic, &nic.name));
        let name = rename
            .and_then(|unit| value(unit, "Link", "Name"))
            .unwrap_or(&nic.name);
        let Some(network) = networks.iter().find(|unit| matches(unit, nic, name)) else {
            continue;
        };
        links.push(link(name, card, None, network));
        for bridge in values(network, "Network", "Bridge") {
            if let Some(network) = networks.iter().find(|unit| is_for(unit, bridge)) {
                links.push(link(bridge, card, None, network));
            }
        }
        for vlan in values(network, "Network", "VLAN") {
            let device = devices
                .iter()
                .find(|unit| value(unit, "NetDev", "Name") == Some(vlan));
            let tag = device.and_then(|unit| value(unit, "VLAN", "Id")?.parse().ok());
            let network = networks.iter().find(|unit| is_for(unit, vlan));
            if let (Some(tag), Some(network)) = (tag, network) {
                links.push(link(vlan, card, Some(tag), network));
            }
        }
    }
    links
}

fn link(name: &str, card: usize, tag: Option<u16>, network: &Unit) -> Link {
    let dhcp = value(network, "Network", "DHCP")
        .is_some_and(|dhcp| matches!(dhcp, "ipv4" | "yes" | "true" | "on" | "1"));
    let addresses = ["Network", "Address"]
        .into_iter()
        .flat_map(|section| values(network, section, "Address"))
        .filter_map(|address| address.split('/').next()?.parse().ok());
    let methods = dhcp.then_some(Method::Dhcp).into_iter();
    Link {
        name: name.to_owned(),
        card,
        tag,
        methods: methods.chain(addresses.map(Method::Static)).collect(),
    }
}

/// Whether the `[Match]` section means this card under this name. A section
/// without a condition the lab knows matches nothing.
fn matches(unit: &Unit, nic: &Nic, name: &str) -> bool {
    let mut known = false;
    let all = unit
        .iter()
        .filter(|(section, ..)| section == "Match")
        .all(|(_, key, wanted)| {
            let mut wanted = wanted.split_whitespace();
            let hit = match key.as_str() {
                "MACAddress" | "PermanentMACAddress" => wanted.any(|mac| mac.eq_ignore_ascii_case(&nic.mac)),
                "Name" => wanted.any(|pattern| glob(pattern, name)),
                "OriginalName" => wanted.any(|pattern| glob(pattern, &nic.name)),
                "Type" => wanted.next().is_some_and(|first| match first.strip_prefix('!') {
                    Some(first) => first != "ether" && wanted.all(|kind| kind != "ether"),
                    None => first == "ether" || wanted.any(|kind| kind == "ether"),
                }),
                _ => false,
            };
            known |= hit;
            hit
        });
    known && all
}

/// Whether the `[Match]` section means the virtual device of this name.
fn is_for(unit: &Unit, name: &str) -> bool {
    values(unit, "Match", "Name")
        .any(|patterns| patterns.split_whitespace().any(|pattern| glob(pattern, name)))
}

/// Shell patterns with `*` and `?`, which is what netplan writes.
fn glob(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .any(|at| glob(rest.as_str(), &text[at..])),
        Some(first) => {
            let mut characters = text.chars();
            characters
                .next()
                .is_some_and(|character| first == '?' || first == character)
                && glob(rest.as_str(), characters.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::HostSpec;
    use std::net::Ipv4Addr;

    #[test]
    fn cards_are_matched_renamed_and_given_vlans() {
        // As netplan 0.106 writes them.
        let files = [
            (
                "10-netplan-ens1.link",
                "[Match]\nPermanentMACAddress=02:00:00:00:01:01\n\n[Link]\nName=ens1\n",
            ),
            (
                "10-netplan-ens1.network",
                "[Match]\nPermanentMACAddress=02:00:00:00:01:01\nName=ens1\n\n[Network]\nDHCP=ipv4\nVLAN=vlan11\nVLAN=none\n",
            ),
            (
                "10-netplan-eno2.network",
                "[Match]\nName=en?2\nType=!vlan bridge\n\n[Network]\nAddress=127.128.12.1/24\n",
            ),
            (
                "10-netplan-eno3.network",
                "[Match]\nOriginalName=eno3\nType=ether\n\n[Network]\nBridge=br0\n",
            ),
            (
                "10-netplan-br0.network",
                "[Match]\nName=br0\n\n[Network]\nDHCP=ipv4\n",
            ),
            (
                "10-netplan-vlan11.netdev",
                "[NetDev]\nName=vlan11\nKind=vlan\n\n[VLAN]\nId=11\n",
            ),
            (
                "10-netplan-vlan11.network",
                "[Match]\nName=vlan11\n\n[Network]\nDHCP=yes\n",
            ),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let found = links(&BTreeMap::from(files), &HostSpec::numbered(1).nics);
        let link = |name: &str, card, tag, methods: &[Method]| Link {
            name: name.into(),
            card,
            tag,
            methods: methods.to_vec(),
        };
        assert_eq!(
            found,
            [
                link("ens1", 0, None, &[Method::Dhcp]),
                link("vlan11", 0, Some(11), &[Method::Dhcp]),
                link("eno2", 1, None, &[Method::Static(Ipv4Addr::new(127, 128, 12, 1))]),
                link("eno3", 2, None, &[]),
                link("br0", 2, None, &[Method::Dhcp]),
            ]
        );
    }

    #[test]
    fn nonsense_configures_nothing() {
        for text in ["", "[Match", "=\n=", "[Match]\n[Network]\nDHCP=yes", "\0"] {
            let files = BTreeMap::from([("1.network".to_owned(), text.to_owned())]);
            assert_eq!(links(&files, &HostSpec::numbered(1).nics), [], "{text:?}");
        }
    }
}
