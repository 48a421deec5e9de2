//! Debian's `/etc/network/interfaces` and what it sources, interfaces(5).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Link, Method};
use crate::inventory::Nic;

/// One `iface` stanza: its interface, its method and the lines of its options.
struct Stanza {
    name: String,
    method: String,
    options: Vec<(String, String)>,
}

#[derive(Default)]
struct Configuration {
    /// `auto` or `allow-hotplug`.
    started: BTreeSet<String>,
    stanzas: Vec<Stanza>,
}

/// The links of the system below `root`.
pub fn links(root: &Path, nics: &[Nic]) -> Vec<Link> {
    let mut configuration = Configuration::default();
    configuration.read(root, "/etc/network/interfaces", 0);
    let started = configuration.stanzas.iter();
    let started = started.filter(|stanza| configuration.started.contains(&stanza.name));
    started.filter_map(|stanza| link(stanza, nics)).collect()
}

fn link(stanza: &Stanza, nics: &[Nic]) -> Option<Link> {
    let name = stanza.name.as_str();
    let card_of = |name: &str| nics.iter().position(|nic| nic.name == name);
    let (card, tag) = match card_of(name) {
        Some(card) => (card, None),
        None => {
            let (parent, tag) = stanza.vlan()?;
            (card_of(&parent)?, Some(tag))
        }
    };
    let methods = match stanza.method.as_str() {
        "dhcp" => vec![Method::Dhcp],
        "static" => {
            let address = stanza.option("address")?.split('/').next()?;
            vec![Method::Static(address.parse().ok()?)]
        }
        _ => Vec::new(),
    };
    Some(Link {
        name: name.to_owned(),
        card,
        tag,
        methods,
    })
}

impl Stanza {
    fn option(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The card and the VLAN: by a name with a dot, by the package `vlan`, or
    /// by a command that makes the interface.
    fn vlan(&self) -> Option<(String, u16)> {
        if let Some((parent, id)) = self.name.rsplit_once('.') {
            let parent = self.option("vlan-raw-device").unwrap_or(parent);
            return Some((parent.to_owned(), id.parse().ok()?));
        }
        if let (Some(parent), Some(id)) = (self.option("vlan-raw-device"), self.name.strip_prefix("vlan")) {
            return Some((parent.to_owned(), id.parse().ok()?));
        }
        let commands = self.options.iter().filter(|(key, _)| key == "pre-up");
        commands.into_iter().find_map(|(_, command)| {
            let (_, made) = command.split_once("ip link add link ")?;
            let words: Vec<_> = made.split_whitespace().collect();
            match words.as_slice() {
                [parent, "name", "$IFACE", "type", "vlan", "id", id, ..] => {
                    Some(((*parent).to_owned(), id.parse().ok()?))
                }
                _ => None,
            }
        })
    }
}

impl Configuration {
    fn read(&mut self, root: &Path, file: &str, depth: u8) {
        let Ok(text) = fs::read_to_string(root.join(file.trim_start_matches('/'))) else {
            return;
        };
        let text = text.replace("\\\n", " ");
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "" => {}
                "auto" | "allow-auto" | "allow-hotplug" => {
                    self.started.extend(rest.split_whitespace().map(str::to_owned));
                }
                "source" | "source-directory" if depth < 5 => {
                    for name in sourced(root, word, rest) {
                        self.read(root, &name, depth + 1);
                    }
                }
                "iface" => {
                    let mut words = rest.split_whitespace();
                    let (name, _family, method) = (words.next(), words.next(), words.next());
                    self.stanzas.push(Stanza {
                        name: name.unwrap_or_default().to_owned(),
                        method: method.unwrap_or_default().to_owned(),
                        options: Vec::new(),
                    });
                }
                _ => {
                    if let Some(stanza) = self.stanzas.last_mut() {
                        stanza.options.push((word.to_owned(), rest.to_owned()));
                    }
                }
            }
        }
    }
}

/// The files that a line means: of a pattern those that are not hidden, of a
/// directory those whose names are letters, digits, `_` and `-`.
fn sourced(root: &Path, word: &str, what: &str) -> Vec<String> {
    let what = if what.starts_with('/') {
        what.to_owned()
    } else {
        format!("/etc/network/{what}")
    };
    let directory = match (word, what.strip_suffix("/*")) {
        ("source", None) => return vec![what],
        ("source", Some(directory)) => directory.to_owned(),
        _ => what,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let taken = |name: &String| match word {
        "source" => !name.starts_with('.'),
        _ => name.chars().all(plain),
    };
    let entries = fs::read_dir(root.join(directory.trim_start_matches('/')));
    let names = entries.into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(taken).collect();
    names.sort();
    names.iter().map(|name| format!("{directory}/{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::HostSpec;
    use std::net::Ipv4Addr;

    fn of(files: &[(&str, &str)]) -> Vec<Link> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join("etc/network").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        links(root.path(), &HostSpec::numbered(1).nics)
    }

    #[test]
    fn stanzas_are_read_wherever_they_stand() {
        let main = "# by hand\nauto lo eno1\niface lo inet loopback\niface eno1 inet dhcp\n  metric 5\n\
                    source interfaces.d/*\niface eno3 inet dhcp\n";
        let more = "allow-hotplug eno2\niface eno2 inet static\n  address 127.128.12.1/24\n\
                    auto eno2.11 \\\n  v7\niface eno2.11 inet dhcp\niface v7 inet dhcp\n  \
                    pre-up true || ip link add link eno2 name $IFACE type vlan id 7\n";
        let found = of(&[
            ("interfaces", main),
            ("interfaces.d/more.cfg", more),
            ("interfaces.d/.hidden", "auto eno3\n"),
        ]);
        let link = |name: &str, card, tag, method| Link {
            name: name.into(),
            card,
            tag,
            methods: vec![method],
        };
        let address = Method::Static(Ipv4Addr::new(127, 128, 12, 1));
        assert_eq!(
            found,
            [
                link("eno1", 0, None, Method::Dhcp),
                link("eno2", 1, None, address),
                link("eno2.11", 1, Some(11), Method::Dhcp),
                link("v7", 1, Some(7), Method::Dhcp),
            ]
        );
    }

    #[test]
    fn a_directory_takes_plain_names_only() {
        let stanza = "auto eno1\niface eno1 inet dhcp\n";
        for (name, taken) in [("cards", true), ("cards.cfg", false), (".cards", false)] {
            let main = ("interfaces", "source-directory /etc/network/interfaces.d\n");
            let found = of(&[main, (&format!("interfaces.d/{name}"), stanza)]);
            assert_eq!(found.len() == 1, taken, "{name}");
        }
        assert_eq!(of(&[("interfaces.d/cards", stanza)]), [], "nobody sources it");
        assert_eq!(of(&[("interfaces", "source interfaces\nauto\niface\n")]), []);
    }
}
