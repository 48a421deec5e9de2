//! The names of the datastore's keys. Hosts, records and secrets share one namespace, so a host must not be called like
//! a key of another kind.

use crate::HostName;
use crate::names::AccountName;

/// The list of all hosts.
pub const HOSTS: &str = "hosts";
/// Our token for the dashboard.
pub const TOKEN: &str = "lab_auth_token";
/// Prefixes of the keys that the pack writes, each followed by the name of what the record is about.
pub const RECORDS: [&str; 14] = [
    "alive_",
    "before_",
    "bios_",
    "bmc_user_",
    "capture_",
    "image_",
    "password_",
    "prepared_",
    "ssh_host_key_",
    "task_",
    "told_",
    "unsaved_",
    "vpn_",
    "wipe_",
];
/// Prefixes of the keys that operators set for one host or switch.
pub const SETTINGS: [&str; 3] = ["bmc_admin_", "jenkins_", "switch_"];

/// Why no host can have this name: the datastore's key of the host would be the key of something else.
pub fn reserved(host: &str) -> Option<String> {
    if [HOSTS, TOKEN].contains(&host) {
        return Some(format!(
            "no host can be called `{host}`: the datastore has a key of that name"
        ));
    }
    let prefix = RECORDS
        .iter()
        .chain(&SETTINGS)
        .find(|prefix| host.starts_with(**prefix))?;
    Some(format!(
        "no host can be called `{host}`: keys that begin with `{prefix}` are the pack's own"
    ))
}

/// Whether the pack would overwrite a secret of this name.
pub fn is_record(key: &str) -> bool {
    RECORDS.iter().any(|prefix| key.starts_with(prefix))
}

/// Where the password of a host's account is remembered.
pub fn password(host: &HostName, account: &AccountName) -> String {
    format!("password_{host}_{account}")
}

/// Whether an account of one of the hosts has the same key as an account of the other: `c` of `a_b` and `b_c` of `a`.
pub fn share_passwords(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() {
        (one, other)
    } else {
        (other, one)
    };
    let rest = long.strip_prefix(short).and_then(|rest| rest.strip_prefix('_'));
    rest.is_some_and(|rest| format!("{rest}_a").parse::<AccountName>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_called_like_no_other_key() {
        for name in [
            "hosts",
            "lab_auth_token",
            "before_pod1",
            "task_x",
            "switch_10.0.0.1",
            "jenkins_pod1",
            "bmc_admin_pod1",
            "password_pod1_root",
        ] {
            assert!(reserved(name).is_some_and(|why| why.contains(name)), "{name}");
        }
        for name in ["pod1", "host", "hosts2", "image", "imaged_1", "bmc1", "switch-1"] {
            assert_eq!(reserved(name), None);
        }
        // What one prefix and one host make is not what another prefix makes of another host.
        let all: Vec<_> = RECORDS.iter().chain(&SETTINGS).collect();
        for (n, one) in all.iter().enumerate() {
            assert!(
                all.iter()
                    .skip(n + 1)
                    .all(|other| !other.starts_with(**one) && !one.starts_with(**other))
            );
        }
    }

    #[test]
    fn hosts_share_no_key_of_a_password() {
        let key = |host: &str, account: &str| password(&host.parse().unwrap(), &account.parse().unwrap());
        assert_eq!(key("a_b", "c"), key("a", "b_c"));
        assert!(share_passwords("a", "a_b") && share_passwords("rack1_u2", "rack1"));
        // No account begins with a digit, has capitals or dots.
        for (one, other) in [
            ("pod", "pod_1"),
            ("pod1", "pod10"),
            ("a", "a_B"),
            ("a", "a_b.c"),
            ("a", "a"),
            ("a", "b_a"),
        ] {
            assert!(!share_passwords(one, other), "{one} {other}");
        }
    }
}
