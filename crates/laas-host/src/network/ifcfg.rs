//! `ifcfg-*` files, of which there are two kinds: those of Red Hat's network-scripts, which NetworkManager reads, too,
//! and those of SUSE's wicked, ifcfg(5). Both are read as shells read variables.

use super::{Dialect, File, Found, Interface, Judge};

const REDHAT: &str = "/etc/sysconfig/network-scripts";
const SUSE: &str = "/etc/sysconfig/network";

/// No tool of either system judges files without using them, so that the shell is asked.
const SHELL: Option<Judge> = Some(Judge {
    tool: "bash -n",
    script: "for file; do case $file in */ifcfg-*) bash -n -- \"$file\" || exit 1 ;; esac; done",
});

pub(super) const NETWORK_SCRIPTS: Dialect = Dialect {
    name: "network-scripts",
    directories: &[REDHAT],
    render: network_scripts,
    fights: |file: &Found| fights(file, &["ifcfg-", "route-", "route6-", "rule-", "rule6-"]),
    judge: SHELL,
};

pub(super) const WICKED: Dialect = Dialect {
    name: "wicked",
    directories: &[SUSE],
    render: wicked,
    fights: |file: &Found| {
        fights(file, &["ifcfg-", "ifroute-", "ifrule-"])
            || (file.name() == "routes" && !file.content.trim().is_empty())
    },
    judge: SHELL,
};

/// `VID` and `PHYSDEV` are what the scripts read, `VLAN_ID` is NetworkManager's. A card that has another name than its
/// file says is renamed by `HWADDR`.
fn network_scripts(interfaces: &[Interface]) -> Vec<File> {
    let mut files = Vec::new();
    for (index, interface) in interfaces.iter().enumerate() {
        let (name, mac) = (&interface.name, &interface.mac);
        let start = if interface.carries_nothing() { "no" } else { "yes" };
        let addresses = match interface.untagged {
            Some(_) => scripts_dhcp(interface.untagged_is_default()),
            None => "BOOTPROTO=none\nIPV6INIT=no\n".to_owned(),
        };
        let body = format!("TYPE=Ethernet\nDEVICE={name}\nHWADDR={mac}\nONBOOT={start}\n{addresses}");
        files.push(ifcfg(REDHAT, name.as_str(), &body));
        for vlan in interface.vlans(index) {
            let id = vlan.id;
            let body = format!(
                "TYPE=Vlan\nDEVICE={}\nVLAN=yes\nPHYSDEV={name}\nVID={id}\nVLAN_ID={id}\nONBOOT=yes\n{}",
                vlan.name,
                scripts_dhcp(vlan.default)
            );
            files.push(ifcfg(REDHAT, &vlan.name, &body));
        }
    }
    files
}

fn scripts_dhcp(default: bool) -> String {
    let default = if default { "yes" } else { "no" };
    format!("BOOTPROTO=dhcp\nDEFROUTE={default}\nPEERDNS={default}\n")
}

/// wicked finds a card by its file's name alone. The name that the host was given must outlive the DHCP server's.
fn wicked(interfaces: &[Interface]) -> Vec<File> {
    let mut files = Vec::new();
    for (index, interface) in interfaces.iter().enumerate() {
        let name = &interface.name;
        let start = if interface.carries_nothing() {
            "off"
        } else {
            "auto"
        };
        let addresses = match interface.untagged {
            Some(_) => wicked_dhcp(interface.untagged_is_default()),
            None => "BOOTPROTO='none'\n".to_owned(),
        };
        files.push(ifcfg(
            SUSE,
            name.as_str(),
            &format!("STARTMODE='{start}'\n{addresses}"),
        ));
        for vlan in interface.vlans(index) {
            let body = format!(
                "STARTMODE='auto'\nETHERDEVICE='{name}'\nVLAN_ID='{}'\n{}",
                vlan.id,
                wicked_dhcp(vlan.default)
            );
            files.push(ifcfg(SUSE, &vlan.name, &body));
        }
    }
    files
}

fn wicked_dhcp(default: bool) -> String {
    let default = if default { "yes" } else { "no" };
    format!("BOOTPROTO='dhcp4'\nDHCLIENT_SET_DEFAULT_ROUTE='{default}'\nDHCLIENT_SET_HOSTNAME='no'\n")
}

fn ifcfg(directory: &str, name: &str, body: &str) -> File {
    File::new(format!("{directory}/ifcfg-{name}"), "0644", body)
}

