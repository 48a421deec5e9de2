//! systemd-networkd alone: systemd.network(5) and systemd.netdev(5), a file per interface.

use super::{Dialect, File, Found, Interface};
use std::fmt::Write as _;

const DIRECTORY: &str = "/etc/systemd/network";

/// No tool of systemd's judges these files; networkd passes over lines that it doesn't know.
pub(super) const DIALECT: Dialect = Dialect {
    name: "systemd-networkd",
    directories: &[DIRECTORY],
    render,
    fights,
    judge: None,
};

/// `Type=ether` keeps a VLAN interface, which has its card's MAC, from being taken for the card.
fn render(interfaces: &[Interface]) -> Vec<File> {
    let file = |name: &str, body: &str| File::new(format!("{DIRECTORY}/10-laas-{name}"), "0644", body);
    let mut files = Vec::new();
    for (index, interface) in interfaces.iter().enumerate() {
        let mut body = format!("\n[Match]\nMACAddress={}\nType=ether\n", interface.mac);
        let quiet = "\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n";
        let (network, more) = match interface.untagged {
            Some(_) => dhcp(interface.untagged_is_default()),
            None => (quiet, "\n[Link]\nRequiredForOnline=no\n"),
        };
        body += network;
        for vlan in interface.vlans(index) {
            let _ = writeln!(body, "VLAN={}", vlan.name);
            let device = format!(
                "\n[NetDev]\nName={}\nKind=vlan\n\n[VLAN]\nId={}\n",
                vlan.name, vlan.id
            );
            files.push(file(&format!("{}.netdev", vlan.name), &device));
            let (network, more) = dhcp(vlan.default);
            let body = format!("\n[Match]\nName={}\n{network}{more}", vlan.name);
            files.push(file(&format!("{}.network", vlan.name), &body));
        }
        body += more;
        files.push(file(&format!("{}.network", interface.name), &body));
    }
    files
}

/// The section that VLANs are added to, and what follows it. The section `[DHCP]` is one that old versions know and
/// new ones still read.
fn dhcp(default: bool) -> (&'static str, &'static str) {
    let more = if default {
        ""
    } else {
        "\n[DHCP]\nUseRoutes=false\nUseDNS=false\n\n[Link]\nRequiredForOnline=no\n"
    };
    ("\n[Network]\nDHCP=ipv4\n", more)
}

/// `.link` files only name the cards.
fn fights(file: &Found) -> bool {
    file.path.ends_with(".network") || file.path.ends_with(".netdev")
}

#[cfg(test)]
mod tests {
    use super::super::situations;
    use super::*;

