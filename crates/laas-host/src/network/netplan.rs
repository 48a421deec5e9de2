//! Netplan: one file of ours, everything else in `/etc/netplan` set aside, `netplan generate` as the judge.

use super::{Dialect, File, Found, Interface, Judge};
use serde_yaml::{Mapping, Value};

const OURS: &str = "/etc/netplan/60-laas.yaml";

pub(super) const NETWORKD: Dialect = Dialect {
    name: "netplan",
    directories: &["/etc/netplan"],
    render: |interfaces| render("networkd", interfaces),
    // It reads no others.
    fights: |file: &Found| file.path.ends_with(".yaml"),
    judge: Some(Judge {
        tool: "netplan generate",
        script: "netplan generate",
    }),
};

pub(super) const NETWORK_MANAGER: Dialect = Dialect {
    name: "netplan for NetworkManager",
    render: |interfaces| render("NetworkManager", interfaces),
    ..NETWORKD
};

/// `set-name` is the name that the card has anyway: it makes older versions match by the name, too, without which a
/// VLAN interface would match by the MAC that it shares with its card.
fn render(renderer: &str, interfaces: &[Interface]) -> Vec<File> {
    let mut ethernets = Mapping::new();
    let mut vlans = Mapping::new();
    for (index, interface) in interfaces.iter().enumerate() {
        let name = interface.name.as_str();
        let mut ethernet = Mapping::new();
        let matched = Mapping::from_iter([(text("macaddress"), text(interface.mac.as_str()))]);
        ethernet.insert(text("match"), matched.into());
        ethernet.insert(text("set-name"), text(name));
        if interface.untagged.is_some() {
            ethernet.extend(dhcp(interface.untagged_is_default()));
        } else {
            ethernet.insert(text("dhcp4"), false.into());
            ethernet.insert(text("dhcp6"), false.into());
            ethernet.insert(text("link-local"), Value::Sequence(Vec::new()));
            ethernet.insert(text("optional"), true.into());
        }
        for vlan in interface.vlans(index) {
            let mut tagged = Mapping::from_iter([
                (text("id"), u64::from(vlan.id.get()).into()),
                (text("link"), text(name)),
            ]);
            tagged.extend(dhcp(vlan.default));
            vlans.insert(text(&vlan.name), tagged.into());
        }
        ethernets.insert(text(name), ethernet.into());
    }
    let mut network = Mapping::from_iter([
        (text("version"), 2.into()),
        (text("renderer"), text(renderer)),
        (text("ethernets"), ethernets.into()),
    ]);
    if !vlans.is_empty() {
        network.insert(text("vlans"), vlans.into());
    }
    let document = Mapping::from_iter([(text("network"), Value::from(network))]);
    let body = serde_yaml::to_string(&document).unwrap_or_default();
    vec![File::new(OURS, "0600", &body)]
}

fn dhcp(default: bool) -> Vec<(Value, Value)> {
    let mut settings = vec![(text("dhcp4"), true.into())];
    if !default {
        let overrides = Mapping::from_iter([
            (text("use-routes"), false.into()),
            (text("use-dns"), false.into()),
        ]);
        settings.push((text("dhcp4-overrides"), overrides.into()));
        settings.push((text("optional"), true.into()));
    }
    settings
}

fn text(value: &str) -> Value {
    Value::from(value)
}

#[cfg(test)]
mod tests {
    use super::super::situations;
    use super::*;

