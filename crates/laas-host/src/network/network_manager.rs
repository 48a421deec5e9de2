//! NetworkManager's keyfiles, nm-settings-keyfile(5): a connection per interface.

use super::{Dialect, File, Found, Interface, Judge};
use sha2::Digest as _;

const DIRECTORY: &str = "/etc/NetworkManager/system-connections";

/// `nmcli --offline` came with NetworkManager 1.40; it reads a connection on stdin and changes nothing.
pub(super) const DIALECT: Dialect = Dialect {
    name: "NetworkManager",
    directories: &[DIRECTORY],
    render,
    fights,
    judge: Some(Judge {
        tool: "nmcli --offline",
        script: "nmcli --offline connection add type dummy ifname probe >/dev/null 2>&1 || exit 43\n\
                 for file; do\n\
                 case $file in *.nmconnection) ;; *) continue ;; esac\n\
                 nmcli --offline connection modify connection.zone '' <\"$file\" >/dev/null || exit 1\n\
                 done",
    }),
};

/// NetworkManager reads no file that others than root may read. A card without a connection would get one that asks
/// for an address; one whose connection is not started is left alone.
fn render(interfaces: &[Interface]) -> Vec<File> {
    let file = |name: &str, body: &str| {
        let path = format!("{DIRECTORY}/laas-{name}.nmconnection");
        File::new(path, "0600", body)
    };
    let mut files = Vec::new();
    for (index, interface) in interfaces.iter().enumerate() {
        let card = uuid(interface.mac.as_str());
        let start = if interface.carries_nothing() {
            "autoconnect=false\n"
        } else {
            ""
        };
        let addresses = match interface.untagged {
            Some(_) => dhcp(interface.untagged_is_default()),
            None => "\n[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=disabled\n".to_owned(),
        };
        let (name, mac) = (&interface.name, &interface.mac);
        let body = format!(
            "\n[connection]\nid=laas-{name}\nuuid={card}\ntype=ethernet\n{start}\n\
             [ethernet]\nmac-address={mac}\n{addresses}"
        );
        files.push(file(name.as_str(), &body));
        for vlan in interface.vlans(index) {
            let (name, id) = (&vlan.name, vlan.id);
            let body = format!(
                "\n[connection]\nid=laas-{name}\nuuid={}\ntype=vlan\ninterface-name={name}\n\n\
                 [vlan]\nid={id}\nparent={card}\n{}",
                uuid(&format!("{mac} {id}")),
                dhcp(vlan.default)
            );
            files.push(file(name, &body));
        }
    }
    files
}

fn dhcp(default: bool) -> String {
    let more = if default {
        ""
    } else {
        "never-default=true\nignore-auto-dns=true\n"
    };
    format!("\n[ipv4]\nmethod=auto\n{more}\n[ipv6]\nmethod=auto\n{more}")
}

