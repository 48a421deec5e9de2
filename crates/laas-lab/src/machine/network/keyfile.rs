//! NetworkManager's keyfiles, nm-settings-keyfile(5).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::{Link, Method, Unit, unit, value};
use crate::inventory::Nic;

/// The connections of these directories. Hidden files and files that others
/// than root may read or that aren't root's are no connections.
pub fn read(directories: &[PathBuf]) -> Vec<Unit> {
    let mut units = Vec::new();
    for directory in directories {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let hidden = path
                .file_name()
                .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            let private = fs::metadata(&path).is_ok_and(|of| of.mode() & 0o077 == 0 && of.uid() == 0);
            if let (false, true, Ok(text)) = (hidden, private, fs::read_to_string(&path)) {
                units.push(unit(&text));
            }
        }
    }
    units
}

/// The links of these connections.
pub fn links(units: &[Unit], nics: &[Nic]) -> Vec<Link> {
    let mut links = Vec::new();
    for unit in units {
        let get = |section: &str, key: &str| value(unit, section, key);
        if get("connection", "autoconnect") == Some("false") {
            continue;
        }
        let (card, tag) = match get("connection", "type") {
            Some("ethernet" | "802-3-ethernet") => (card_of(unit, nics), None),
            Some("vlan") => {
                let parent = get("vlan", "parent").unwrap_or_default();
                let above = units
                    .iter()
                    .find(|unit| value(unit, "connection", "uuid") == Some(parent));
                let card = match above {
                    Some(unit) => card_of(unit, nics),
                    None => nics.iter().position(|nic| nic.name == parent),
                };
                let Some(tag) = get("vlan", "id").and_then(|id| id.parse().ok()) else {
                    continue;
                };
                (card, Some(tag))
            }
            _ => continue,
        };
        let Some(card) = card else { continue };
        let methods = match get("ipv4", "method") {
            Some("auto") => vec![Method::Dhcp],
            Some("manual") => {
                let address = get("ipv4", "address1").and_then(|a| a.split(['/', ',']).next()?.parse().ok());
                address.map(Method::Static).into_iter().collect()
            }
            _ => Vec::new(),
        };
        let name = get("connection", "interface-name").unwrap_or(&nics[card].name);
        links.push(Link {
            name: name.to_owned(),
            card,
            tag,
            methods,
        });
    }
    links
}

/// The card that a connection is for: all that it says of it has to be true.
fn card_of(unit: &Unit, nics: &[Nic]) -> Option<usize> {
    let mac = value(unit, "ethernet", "mac-address").or(value(unit, "802-3-ethernet", "mac-address"));
    let name = value(unit, "connection", "interface-name");
    nics.iter().position(|nic| {
        mac.is_none_or(|mac| nic.mac.eq_ignore_ascii_case(mac)) && name.is_none_or(|name| nic.name == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::HostSpec;

    /// The card, the VLAN, and whether it asks for its address.
    type Found = (usize, Option<u16>, bool);

    #[test]
    fn connections_are_read() {
        let cases: &[(&[&str], &[Found])] = &[
            (
                &[
                    "[connection]\ntype=ethernet\n[ethernet]\nmac-address=02:00:00:00:01:02\n[ipv4]\nmethod=auto",
                ],
                &[(1, None, true)],
            ),
            (
                &[
                    "[connection]\ntype=ethernet\nuuid=u\ninterface-name=eno3\n[ipv4]\nmethod=disabled",
                    "[connection]\ntype=vlan\n[vlan]\nid=11\nparent=u\n[ipv4]\nmethod=auto",
                    "[connection]\ntype=vlan\n[vlan]\nid=12\nparent=eno1\n[ipv4]\nmethod=auto",
                ],
                &[(2, None, false), (2, Some(11), true), (0, Some(12), true)],
            ),
            (
                &["[connection]\ntype=ethernet\nautoconnect=false\n[ipv4]\nmethod=auto"],
                &[],
            ),
            (
                &["[connection]\ntype=ethernet\ninterface-name=wan\n", "nonsense"],
                &[],
            ),
        ];
        for (texts, expected) in cases {
            let units: Vec<_> = texts.iter().map(|text| unit(text)).collect();
            let found: Vec<_> = links(&units, &HostSpec::numbered(1).nics)
                .iter()
                .map(|link| (link.card, link.tag, link.methods == [Method::Dhcp]))
                .collect();
            assert_eq!(found, *expected, "{texts:?}");
        }
    }
}
