//! What is seen on a host before anything is written to it: how it configures its network, and its cards.

use super::{Family, Interface, NetworkError};
use crate::ssh::Session;
use crate::system::Os;
use laas_core::Mac;
use laas_core::names::InterfaceName;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen.
#[derive(Debug, Default)]
pub struct Evidence {
    os: Os,
    facts: BTreeSet<String>,
    /// The system's names of its cards.
    cards: BTreeMap<Mac, InterfaceName>,
}

/// A way to configure a network.
struct Way {
    family: Family,
    /// What says that it is in charge, in words.
    why: &'static str,
    in_charge: bool,
    /// Whether it has configuration of a card already.
    configured: bool,
}

/// Prints one fact per line. An interface on top of others (VLAN, bridge, bond) bears the MAC of one of them and is no
/// card; a card in a bond shows its own MAC elsewhere.
const LOOK: &str = r#"
for unit in systemd-networkd NetworkManager networking network wicked; do
  systemctl is-enabled "$unit.service" >/dev/null 2>&1 && echo "enabled $unit"
done
command -v netplan >/dev/null && [ -d /etc/netplan ] && echo 'has netplan'
holds() { for file; do [ -e "$file" ] && [ "${file##*/}" != ifcfg-lo ] && return 0; done; return 1; }
holds /etc/netplan/*.yaml && echo 'files netplan'
grep -qsE '^ {0,4}renderer: *"?NetworkManager' /etc/netplan/*.yaml /usr/lib/netplan/*.yaml /lib/netplan/*.yaml && echo 'netplan for NetworkManager'
[ -d /etc/sysconfig/network-scripts ] && echo 'has network-scripts'
holds /etc/sysconfig/network-scripts/ifcfg-* && echo 'files network-scripts'
holds /etc/sysconfig/network/ifcfg-* && echo 'files wicked'
grep -hsE '^[[:space:]]*iface[[:space:]]' /etc/network/interfaces /etc/network/interfaces.d/* | grep -qvE 'iface[[:space:]]+lo[[:space:]]' && echo 'files ifupdown'
holds /etc/NetworkManager/system-connections/* && echo 'files NetworkManager'
holds /etc/systemd/network/*.network && echo 'files systemd-networkd'
for card in /sys/class/net/*; do
  [ -r "$card/address" ] || continue
  for below in "$card"/lower_*; do [ -e "$below" ] && continue 2; done
  address=$card/address
  [ -r "$card/bonding_slave/perm_hwaddr" ] && address=$card/bonding_slave/perm_hwaddr
  printf 'card %s %s\n' "$(cat "$address")" "${card##*/}"
done
exit 0
"#;

impl Evidence {
    /// # Errors
    /// The connection broke.
    pub fn read(session: &Session) -> Result<Self, NetworkError> {
        let os = Os::read(session)?;
        Ok(Self::parse(os, &session.run(&["sh", "-c", LOOK])?))
    }

    fn parse(os: Os, text: &str) -> Self {
        let mut evidence = Self {
            os,
            ..Self::default()
        };
        for line in text.lines() {
            if let Some((mac, name)) = line.strip_prefix("card ").and_then(|c| c.split_once(' ')) {
                // The loopback interface and tunnels have no MAC; a card of a name that no file takes isn't there.
                if let (Ok(mac), Ok(name)) = (mac.parse(), name.parse::<InterfaceName>())
                    && name.as_str() != "lo"
                {
                    evidence.cards.entry(mac).or_insert(name);
                }
            } else {
                evidence.facts.insert(line.to_owned());
            }
        }
        evidence
    }

    fn saw(&self, fact: &str) -> bool {
        self.facts.contains(fact)
    }

    /// The first of the ways that are in charge and have configuration, else the first that is in charge: a host may
    /// have several installed. The second is why, in words.
    ///
    /// # Errors
    /// There is none that is known.
    pub fn family(&self) -> Result<(Family, String), NetworkError> {
        let netplan = if self.saw("netplan for NetworkManager") && self.saw("enabled NetworkManager") {
            Family::NetplanNetworkManager
        } else {
            Family::Netplan
        };
        // NetworkManager has a plugin for Red Hat's files, which is known by their being there.
        let scripts = self.saw("files network-scripts");
        let ways = [
            Way {
                family: netplan,
                why: "`netplan` is installed",
                in_charge: self.saw("has netplan"),
                configured: self.saw("files netplan"),
            },
            Way {
                family: Family::Wicked,
                why: "`wicked.service` is enabled",
                in_charge: self.saw("enabled wicked"),
                configured: self.saw("files wicked"),
            },
            Way {
                family: Family::NetworkScripts,
                why: "`network.service` or NetworkManager reads `/etc/sysconfig/network-scripts`",
                in_charge: self.saw("has network-scripts")
                    && (self.saw("enabled network") || self.saw("enabled NetworkManager") && scripts),
                configured: scripts,
            },
            Way {
                family: Family::Ifupdown,
                why: "`networking.service` is enabled",
                in_charge: self.saw("enabled networking"),
                configured: self.saw("files ifupdown"),
            },
            Way {
                family: Family::NetworkManager,
                why: "`NetworkManager.service` is enabled",
                in_charge: self.saw("enabled NetworkManager"),
                configured: self.saw("files NetworkManager"),
            },
            Way {
                family: Family::Networkd,
                why: "`systemd-networkd.service` is enabled",
                in_charge: self.saw("enabled systemd-networkd"),
                configured: self.saw("files systemd-networkd"),
            },
        ];
        let in_charge = || ways.iter().filter(|way| way.in_charge);
        if let Some(Way { family, why, .. }) = in_charge().find(|way| way.configured) {
            return Ok((*family, format!("{why} and has configuration")));
        }
        if let Some(Way { family, why, .. }) = in_charge().next() {
            return Ok((*family, format!("{why}, and nothing has configuration")));
        }
        let facts: Vec<_> = self.facts.iter().map(String::as_str).collect();
        let seen = match facts.as_slice() {
            [] => "no service that does is enabled".to_owned(),
            facts => format!("seen: {}", facts.join(", ")),
        };
        let os = format!("{} {}", self.os.id, self.os.version).trim().to_owned();
        Err(NetworkError::UnknownSystem { os, seen })
    }