    #[test]
    fn every_situation() {
        insta::assert_snapshot!(situations::show(&NETWORKD), @r##"
======== the booking of the capture
---- 0600 /etc/netplan/60-laas.yaml
network:
  version: 2
  renderer: networkd
  ethernets:
    eno1:
      match:
        macaddress: 02:00:00:00:ab:01
      set-name: eno1
      dhcp4: true
    eno2:
      match:
        macaddress: 02:00:00:00:ab:02
      set-name: eno2
      dhcp4: true
      dhcp4-overrides:
        use-routes: false
        use-dns: false
      optional: true
    eno3:
      match:
        macaddress: 02:00:00:00:ab:03
      set-name: eno3
      dhcp4: false
      dhcp6: false
      link-local: []
      optional: true
  vlans:
    eno1.103:
      id: 103
      link: eno1
      dhcp4: true
      dhcp4-overrides:
        use-routes: false
        use-dns: false
      optional: true
    eno2.105:
      id: 105
      link: eno2
      dhcp4: true
      dhcp4-overrides:
        use-routes: false
        use-dns: false
      optional: true
    eno2.103:
      id: 103
      link: eno2
      dhcp4: true
      dhcp4-overrides:
        use-routes: false
        use-dns: false
      optional: true
======== a tagged default, and no untagged network
---- 0600 /etc/netplan/60-laas.yaml
network:
  version: 2
  renderer: networkd
  ethernets:
    eno1:
      match:
        macaddress: 02:00:00:00:ab:01
      set-name: eno1
      dhcp4: false
      dhcp6: false
      link-local: []
      optional: true
    eno2:
      match:
        macaddress: 02:00:00:00:ab:02
      set-name: eno2
      dhcp4: true
      dhcp4-overrides:
        use-routes: false
        use-dns: false
      optional: true
  vlans:
    eno1.11:
      id: 11
      link: eno1
      dhcp4: true
    eno1.103:
      id: 103
      link: eno1
      dhcp4: true
      dhcp4-overrides:
        use-routes: false
        use-dns: false
      optional: true
======== no default, and a name too long for VLANs
---- 0600 /etc/netplan/60-laas.yaml
network:
  version: 2
  renderer: networkd
  ethernets:
    enp130s0f1np1:
      match:
        macaddress: 02:00:00:00:ab:01
      set-name: enp130s0f1np1
      dhcp4: true
      dhcp4-overrides:
        use-routes: false
        use-dns: false
      optional: true
    eno2:
      match:
        macaddress: 02:00:00:00:ab:02
      set-name: eno2
      dhcp4: false
      dhcp6: false
      link-local: []
      optional: true
  vlans:
    nic0v103:
      id: 103
      link: enp130s0f1np1
      dhcp4: true
      dhcp4-overrides:
        use-routes: false
        use-dns: false
      optional: true
    eno2.103:
      id: 103
      link: eno2
      dhcp4: true
      dhcp4-overrides:
        use-routes: false
        use-dns: false
      optional: true
======== no network at all
---- 0600 /etc/netplan/60-laas.yaml
network:
  version: 2
  renderer: networkd
  ethernets:
    eno1:
      match:
        macaddress: 02:00:00:00:ab:01
      set-name: eno1
      dhcp4: false
      dhcp6: false
      link-local: []
      optional: true
    eno2:
      match:
        macaddress: 02:00:00:00:ab:02
      set-name: eno2
      dhcp4: false
      dhcp6: false
      link-local: []
      optional: true
"##);
    }

    /// The judge itself, and what it makes of it.
    #[test]
    fn netplan_takes_it() {
        for (what, interfaces) in situations::all() {
            let root = generated("networkd", &interfaces);
            let read = |name: String| read(root.path(), &format!("systemd/network/10-netplan-{name}"));
            for (index, interface) in interfaces.iter().enumerate() {
                let name = interface.name.as_str();
                let card = read(format!("{name}.network"));
                let matched = format!("PermanentMACAddress={}\nName={name}\n", interface.mac);
                assert!(card.contains(&matched), "{what}: {card}");
                let asks = card.contains("DHCP=ipv4");
                assert_eq!(asks, interface.untagged.is_some(), "{what}: {card}");
                for vlan in interface.vlans(index) {
                    let device = read(format!("{}.netdev", vlan.name));
                    assert!(device.contains(&format!("Id={}\n", vlan.id)), "{what}: {device}");
                    let network = read(format!("{}.network", vlan.name));
                    let is_default = !network.contains("UseRoutes=false");
                    assert_eq!(is_default, vlan.default, "{what}: {network}");
                }
            }
        }
    }

    #[test]
    fn netplan_takes_it_for_network_manager() {
        for (what, interfaces) in situations::all() {
            let root = generated("NetworkManager", &interfaces);
            let read = |name: &str| {
                let name = format!("NetworkManager/system-connections/netplan-{name}.nmconnection");
                read(root.path(), &name)
            };
            for (index, interface) in interfaces.iter().enumerate() {
                let name = interface.name.as_str();
                let card = read(name);
                assert!(
                    card.contains(&format!("interface-name={name}\n")),
                    "{what}: {card}"
                );
                let asks = card.contains("[ipv4]\nmethod=auto");
                assert_eq!(asks, interface.untagged.is_some(), "{what}: {card}");
                for vlan in interface.vlans(index) {
                    let device = read(&vlan.name);
                    let uuid = card.lines().find_map(|line| line.strip_prefix("uuid=")).unwrap();
                    let made = format!("[vlan]\nid={}\nparent={uuid}\n", vlan.id);
                    assert!(device.contains(&made), "{what}: {device}");
                    let is_default = !device.contains("never-default=true");
                    assert_eq!(is_default, vlan.default, "{what}: {device}");
                }
            }
        }
    }

    /// A directory with our file and what netplan, without a word, makes of it.
    fn generated(renderer: &str, interfaces: &[Interface]) -> tempfile::TempDir {
        let root = situations::on_disk(&render(renderer, interfaces));
        let output = std::process::Command::new("netplan")
            .args(["generate", "--root-dir"])
            .arg(root.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
        root
    }

    fn read(root: &std::path::Path, name: &str) -> String {
        let path = root.join("run").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}
