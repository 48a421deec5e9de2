//! Netplan: one file of ours, everything else in `/etc/netplan` set aside, `netplan generate` as the judge.

use super::{Change, File, Interface, NetworkError, vlan_interface};
use crate::ssh::Session;
use serde_yaml::{Mapping, Value};

const DIR: &str = "/etc/netplan";
const OURS: &str = "/etc/netplan/60-laas.yaml";
/// Appended to a file that netplan must not read any more (it reads `*.yaml` only).
const ASIDE: &str = ".laas-aside";

/// The judge is asked even when every file is as it should be: an earlier run may have died before it was, or in the
/// middle of putting back what was there.
pub fn apply(session: &Session, interfaces: &[Interface], dry_run: bool) -> Result<Change, NetworkError> {
    let file = render(interfaces);
    let present = session.read_file(OURS)?;
    let foreign = foreign_files(session)?;
    let mut change = Change::default();
    if present.as_deref() != Some(file.content.as_str()) {
        change.written.push(file.path.clone());
    }
    change.set_aside.clone_from(&foreign);
    if dry_run {
        return Ok(change);
    }
    if !change.written.is_empty() {
        session.write_file(&file.path, &file.content, "0600", "root:root")?;
    }
    for path in &foreign {
        session.run(&["mv", "-f", "--", path, &format!("{path}{ASIDE}")])?;
    }
    let judged = session.exec(&["netplan", "generate"], b"")?;
    if judged.code != 0 {
        for path in &foreign {
            session.run(&["mv", "-f", "--", &format!("{path}{ASIDE}"), path])?;
        }
        match present {
            Some(content) => session.write_file(OURS, &content, "0600", "root:root")?,
            None => session.run(&["rm", "-f", "--", OURS]).map(drop)?,
        }
        let said = judged
            .stderr
            .lines()
            .find(|l| !l.trim().is_empty())
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();
        return Err(NetworkError::Refused {
            tool: "netplan generate",
            said,
        });
    }
    session.run(&["sync"])?;
    Ok(change)
}

fn foreign_files(session: &Session) -> Result<Vec<String>, NetworkError> {
    let listed = session.run(&[
        "find",
        DIR,
        "-maxdepth",
        "1",
        "-name",
        "*.yaml",
        "!",
        "-path",
        OURS,
    ])?;
    let mut files: Vec<_> = listed.lines().map(str::to_owned).collect();
    files.sort();
    Ok(files)
}

/// The whole file. Every network is expected to have a DHCP server; none is waited for at boot but the default one.
fn render(interfaces: &[Interface]) -> File {
    let mut ethernets = Mapping::new();
    let mut vlans = Mapping::new();
    for (index, interface) in interfaces.iter().enumerate() {
        let mut ethernet = Mapping::new();
        let matched = Mapping::from_iter([(text("macaddress"), text(interface.mac.as_str()))]);
        ethernet.insert(text("match"), matched.into());
        if interface.untagged.is_some() {
            ethernet.extend(dhcp(interface.default_route));
        } else {
            ethernet.insert(text("dhcp4"), false.into());
            ethernet.insert(text("dhcp6"), false.into());
            ethernet.insert(text("link-local"), Value::Sequence(Vec::new()));
            ethernet.insert(text("optional"), true.into());
        }
        for vlan in &interface.tagged {
            let mut tagged = Mapping::from_iter([
                (text("id"), u64::from(vlan.get()).into()),
                (text("link"), text(&interface.name)),
            ]);
            tagged.extend(dhcp(false));
            vlans.insert(
                text(&vlan_interface(index, &interface.name, *vlan)),
                tagged.into(),
            );
        }
        ethernets.insert(text(&interface.name), ethernet.into());
    }
    let mut network =
        Mapping::from_iter([(text("version"), 2.into()), (text("ethernets"), ethernets.into())]);
    if !vlans.is_empty() {
        network.insert(text("vlans"), vlans.into());
    }
    let document = Mapping::from_iter([(text("network"), Value::from(network))]);
    let body = serde_yaml::to_string(&document).unwrap_or_default();
    let content =
        format!("# Written by the lab for this booking; changes are overwritten at the next one.\n{body}");
    File {
        path: OURS.to_owned(),
        content,
    }
}

fn dhcp(default_route: bool) -> Vec<(Value, Value)> {
    let mut settings = vec![(text("dhcp4"), true.into())];
    if !default_route {
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
    use super::*;
    use laas_core::VlanId;

    fn vlan(id: u64) -> VlanId {
        VlanId::try_from(id).unwrap()
    }

    fn interfaces() -> Vec<Interface> {
        let nic = |n: u8, untagged: Option<u64>, tagged: &[u64]| Interface {
            name: format!("eno{n}"),
            mac: format!("02:00:00:00:01:0{n}").parse().unwrap(),
            untagged: untagged.map(vlan),
            tagged: tagged.iter().map(|t| vlan(*t)).collect(),
            default_route: n == 1,
        };
        vec![
            nic(1, Some(11), &[103]),
            nic(2, Some(104), &[105, 103]),
            nic(3, None, &[]),
        ]
    }

    #[test]
    fn the_booking_of_the_capture() {
        insta::assert_snapshot!(render(&interfaces()).content, @r##"
# Written by the lab for this booking; changes are overwritten at the next one.
network:
  version: 2
  ethernets:
    eno1:
      match:
        macaddress: 02:00:00:00:01:01
      dhcp4: true
    eno2:
      match:
        macaddress: 02:00:00:00:01:02
      dhcp4: true
      dhcp4-overrides:
        use-routes: false
        use-dns: false
      optional: true
    eno3:
      match:
        macaddress: 02:00:00:00:01:03
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
"##);
    }

    /// The judge itself: netplan takes what is rendered.
    #[test]
    fn netplan_takes_it() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc/netplan");
        std::fs::create_dir_all(&etc).unwrap();
        std::fs::write(etc.join("60-laas.yaml"), render(&interfaces()).content).unwrap();
        let output = std::process::Command::new("netplan")
            .args(["generate", "--root-dir"])
            .arg(dir.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let read =
            |name: &str| std::fs::read_to_string(dir.path().join("run/systemd/network").join(name)).unwrap();
        assert!(read("10-netplan-eno1.network").contains("DHCP=ipv4"));
        assert!(read("10-netplan-eno1.103.netdev").contains("Id=103"));
        assert!(read("10-netplan-eno2.103.netdev").contains("Id=103"));
    }
}