    /// The interfaces by the names that the system gives to their cards. A card that isn't there and is to carry
    /// nothing needs no configuration.
    ///
    /// # Errors
    /// A card that is to carry something isn't there, or two have one name.
    pub fn place(&self, interfaces: &[Interface]) -> Result<Vec<Interface>, NetworkError> {
        let mut placed: Vec<Interface> = Vec::new();
        for interface in interfaces {
            let mut interface = interface.clone();
            match self.cards.get(&interface.mac) {
                Some(name) => interface.name = name.clone(),
                // Without sysfs there is only the inventory's word.
                None if self.cards.is_empty() => {}
                None if interface.carries_nothing() => continue,
                None => {
                    let present = self.cards.iter().map(|(mac, name)| format!("`{mac}` ({name})"));
                    return Err(NetworkError::NoCard {
                        mac: interface.mac,
                        present: present.collect::<Vec<_>>().join(", "),
                    });
                }
            }
            if placed.iter().any(|other| other.name == interface.name) {
                return Err(NetworkError::SameName { name: interface.name });
            }
            placed.push(interface);
        }
        Ok(placed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_says_which_way() {
        let cases = [
            // Ubuntu with ifupdown left over, and the other way round.
            (
                "has netplan\nfiles netplan\nenabled networking\nenabled systemd-networkd",
                Some(Family::Netplan),
            ),
            (
                "has netplan\nenabled networking\nfiles ifupdown",
                Some(Family::Ifupdown),
            ),
            (
                "has netplan\nfiles netplan\nnetplan for NetworkManager\nenabled NetworkManager",
                Some(Family::NetplanNetworkManager),
            ),
            (
                "has netplan\nfiles netplan\nnetplan for NetworkManager\nenabled systemd-networkd",
                Some(Family::Netplan),
            ),
            ("has netplan", Some(Family::Netplan)),
            // CentOS 7, Rocky 8, Rocky 9.
            (
                "enabled network\nenabled NetworkManager\nhas network-scripts\nfiles network-scripts",
                Some(Family::NetworkScripts),
            ),
            (
                "enabled NetworkManager\nhas network-scripts\nfiles network-scripts",
                Some(Family::NetworkScripts),
            ),
            (
                "enabled NetworkManager\nhas network-scripts\nfiles NetworkManager",
                Some(Family::NetworkManager),
            ),
            // SUSE calls wicked by another name, too.
            (
                "enabled wicked\nenabled network\nfiles wicked",
                Some(Family::Wicked),
            ),
            (
                "enabled NetworkManager\nfiles wicked",
                Some(Family::NetworkManager),
            ),
            // Debian: servers, desktops, and those that were moved to networkd.
            ("enabled networking\nfiles ifupdown", Some(Family::Ifupdown)),
            (
                "enabled networking\nenabled NetworkManager\nfiles NetworkManager",
                Some(Family::NetworkManager),
            ),
            (
                "enabled networking\nenabled systemd-networkd\nfiles systemd-networkd",
                Some(Family::Networkd),
            ),
            ("enabled systemd-networkd", Some(Family::Networkd)),
            // Files without anybody who reads them.
            (
                "files netplan\nfiles ifupdown\nhas network-scripts\nfiles network-scripts",
                None,
            ),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = Evidence::parse(Os::default(), text).family();
            assert_eq!(
                found.as_ref().ok().map(|(family, _)| *family),
                expected,
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn cards_are_found_by_their_mac() {
        let text = "card 02:00:00:00:AB:01 ens3\ncard 02:00:00:00:ab:02 ens4\ncard 00:00:00:00:00:00 lo\n\
                    card 02:00:00:00:ab:03 $(reboot)\n";
        let evidence = Evidence::parse(Os::default(), text);
        let (_, interfaces) = super::super::situations::all().remove(0);
        let placed = evidence.place(&interfaces).unwrap();
        let names: Vec<_> = placed.iter().map(|interface| interface.name.as_str()).collect();
        assert_eq!(
            names,
            ["ens3", "ens4"],
            "what carries nothing and isn't there needs nothing"
        );
        let mut asked = interfaces.clone();
        asked[2].untagged = asked[0].untagged;
        let missing = evidence.place(&asked).unwrap_err();
        assert!(missing.to_string().contains("02:00:00:00:ab:03"), "{missing}");
        asked[1].name = asked[0].name.clone();
        let same = Evidence::default().place(&asked).unwrap_err();
        assert!(matches!(same, NetworkError::SameName { .. }), "{same}");
    }
}
