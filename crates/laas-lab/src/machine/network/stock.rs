//! The network configuration that an image brings along: DHCP on every card.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::cabling::Os;
use crate::inventory::Nic;

const NETPLAN: &str = "\
network:
  version: 2
  ethernets:
    cards:
      match:
        name: \"e*\"
      dhcp4: true
";

/// As Debian's installer leaves it.
const INTERFACES: &str = "\
# This file describes the network interfaces available on your system
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback
";

/// Writes the files of the system below `root`, and enables the services that
/// read them.
///
/// # Errors
/// What the file system says.
pub fn write(root: &Path, os: &Os, nics: &[Nic]) -> io::Result<()> {
    let major: u32 = os
        .version
        .split('.')
        .next()
        .and_then(|m| m.parse().ok())
        .unwrap_or_default();
    match os.id.as_str() {
        "debian" => {
            enable(root, "networking")?;
            let stanza = |nic: &Nic| format!("\nallow-hotplug {0}\niface {0} inet dhcp\n", nic.name);
            let cards: String = nics.iter().map(stanza).collect();
            put(
                root,
                "etc/network/interfaces",
                0o644,
                &format!("{INTERFACES}{cards}"),
            )
        }
        "centos" | "rhel" | "rocky" | "almalinux" if major < 9 => {
            enable(root, "NetworkManager")?;
            if major < 8 {
                let runlevel = root.join("etc/rc.d/rc3.d");
                fs::create_dir_all(&runlevel)?;
                symlink("../init.d/network", runlevel.join("S10network"))?;
            }
            let text = |nic: &Nic| format!("DEVICE={}\nONBOOT=yes\nBOOTPROTO=dhcp\n", nic.name);
            ifcfg(root, "network-scripts", nics, text)
        }
        "centos" | "rhel" | "rocky" | "almalinux" | "fedora" => {
            enable(root, "NetworkManager")?;
            for Nic { name, .. } in nics {
                let file = format!("etc/NetworkManager/system-connections/{name}.nmconnection");
                let text = format!(
                    "[connection]\nid={name}\ntype=ethernet\ninterface-name={name}\n\n[ipv4]\nmethod=auto\n"
                );
                put(root, &file, 0o600, &text)?;
            }
            Ok(())
        }
        id if id.contains("suse") => {
            enable(root, "wicked")?;
            let text = |_: &Nic| "STARTMODE='auto'\nBOOTPROTO='dhcp'\n".to_owned();
            ifcfg(root, "network", nics, text)
        }
        "arch" => {
            enable(root, "systemd-networkd")?;
            let text = "[Match]\nName=en*\n\n[Network]\nDHCP=ipv4\n";
            put(root, "etc/systemd/network/20-wired.network", 0o644, text)
        }
        _ => {
            enable(root, "systemd-networkd")?;
            put(root, "etc/netplan/01-image.yaml", 0o600, NETPLAN)
        }
    }
}

fn ifcfg(root: &Path, directory: &str, nics: &[Nic], text: impl Fn(&Nic) -> String) -> io::Result<()> {
    for nic in nics {
        let file = format!("etc/sysconfig/{directory}/ifcfg-{}", nic.name);
        put(root, &file, 0o644, &text(nic))?;
    }
    Ok(())
}

/// As `systemctl enable` does.
fn enable(root: &Path, service: &str) -> io::Result<()> {
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    let unit = format!("{service}.service");
    symlink(format!("/lib/systemd/system/{unit}"), wants.join(unit))
}

fn put(root: &Path, file: &str, mode: u32, text: &str) -> io::Result<()> {
    let path = root.join(file);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(&path, text)?;
    fs::set_permissions(&path, Permissions::from_mode(mode))
}
