//! Debian's ifupdown, interfaces(5): the main file sources the directory, one file in the directory is ours.

use super::{Dialect, File, Found, Interface, Judge};
use std::fmt::Write as _;

const MAIN: &str = "/etc/network/interfaces";
const OURS: &str = "/etc/network/interfaces.d/laas";
/// Sourced by Debian's dhclient-script(8) before it sets anything.
const HOOK: &str = "/etc/dhcp/dhclient-enter-hooks.d/laas";
/// Behind every route of the image's own. For DHCP clients that know no hooks.
const METRIC: u16 = 4096;

pub(super) const DIALECT: Dialect = Dialect {
    name: "ifupdown",
    directories: &[
        "/etc/network",
        "/etc/network/interfaces.d",
        "/etc/dhcp/dhclient-enter-hooks.d",
    ],
    render,
    fights,
    judge: Some(Judge {
        tool: "ifquery",
        script: "command -v ifquery >/dev/null || exit 43; ifquery --list --interfaces \"$1\"",
    }),
};

fn render(interfaces: &[Interface]) -> Vec<File> {
    let main = "\nsource /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n";
    let mut ours = String::new();
    let mut not_default = Vec::new();
    // `ifup -a` goes by the order of the file and waits a minute for each network that has no DHCP server, so that the
    // one over which the host is reached comes first.
    let mut ordered: Vec<_> = interfaces.iter().enumerate().collect();
    ordered.sort_by_key(|(_, interface)| interface.default.is_none());
    for (index, interface) in ordered {
        let name = interface.name.as_str();
        if interface.untagged.is_some() {
            let default = interface.untagged_is_default();
            ours += &stanza(name, default, "");
            if !default {
                not_default.push(name.to_owned());
            }
        } else if interface.tagged.is_empty() {
            // Known, and left down.
            let _ = write!(ours, "\niface {name} inet manual\n");
        } else {
            let _ = write!(ours, "\nauto {name}\niface {name} inet manual\n");
        }
        for vlan in interface.vlans(index) {
            let id = vlan.id;
            let link = if vlan.name.contains('.') {
                format!("    vlan-raw-device {name}\n")
            } else {
                // ifupdown makes a VLAN of a name with a dot; of another one this does.
                format!(
                    "    pre-up ip link show dev $IFACE >/dev/null 2>&1 || \
                     ip link add link {name} name $IFACE type vlan id {id}\n    post-down ip link del dev $IFACE\n"
                )
            };
            ours += &stanza(&vlan.name, vlan.default, &link);
            if !vlan.default {
                not_default.push(vlan.name);
            }
        }
    }
    let mut files = vec![File::new(MAIN, "0644", main), File::new(OURS, "0644", &ours)];
    if !not_default.is_empty() {
        let body = format!(
            "case $interface in\n{})\n    unset new_routers new_rfc3442_classless_static_routes\n    \
             unset new_domain_name_servers new_domain_name new_domain_search\n    ;;\nesac\n",
            not_default.join(" | ")
        );
        files.push(File::new(HOOK, "0644", &body));
    }
    files
}

fn stanza(name: &str, default: bool, more: &str) -> String {
    let metric = if default {
        String::new()
    } else {
        format!("    metric {METRIC}\n")
    };
    format!("\nauto {name}\niface {name} inet dhcp\n{more}{metric}")
}

