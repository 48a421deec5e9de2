//! Keeps the lab's internal addresses out of what users read.

use laas_core::config::Config;
use std::net::{IpAddr, SocketAddr};

const HIDDEN: &str = "an internal address";

/// The names of the lab's servers, which may look like any other word.
pub fn server_names(config: Option<&Config>) -> Vec<String> {
    let Some(config) = config else {
        return Vec::new();
    };
    let addresses = [
        config.fog().ok().map(|fog| fog.address.as_str()),
        config.vpn().ok().map(|vpn| vpn.server.as_str()),
        config.bot().map(|bot| bot.address.as_str()),
        config
            .jenkins()
            .ok()
            .flatten()
            .map(|jenkins| jenkins.url.as_str()),
    ];
    let names = addresses.into_iter().flatten().map(|address| {
        let address = address.split_once("://").map_or(address, |(_, rest)| rest);
        host_of(address).to_owned()
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// The text without URLs, IP addresses, names with a domain and these names.
pub fn hidden(text: &str, names: &[String]) -> String {
    let separates = |c: char| c.is_whitespace() || "`'\"()<>,;=|{}".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(separates).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let bare = word.trim_end_matches(['.', ':', '!', '?']);
        if is_internal(bare, names) {
            shown.push_str(HIDDEN);
            shown.push_str(&word[bare.len()..]);
        } else {
            shown.push_str(word);
        }
        let separator = after.chars().next().map_or(0, char::len_utf8);
        shown.push_str(&after[..separator]);
        rest = &after[separator..];
    }
    shown
}

fn is_internal(word: &str, names: &[String]) -> bool {
    if word.contains("://") {
        return true;
    }
    let place = word.rsplit_once('@').map_or(word, |(_, place)| place);
    // An address with a port, a length or a path.
    let place = place.split('/').next().unwrap_or_default();
    let host = host_of(place);
    let is_address = [place, host].iter().any(|text| {
        text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok()
    });
    is_address || has_domain(host) || names.iter().any(|name| name == host)
}

/// The host of `host:port/path`.
fn host_of(address: &str) -> &str {
    let place = address.split('/').next().unwrap_or_default();
    match place.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()) => host,
        _ => place,
    }
}

/// `bmc1.lab.example`, but neither `1.2.3` nor `image.tar`.
fn has_domain(name: &str) -> bool {
    let labels: Vec<_> = name.split('.').collect();
    let is_label = |label: &&str| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let top = labels.last().copied().unwrap_or_default();
    labels.len() > 2
        && labels.iter().all(is_label)
        && top.len() > 1
        && top.chars().all(|c| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_internal_address_is_left_and_all_other_words_are() {
        let names = ["fog".to_owned(), "ldap.lab".to_owned()];
        for (text, expected) in [
            (
                "can't reach `http://10.0.0.5/fog/host/1`: connection refused (os error 111)",
                "can't reach `an internal address`: connection refused (os error 111)",
            ),
            ("no route to 10.99.0.1:623.", "no route to an internal address."),
            ("root@10.0.0.7: refused", "an internal address: refused"),
            (
                "the net 10.0.0.0/24, fd00::7 and [fd00::7]:22",
                "the net an internal address, an internal address and an internal address",
            ),
            ("ldaps://ldap.lab said no", "an internal address said no"),
            (
                "ldap.lab:636 and fog did not answer",
                "an internal address and an internal address did not answer",
            ),
            (
                "host=bmc1.lab.example.org is away",
                "host=an internal address is away",
            ),
        ] {
            assert_eq!(hidden(text, &names), expected);
        }
        for text in [
            "image 17 is not there",
            "port Ethernet1/3 of 02:00:00:00:01:01 carries VLAN 11; it should carry 12: `vlan 12`",
            "`/etc/netplan/50-laas.yaml` is not sound; os-nosdn-nofeature-noha on Ubuntu 22.04.3",
            "FOG 1.5.10 says: foggy, 3.2 GB at 12:30:59. ü",
            "",
        ] {
            assert_eq!(hidden(text, &names), text);
        }
    }
}
