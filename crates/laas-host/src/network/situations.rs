//! The situations that every family is tried in, and what its tests share.

use super::{Dialect, File, Interface};
use laas_core::VlanId;
use std::fmt::Write as _;

/// A card: its name, and its untagged, tagged and default networks.
type Card<'a> = (&'a str, Option<u64>, &'a [u64], Option<u64>);

/// What there is to be asked, with its name.
pub fn all() -> Vec<(&'static str, Vec<Interface>)> {
    let cases: &[(&str, &[Card])] = &[
        (
            "the booking of the capture",
            &[
                ("eno1", Some(11), &[103], Some(11)),
                ("eno2", Some(104), &[105, 103], None),
                ("eno3", None, &[], None),
            ],
        ),
        (
            "a tagged default, and no untagged network",
            &[
                ("eno1", None, &[11, 103], Some(11)),
                ("eno2", Some(104), &[], None),
            ],
        ),
        (
            "no default, and a name too long for VLANs",
            &[
                ("enp130s0f1np1", Some(104), &[103], None),
                ("eno2", None, &[103], None),
            ],
        ),
        (
            "no network at all",
            &[("eno1", None, &[], None), ("eno2", None, &[], None)],
        ),
    ];
    let interface = |(number, (name, untagged, tagged, default)): (usize, &Card)| Interface {
        name: name.parse().unwrap(),
        mac: format!("02:00:00:00:AB:0{}", number + 1).parse().unwrap(),
        untagged: untagged.map(vlan),
        tagged: tagged.iter().copied().map(vlan).collect(),
        default: default.map(vlan),
    };
    let cases = cases.iter();
    cases
        .map(|(what, cards)| (*what, cards.iter().enumerate().map(interface).collect()))
        .collect()
}

fn vlan(id: u64) -> VlanId {
    VlanId::try_from(id).unwrap()
}

/// All files of all situations, for a snapshot.
pub fn show(dialect: &Dialect) -> String {
    let mut text = String::new();
    for (what, interfaces) in all() {
        let _ = writeln!(text, "======== {what}");
        for file in (dialect.render)(&interfaces) {
            let body = file.content.strip_prefix(super::tree::HEADER).unwrap();
            let _ = write!(text, "---- {} {}\n{body}", file.mode, file.path);
        }
    }
    text
}

/// The files below a directory of their own, with their modes.
pub fn on_disk(files: &[File]) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(&file.path[1..]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &file.content).unwrap();
        let mode = u32::from_str_radix(file.mode, 8).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    root
}

/// Sources the hook as dhclient-script(8) does: the router is left to the default network only.
pub fn hook_keeps_the_default(hook: &str, interfaces: &[Interface]) {
    for (index, interface) in interfaces.iter().enumerate() {
        let own = interface
            .untagged
            .map(|_| (interface.name.to_string(), interface.untagged_is_default()));
        let vlans = interface.vlans(index).map(|vlan| (vlan.name, vlan.default));
        for (name, default) in own.into_iter().chain(vlans) {
            let script =
                format!("interface={name} new_routers=10.0.0.1\n{hook}\necho \"${{new_routers-none}}\"");
            let output = std::process::Command::new("sh")
                .args(["-ec", &script])
                .output()
                .unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said.trim() == "10.0.0.1", default, "{name}: {said}");
        }
    }
}

/// What the dialect's judge says to files below `root`.
pub fn judge(dialect: &Dialect, root: &tempfile::TempDir, files: &[File]) -> std::process::Output {
    let paths = files.iter().map(|file| root.path().join(&file.path[1..]));
    let script = dialect.judge.as_ref().unwrap().script;
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, "sh"]).args(paths).output().unwrap()
}