/// The same for the same text, of the kind that is nobody's but its maker's (RFC 9562, version 8).
fn uuid(of: &str) -> String {
    let hash = sha2::Sha256::digest(format!("laas {of}"));
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-8{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

/// A server has no business with connections that are not of its cards, but they fight nobody.
fn fights(file: &Found) -> bool {
    let others = ["wifi", "802-11-wireless", "vpn", "wireguard", "gsm", "loopback"];
    let kind = file
        .content
        .lines()
        .find_map(|line| line.trim().strip_prefix("type="));
    !kind.is_some_and(|kind| others.contains(&kind.trim()))
}

#[cfg(test)]
mod tests {
    use super::super::situations;
    use super::*;

    #[test]
    fn every_situation() {
        insta::assert_snapshot!(situations::show(&DIALECT), @r##"
======== the booking of the capture
---- 0600 /etc/NetworkManager/system-connections/laas-eno1.nmconnection

[connection]
id=laas-eno1
uuid=2675f0cc-fa9e-8732-819d-67fc72aecdd8
type=ethernet

[ethernet]
mac-address=02:00:00:00:ab:01

[ipv4]
method=auto

[ipv6]
method=auto
---- 0600 /etc/NetworkManager/system-connections/laas-eno1.103.nmconnection

[connection]
id=laas-eno1.103
uuid=91b34ec8-cd6c-8e3b-82dc-e401b94b6024
type=vlan
interface-name=eno1.103

[vlan]
id=103
parent=2675f0cc-fa9e-8732-819d-67fc72aecdd8

[ipv4]
method=auto
never-default=true
ignore-auto-dns=true

[ipv6]
method=auto
never-default=true
ignore-auto-dns=true
---- 0600 /etc/NetworkManager/system-connections/laas-eno2.nmconnection

[connection]
id=laas-eno2
uuid=fc68b966-e258-89ac-8c02-b0979cc68092
type=ethernet

[ethernet]
mac-address=02:00:00:00:ab:02

[ipv4]
method=auto
never-default=true
ignore-auto-dns=true

[ipv6]
method=auto
never-default=true
ignore-auto-dns=true
---- 0600 /etc/NetworkManager/system-connections/laas-eno2.105.nmconnection

[connection]
id=laas-eno2.105
uuid=0b95390e-cca4-89e2-8bb9-49fb4520ba03
type=vlan
interface-name=eno2.105

[vlan]
id=105
parent=fc68b966-e258-89ac-8c02-b0979cc68092

[ipv4]
method=auto
never-default=true
ignore-auto-dns=true

[ipv6]
method=auto
never-default=true
ignore-auto-dns=true
---- 0600 /etc/NetworkManager/system-connections/laas-eno2.103.nmconnection

[connection]
id=laas-eno2.103
uuid=76e52f16-9335-8715-81b3-c6900228d4f2
type=vlan
interface-name=eno2.103

[vlan]
id=103
parent=fc68b966-e258-89ac-8c02-b0979cc68092

[ipv4]
method=auto
never-default=true
ignore-auto-dns=true

[ipv6]
method=auto
never-default=true
ignore-auto-dns=true
---- 0600 /etc/NetworkManager/system-connections/laas-eno3.nmconnection

[connection]
id=laas-eno3
uuid=73499776-fcfb-8077-815d-bafc5f094818
type=ethernet
autoconnect=false

[ethernet]
mac-address=02:00:00:00:ab:03

[ipv4]
method=disabled

[ipv6]
method=disabled
======== a tagged default, and no untagged network
---- 0600 /etc/NetworkManager/system-connections/laas-eno1.nmconnection

[connection]
id=laas-eno1
uuid=2675f0cc-fa9e-8732-819d-67fc72aecdd8
type=ethernet

[ethernet]
mac-address=02:00:00:00:ab:01

[ipv4]
method=disabled

[ipv6]
method=disabled
---- 0600 /etc/NetworkManager/system-connections/laas-eno1.11.nmconnection

[connection]
id=laas-eno1.11
uuid=ca762448-2508-8b4a-89c4-f88314bf6a2c
type=vlan
interface-name=eno1.11

[vlan]
id=11
parent=2675f0cc-fa9e-8732-819d-67fc72aecdd8

[ipv4]
method=auto

[ipv6]
method=auto
---- 0600 /etc/NetworkManager/system-connections/laas-eno1.103.nmconnection

[connection]
id=laas-eno1.103
uuid=91b34ec8-cd6c-8e3b-82dc-e401b94b6024
type=vlan
interface-name=eno1.103

[vlan]
id=103
parent=2675f0cc-fa9e-8732-819d-67fc72aecdd8

[ipv4]
method=auto
never-default=true
ignore-auto-dns=true

[ipv6]
method=auto
never-default=true
ignore-auto-dns=true
---- 0600 /etc/NetworkManager/system-connections/laas-eno2.nmconnection

[connection]
id=laas-eno2
uuid=fc68b966-e258-89ac-8c02-b0979cc68092
type=ethernet

[ethernet]
mac-address=02:00:00:00:ab:02

[ipv4]
method=auto
never-default=true
ignore-auto-dns=true

[ipv6]
method=auto
never-default=true
ignore-auto-dns=true
======== no default, and a name too long for VLANs
---- 0600 /etc/NetworkManager/system-connections/laas-enp130s0f1np1.nmconnection

[connection]
id=laas-enp130s0f1np1
uuid=2675f0cc-fa9e-8732-819d-67fc72aecdd8
type=ethernet

[ethernet]
mac-address=02:00:00:00:ab:01

[ipv4]
method=auto
never-default=true
ignore-auto-dns=true

[ipv6]
method=auto
never-default=true
ignore-auto-dns=true
---- 0600 /etc/NetworkManager/system-connections/laas-nic0v103.nmconnection

[connection]
id=laas-nic0v103
uuid=91b34ec8-cd6c-8e3b-82dc-e401b94b6024
type=vlan
interface-name=nic0v103

[vlan]
id=103
parent=2675f0cc-fa9e-8732-819d-67fc72aecdd8

[ipv4]
method=auto
never-default=true
ignore-auto-dns=true

[ipv6]
method=auto
never-default=true
ignore-auto-dns=true
---- 0600 /etc/NetworkManager/system-connections/laas-eno2.nmconnection

[connection]
id=laas-eno2
uuid=fc68b966-e258-89ac-8c02-b0979cc68092
type=ethernet

[ethernet]
mac-address=02:00:00:00:ab:02

[ipv4]
method=disabled

[ipv6]
method=disabled
---- 0600 /etc/NetworkManager/system-connections/laas-eno2.103.nmconnection

[connection]
id=laas-eno2.103
uuid=76e52f16-9335-8715-81b3-c6900228d4f2
type=vlan
interface-name=eno2.103

[vlan]
id=103
parent=fc68b966-e258-89ac-8c02-b0979cc68092

[ipv4]
method=auto
never-default=true
ignore-auto-dns=true

[ipv6]
method=auto
never-default=true
ignore-auto-dns=true
======== no network at all
---- 0600 /etc/NetworkManager/system-connections/laas-eno1.nmconnection

[connection]
id=laas-eno1
uuid=2675f0cc-fa9e-8732-819d-67fc72aecdd8
type=ethernet
autoconnect=false

[ethernet]
mac-address=02:00:00:00:ab:01

[ipv4]
method=disabled

[ipv6]
method=disabled
---- 0600 /etc/NetworkManager/system-connections/laas-eno2.nmconnection

[connection]
id=laas-eno2
uuid=fc68b966-e258-89ac-8c02-b0979cc68092
type=ethernet
autoconnect=false

[ethernet]
mac-address=02:00:00:00:ab:02

[ipv4]
method=disabled

[ipv6]
method=disabled
"##);
    }

    /// The judge takes it, and understands it as it is meant.
    #[test]
    fn nmcli_takes_it() {
        for (what, interfaces) in situations::all() {
            let files = render(&interfaces);
            let root = situations::on_disk(&files);
            let paths = files.iter().map(|file| root.path().join(&file.path[1..]));
            for (file, path) in files.iter().zip(paths) {
                let mut nmcli = std::process::Command::new("nmcli");
                nmcli.args(["--offline", "connection", "modify", "connection.zone", ""]);
                let output = nmcli.stdin(std::fs::File::open(&path).unwrap()).output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{what}: {}: {said}", file.path);
                let understood = String::from_utf8(output.stdout).unwrap().to_lowercase();
                for line in file.content.lines().filter(|line| line.contains('=')) {
                    // It leaves out what is so anyway.
                    let kept = understood.contains(&line.to_lowercase());
                    assert!(kept || line == "autoconnect=true", "{what}: {line}: {understood}");
                }
            }
            let judged = situations::judge(&DIALECT, &root, &files);
            assert_eq!(judged.status.code(), Some(0), "{what}: {judged:?}");
        }
    }

    #[test]
    fn nmcli_refuses_nonsense() {
        let (_, interfaces) = situations::all().remove(0);
        let mut files = render(&interfaces);
        files[1].content = files[1].content.replace("parent=", "#");
        let root = situations::on_disk(&files);
        let judged = situations::judge(&DIALECT, &root, &files);
        assert_eq!(judged.status.code(), Some(1), "{judged:?}");
    }

    #[test]
    fn a_uuid_is_one() {
        let text = uuid("02:00:00:00:01:01");
        let groups: Vec<_> = text.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{text}");
        assert_eq!(text, uuid("02:00:00:00:01:01"));
    }
}