    #[test]
    fn every_situation() {
        insta::assert_snapshot!(situations::show(&DIALECT), @r##"
======== the booking of the capture
---- 0644 /etc/systemd/network/10-laas-eno1.103.netdev

[NetDev]
Name=eno1.103
Kind=vlan

[VLAN]
Id=103
---- 0644 /etc/systemd/network/10-laas-eno1.103.network

[Match]
Name=eno1.103

[Network]
DHCP=ipv4

[DHCP]
UseRoutes=false
UseDNS=false

[Link]
RequiredForOnline=no
---- 0644 /etc/systemd/network/10-laas-eno1.network

[Match]
MACAddress=02:00:00:00:ab:01
Type=ether

[Network]
DHCP=ipv4
VLAN=eno1.103
---- 0644 /etc/systemd/network/10-laas-eno2.105.netdev

[NetDev]
Name=eno2.105
Kind=vlan

[VLAN]
Id=105
---- 0644 /etc/systemd/network/10-laas-eno2.105.network

[Match]
Name=eno2.105

[Network]
DHCP=ipv4

[DHCP]
UseRoutes=false
UseDNS=false

[Link]
RequiredForOnline=no
---- 0644 /etc/systemd/network/10-laas-eno2.103.netdev

[NetDev]
Name=eno2.103
Kind=vlan

[VLAN]
Id=103
---- 0644 /etc/systemd/network/10-laas-eno2.103.network

[Match]
Name=eno2.103

[Network]
DHCP=ipv4

[DHCP]
UseRoutes=false
UseDNS=false

[Link]
RequiredForOnline=no
---- 0644 /etc/systemd/network/10-laas-eno2.network

[Match]
MACAddress=02:00:00:00:ab:02
Type=ether

[Network]
DHCP=ipv4
VLAN=eno2.105
VLAN=eno2.103

[DHCP]
UseRoutes=false
UseDNS=false

[Link]
RequiredForOnline=no
---- 0644 /etc/systemd/network/10-laas-eno3.network

[Match]
MACAddress=02:00:00:00:ab:03
Type=ether

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no

[Link]
RequiredForOnline=no
======== a tagged default, and no untagged network
---- 0644 /etc/systemd/network/10-laas-eno1.11.netdev

[NetDev]
Name=eno1.11
Kind=vlan

[VLAN]
Id=11
---- 0644 /etc/systemd/network/10-laas-eno1.11.network

[Match]
Name=eno1.11

[Network]
DHCP=ipv4
---- 0644 /etc/systemd/network/10-laas-eno1.103.netdev

[NetDev]
Name=eno1.103
Kind=vlan

[VLAN]
Id=103
---- 0644 /etc/systemd/network/10-laas-eno1.103.network

[Match]
Name=eno1.103

[Network]
DHCP=ipv4

[DHCP]
UseRoutes=false
UseDNS=false

[Link]
RequiredForOnline=no
---- 0644 /etc/systemd/network/10-laas-eno1.network

[Match]
MACAddress=02:00:00:00:ab:01
Type=ether

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no
VLAN=eno1.11
VLAN=eno1.103

[Link]
RequiredForOnline=no
---- 0644 /etc/systemd/network/10-laas-eno2.network

[Match]
MACAddress=02:00:00:00:ab:02
Type=ether

[Network]
DHCP=ipv4

[DHCP]
UseRoutes=false
UseDNS=false

[Link]
RequiredForOnline=no
======== no default, and a name too long for VLANs
---- 0644 /etc/systemd/network/10-laas-nic0v103.netdev

[NetDev]
Name=nic0v103
Kind=vlan

[VLAN]
Id=103
---- 0644 /etc/systemd/network/10-laas-nic0v103.network

[Match]
Name=nic0v103

[Network]
DHCP=ipv4

[DHCP]
UseRoutes=false
UseDNS=false

[Link]
RequiredForOnline=no
---- 0644 /etc/systemd/network/10-laas-enp130s0f1np1.network

[Match]
MACAddress=02:00:00:00:ab:01
Type=ether

[Network]
DHCP=ipv4
VLAN=nic0v103

[DHCP]
UseRoutes=false
UseDNS=false

[Link]
RequiredForOnline=no
---- 0644 /etc/systemd/network/10-laas-eno2.103.netdev

[NetDev]
Name=eno2.103
Kind=vlan

[VLAN]
Id=103
---- 0644 /etc/systemd/network/10-laas-eno2.103.network

[Match]
Name=eno2.103

[Network]
DHCP=ipv4

[DHCP]
UseRoutes=false
UseDNS=false

[Link]
RequiredForOnline=no
---- 0644 /etc/systemd/network/10-laas-eno2.network

[Match]
MACAddress=02:00:00:00:ab:02
Type=ether

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no
VLAN=eno2.103

[Link]
RequiredForOnline=no
======== no network at all
---- 0644 /etc/systemd/network/10-laas-eno1.network

[Match]
MACAddress=02:00:00:00:ab:01
Type=ether

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no

[Link]
RequiredForOnline=no
---- 0644 /etc/systemd/network/10-laas-eno2.network

[Match]
MACAddress=02:00:00:00:ab:02
Type=ether

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no

[Link]
RequiredForOnline=no
"##);
    }

    /// The daemon itself, in a network of its own: it reads all of it, and says of no line that it doesn't know it.
    #[test]
    fn networkd_reads_it() {
        let script = r#"
mount -t tmpfs none /run && mount --bind "$1" /etc/systemd/network
SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=debug /lib/systemd/systemd-networkd >/run/log 2>&1 &
for _ in $(seq 600); do grep -q 'Enumeration completed' /run/log && break; sleep 0.1; done
kill $!; cat /run/log"#;
        let read = |directory: &std::path::Path| {
            let output = std::process::Command::new("unshare")
                .args(["--net", "--mount", "bash", "-c", script, "bash"])
                .arg(directory)
                .output()
                .unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
        };
        for (what, interfaces) in situations::all() {
            let root = situations::on_disk(&render(&interfaces));
            let directory = root.path().join(&DIRECTORY[1..]);
            let log = read(&directory);
            assert!(log.contains("Enumeration completed"), "{what}: {log}");
            assert!(!log.contains("/etc/systemd/network/"), "{what}: {log}");
            for (index, interface) in interfaces.iter().enumerate() {
                for vlan in interface.vlans(index) {
                    assert!(
                        log.contains(&format!("{}: loaded \"vlan\"", vlan.name)),
                        "{what}: {log}"
                    );
                }
            }
            // It would have said so.
            let first = directory.join(format!("10-laas-{}.network", interfaces[0].name));
            let text = std::fs::read_to_string(&first).unwrap();
            std::fs::write(&first, text.replace("Type=", "Kinds=")).unwrap();
            let log = read(&directory);
            assert!(log.contains("Unknown key 'Kinds'"), "{what}: {log}");
        }
    }
}