/// The loopback interface's file stays, and what editors and packages leave behind is read by nobody.
fn fights(file: &Found, kinds: &[&str]) -> bool {
    let unread = [".bak", ".old", ".orig", ".rpmnew", ".rpmorig", ".rpmsave", "~"];
    let name = file.name();
    name != "ifcfg-lo"
        && kinds.iter().any(|kind| name.starts_with(kind))
        && !unread.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::super::situations;
    use super::*;
    use std::process::Command;

    #[test]
    fn every_situation_of_network_scripts() {
        insta::assert_snapshot!(situations::show(&NETWORK_SCRIPTS), @r##"
======== the booking of the capture
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno1
TYPE=Ethernet
DEVICE=eno1
HWADDR=02:00:00:00:ab:01
ONBOOT=yes
BOOTPROTO=dhcp
DEFROUTE=yes
PEERDNS=yes
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno1.103
TYPE=Vlan
DEVICE=eno1.103
VLAN=yes
PHYSDEV=eno1
VID=103
VLAN_ID=103
ONBOOT=yes
BOOTPROTO=dhcp
DEFROUTE=no
PEERDNS=no
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno2
TYPE=Ethernet
DEVICE=eno2
HWADDR=02:00:00:00:ab:02
ONBOOT=yes
BOOTPROTO=dhcp
DEFROUTE=no
PEERDNS=no
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno2.105
TYPE=Vlan
DEVICE=eno2.105
VLAN=yes
PHYSDEV=eno2
VID=105
VLAN_ID=105
ONBOOT=yes
BOOTPROTO=dhcp
DEFROUTE=no
PEERDNS=no
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno2.103
TYPE=Vlan
DEVICE=eno2.103
VLAN=yes
PHYSDEV=eno2
VID=103
VLAN_ID=103
ONBOOT=yes
BOOTPROTO=dhcp
DEFROUTE=no
PEERDNS=no
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno3
TYPE=Ethernet
DEVICE=eno3
HWADDR=02:00:00:00:ab:03
ONBOOT=no
BOOTPROTO=none
IPV6INIT=no
======== a tagged default, and no untagged network
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno1
TYPE=Ethernet
DEVICE=eno1
HWADDR=02:00:00:00:ab:01
ONBOOT=yes
BOOTPROTO=none
IPV6INIT=no
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno1.11
TYPE=Vlan
DEVICE=eno1.11
VLAN=yes
PHYSDEV=eno1
VID=11
VLAN_ID=11
ONBOOT=yes
BOOTPROTO=dhcp
DEFROUTE=yes
PEERDNS=yes
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno1.103
TYPE=Vlan
DEVICE=eno1.103
VLAN=yes
PHYSDEV=eno1
VID=103
VLAN_ID=103
ONBOOT=yes
BOOTPROTO=dhcp
DEFROUTE=no
PEERDNS=no
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno2
TYPE=Ethernet
DEVICE=eno2
HWADDR=02:00:00:00:ab:02
ONBOOT=yes
BOOTPROTO=dhcp
DEFROUTE=no
PEERDNS=no
======== no default, and a name too long for VLANs
---- 0644 /etc/sysconfig/network-scripts/ifcfg-enp130s0f1np1
TYPE=Ethernet
DEVICE=enp130s0f1np1
HWADDR=02:00:00:00:ab:01
ONBOOT=yes
BOOTPROTO=dhcp
DEFROUTE=no
PEERDNS=no
---- 0644 /etc/sysconfig/network-scripts/ifcfg-nic0v103
TYPE=Vlan
DEVICE=nic0v103
VLAN=yes
PHYSDEV=enp130s0f1np1
VID=103
VLAN_ID=103
ONBOOT=yes
BOOTPROTO=dhcp
DEFROUTE=no
PEERDNS=no
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno2
TYPE=Ethernet
DEVICE=eno2
HWADDR=02:00:00:00:ab:02
ONBOOT=yes
BOOTPROTO=none
IPV6INIT=no
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno2.103
TYPE=Vlan
DEVICE=eno2.103
VLAN=yes
PHYSDEV=eno2
VID=103
VLAN_ID=103
ONBOOT=yes
BOOTPROTO=dhcp
DEFROUTE=no
PEERDNS=no
======== no network at all
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno1
TYPE=Ethernet
DEVICE=eno1
HWADDR=02:00:00:00:ab:01
ONBOOT=no
BOOTPROTO=none
IPV6INIT=no
---- 0644 /etc/sysconfig/network-scripts/ifcfg-eno2
TYPE=Ethernet
DEVICE=eno2
HWADDR=02:00:00:00:ab:02
ONBOOT=no
BOOTPROTO=none
IPV6INIT=no
"##);
    }

    #[test]
    fn every_situation_of_wicked() {
        insta::assert_snapshot!(situations::show(&WICKED), @r##"
======== the booking of the capture
---- 0644 /etc/sysconfig/network/ifcfg-eno1
STARTMODE='auto'
BOOTPROTO='dhcp4'
DHCLIENT_SET_DEFAULT_ROUTE='yes'
DHCLIENT_SET_HOSTNAME='no'
---- 0644 /etc/sysconfig/network/ifcfg-eno1.103
STARTMODE='auto'
ETHERDEVICE='eno1'
VLAN_ID='103'
BOOTPROTO='dhcp4'
DHCLIENT_SET_DEFAULT_ROUTE='no'
DHCLIENT_SET_HOSTNAME='no'
---- 0644 /etc/sysconfig/network/ifcfg-eno2
STARTMODE='auto'
BOOTPROTO='dhcp4'
DHCLIENT_SET_DEFAULT_ROUTE='no'
DHCLIENT_SET_HOSTNAME='no'
---- 0644 /etc/sysconfig/network/ifcfg-eno2.105
STARTMODE='auto'
ETHERDEVICE='eno2'
VLAN_ID='105'
BOOTPROTO='dhcp4'
DHCLIENT_SET_DEFAULT_ROUTE='no'
DHCLIENT_SET_HOSTNAME='no'
---- 0644 /etc/sysconfig/network/ifcfg-eno2.103
STARTMODE='auto'
ETHERDEVICE='eno2'
VLAN_ID='103'
BOOTPROTO='dhcp4'
DHCLIENT_SET_DEFAULT_ROUTE='no'
DHCLIENT_SET_HOSTNAME='no'
---- 0644 /etc/sysconfig/network/ifcfg-eno3
STARTMODE='off'
BOOTPROTO='none'
======== a tagged default, and no untagged network
---- 0644 /etc/sysconfig/network/ifcfg-eno1
STARTMODE='auto'
BOOTPROTO='none'
---- 0644 /etc/sysconfig/network/ifcfg-eno1.11
STARTMODE='auto'
ETHERDEVICE='eno1'
VLAN_ID='11'
BOOTPROTO='dhcp4'
DHCLIENT_SET_DEFAULT_ROUTE='yes'
DHCLIENT_SET_HOSTNAME='no'
---- 0644 /etc/sysconfig/network/ifcfg-eno1.103
STARTMODE='auto'
ETHERDEVICE='eno1'
VLAN_ID='103'
BOOTPROTO='dhcp4'
DHCLIENT_SET_DEFAULT_ROUTE='no'
DHCLIENT_SET_HOSTNAME='no'
---- 0644 /etc/sysconfig/network/ifcfg-eno2
STARTMODE='auto'
BOOTPROTO='dhcp4'
DHCLIENT_SET_DEFAULT_ROUTE='no'
DHCLIENT_SET_HOSTNAME='no'
======== no default, and a name too long for VLANs
---- 0644 /etc/sysconfig/network/ifcfg-enp130s0f1np1
STARTMODE='auto'
BOOTPROTO='dhcp4'
DHCLIENT_SET_DEFAULT_ROUTE='no'
DHCLIENT_SET_HOSTNAME='no'
---- 0644 /etc/sysconfig/network/ifcfg-nic0v103
STARTMODE='auto'
ETHERDEVICE='enp130s0f1np1'
VLAN_ID='103'
BOOTPROTO='dhcp4'
DHCLIENT_SET_DEFAULT_ROUTE='no'
DHCLIENT_SET_HOSTNAME='no'
---- 0644 /etc/sysconfig/network/ifcfg-eno2
STARTMODE='auto'
BOOTPROTO='none'
---- 0644 /etc/sysconfig/network/ifcfg-eno2.103
STARTMODE='auto'
ETHERDEVICE='eno2'
VLAN_ID='103'
BOOTPROTO='dhcp4'
DHCLIENT_SET_DEFAULT_ROUTE='no'
DHCLIENT_SET_HOSTNAME='no'
======== no network at all
---- 0644 /etc/sysconfig/network/ifcfg-eno1
STARTMODE='off'
BOOTPROTO='none'
---- 0644 /etc/sysconfig/network/ifcfg-eno2
STARTMODE='off'
BOOTPROTO='none'
"##);
    }

    /// A strict shell takes each file, and has the variables that the lines say and no others.
    #[test]
    fn a_shell_takes_it() {
        for dialect in [NETWORK_SCRIPTS, WICKED] {
            for (what, interfaces) in situations::all() {
                let files = (dialect.render)(&interfaces);
                let root = situations::on_disk(&files);
                let judged = situations::judge(&dialect, &root, &files);
                assert_eq!(judged.status.code(), Some(0), "{what}: {judged:?}");
                for file in &files {
                    let mut wanted = String::new();
                    for line in file.content.lines().skip(1) {
                        let (name, value) = line.split_once('=').unwrap();
                        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
                        let bare = value.trim_matches('\'');
                        assert!(name.chars().chain(bare.chars()).all(plain), "{what}: {line}");
                        wanted += &format!("{name}={bare}\n");
                    }
                    // With nothing in the environment, each variable has the value that its line says.
                    let script = "set -eu; . \"$1\"; shift; for name; do echo \"$name=${!name}\"; done";
                    let names = wanted.lines().filter_map(|line| line.split('=').next());
                    let output = Command::new("env")
                        .args(["-i", "bash", "-c", script, "bash"])
                        .arg(root.path().join(&file.path[1..]))
                        .args(names)
                        .output()
                        .unwrap();
                    let said = String::from_utf8(output.stdout).unwrap();
                    assert_eq!(said, wanted, "{what}: {}", file.path);
                }
            }
        }
    }
}