/// The main file is replaced in any case; of the other directories only this one configures cards.
fn fights(file: &Found) -> bool {
    file.path.starts_with("/etc/network/interfaces.d/") && !file.content.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::situations;
    use super::*;
    use std::process::Command;

    #[test]
    fn every_situation() {
        insta::assert_snapshot!(situations::show(&DIALECT), @r##"
======== the booking of the capture
---- 0644 /etc/network/interfaces

source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback
---- 0644 /etc/network/interfaces.d/laas

auto eno1
iface eno1 inet dhcp

auto eno1.103
iface eno1.103 inet dhcp
    vlan-raw-device eno1
    metric 4096

auto eno2
iface eno2 inet dhcp
    metric 4096

auto eno2.105
iface eno2.105 inet dhcp
    vlan-raw-device eno2
    metric 4096

auto eno2.103
iface eno2.103 inet dhcp
    vlan-raw-device eno2
    metric 4096

iface eno3 inet manual
---- 0644 /etc/dhcp/dhclient-enter-hooks.d/laas
case $interface in
eno1.103 | eno2 | eno2.105 | eno2.103)
    unset new_routers new_rfc3442_classless_static_routes
    unset new_domain_name_servers new_domain_name new_domain_search
    ;;
esac
======== a tagged default, and no untagged network
---- 0644 /etc/network/interfaces

source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback
---- 0644 /etc/network/interfaces.d/laas

auto eno1
iface eno1 inet manual

auto eno1.11
iface eno1.11 inet dhcp
    vlan-raw-device eno1

auto eno1.103
iface eno1.103 inet dhcp
    vlan-raw-device eno1
    metric 4096

auto eno2
iface eno2 inet dhcp
    metric 4096
---- 0644 /etc/dhcp/dhclient-enter-hooks.d/laas
case $interface in
eno1.103 | eno2)
    unset new_routers new_rfc3442_classless_static_routes
    unset new_domain_name_servers new_domain_name new_domain_search
    ;;
esac
======== no default, and a name too long for VLANs
---- 0644 /etc/network/interfaces

source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback
---- 0644 /etc/network/interfaces.d/laas

auto enp130s0f1np1
iface enp130s0f1np1 inet dhcp
    metric 4096

auto nic0v103
iface nic0v103 inet dhcp
    pre-up ip link show dev $IFACE >/dev/null 2>&1 || ip link add link enp130s0f1np1 name $IFACE type vlan id 103
    post-down ip link del dev $IFACE
    metric 4096

auto eno2
iface eno2 inet manual

auto eno2.103
iface eno2.103 inet dhcp
    vlan-raw-device eno2
    metric 4096
---- 0644 /etc/dhcp/dhclient-enter-hooks.d/laas
case $interface in
enp130s0f1np1 | nic0v103 | eno2.103)
    unset new_routers new_rfc3442_classless_static_routes
    unset new_domain_name_servers new_domain_name new_domain_search
    ;;
esac
======== no network at all
---- 0644 /etc/network/interfaces

source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback
---- 0644 /etc/network/interfaces.d/laas

iface eno1 inet manual

iface eno2 inet manual
"##);
    }

    /// The parser itself, and what it would run.
    #[test]
    fn ifupdown_takes_it() {
        for (what, interfaces) in situations::all() {
            let root = situations::on_disk(&render(&interfaces));
            let main = root.path().join(&MAIN[1..]);
            // ifupdown has no notion of another root.
            let text = std::fs::read_to_string(&main).unwrap();
            let here = format!("{}/etc/network/interfaces.d", root.path().display());
            std::fs::write(&main, text.replace("/etc/network/interfaces.d", &here)).unwrap();
            let run = |tool: &str, args: &[&str]| {
                let mut command = Command::new(tool);
                command.args(args).arg("-i").arg(&main);
                if tool == "ifup" {
                    command.arg("--state-dir").arg(root.path());
                }
                let output = command.output().unwrap();
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{what}: {text}");
                String::from_utf8(output.stdout).unwrap() + &text
            };
            let listed = run("ifquery", &["--list"]);
            let would_do = run("ifup", &["--no-act", "--verbose", "--all"]);
            for (index, interface) in interfaces.iter().enumerate() {
                let name = interface.name.as_str();
                let up = listed.lines().any(|line| line == name);
                assert_eq!(up, !interface.carries_nothing(), "{what}: {listed}");
                assert_eq!(
                    would_do.contains(&format!("dhclient.{name}.pid")),
                    interface.untagged.is_some(),
                    "{what}: {would_do}"
                );
                for vlan in interface.vlans(index) {
                    let made = format!(
                        "ip link add link {name} name {} type vlan id {}",
                        vlan.name, vlan.id
                    );
                    let made = made.replace(" name nic", " name $IFACE#nic");
                    let made = made.split('#').next().unwrap();
                    assert!(would_do.contains(made), "{what}: {would_do}");
                    assert!(
                        would_do.contains(&format!("dhclient.{}.pid", vlan.name)),
                        "{what}"
                    );
                }
            }
            for file in render(&interfaces).iter().filter(|file| file.path == HOOK) {
                situations::hook_keeps_the_default(&file.content, &interfaces);
            }
        }
    }
}
