//! What the lab consists of, and the same told to the pack: keys of the
//! datastore and the configuration.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::cabling::{MANAGEMENT_VLAN, Socket, bmc_address, host_address, switch_address};
use crate::eos::Eos;
use crate::nxos::Nxos;
use crate::slapd::{ADMIN, SUFFIX};
use crate::stack::Key;

/// The name of the lab in the dashboard.
pub const LAB_NAME: &str = "UNH_IOL";
/// The administrator of every BMC.
pub const BMC_USER: &str = "ADMIN";
/// The account of the switches.
pub const SWITCH_USER: &str = "admin";

/// Where a port's native VLAN goes that carries nothing.
const PARKING_VLAN: u16 = 999;
/// Tenant VLANs on which the pack may look for a host.
const PUBLIC_VLANS: [u16; 3] = [11, 12, 13];

const CARDS_PER_HOST: u8 = 3;

/// The lab's switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// Switch 1, a Nexus.
    Nxos,
    /// Switch 2, of Arista.
    Eos,
}

impl Make {
    /// Where the switch is.
    pub fn address(self) -> Ipv4Addr {
        switch_address(match self {
            Self::Nxos => 1,
            Self::Eos => 2,
        })
    }

    fn port_name(self, port: u16) -> String {
        match self {
            Self::Nxos => Nxos::port_name(port),
            Self::Eos => Eos::port_name(port),
        }
    }
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The MAC address, lower case with colons.
    pub mac: String,
    /// The PCI address.
    pub bus: String,
    /// The name that the operating system gives it.
    pub name: String,
    /// Where its cable ends.
    pub socket: Socket,
}

/// What a host's BMC is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BmcKind {
    /// IPMI 2.0.
    #[default]
    Ipmi,
    /// HPE's iLO 5.
    Ilo5,
    /// HP's iLO 4, with its own spelling.
    Ilo4,
    /// An early iLO 4, whose Redfish has no boot override.
    Ilo4WithoutBoot,
    /// Dell's iDRAC: slots for accounts, and a mode with the boot device.
    Idrac,
}

/// A host of the lab, as it stands in the rack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSpec {
    /// Its number, from 1; addresses follow from it.
    pub number: u8,
    /// `pod1` and so on: the name in the dashboard, in FOG and of its BMC.
    pub name: String,
    /// The cards; the first one boots from the network.
    pub nics: Vec<Nic>,
    /// What its BMC is.
    pub bmc: BmcKind,
}

impl HostSpec {
    /// The host with this number, three cards on the first switch.
    pub fn numbered(number: u8) -> Self {
        Self::cabled(number, |_, _| Make::Nxos)
    }

    /// The host with this number. `cabled` says where the cable of a card (from 1) of a host ends; the number of the
    /// port is the same on either switch.
    pub fn cabled(number: u8, cabled: fn(host: u8, card: u8) -> Make) -> Self {
        let nic = |card: u8| Nic {
            mac: format!("02:00:00:00:{number:02x}:{card:02x}"),
            bus: format!("0000:{card:02x}:00.0"),
            name: format!("eno{card}"),
            socket: Socket {
                switch: cabled(number, card).address(),
                port: cabled(number, card).port_name(ports_of(number - 1) + u16::from(card)),
            },
        };
        Self {
            number,
            name: format!("pod{number}"),
            nics: (1..=CARDS_PER_HOST).map(nic).collect(),
            bmc: BmcKind::Ipmi,
        }
    }

    /// The addresses that the host has on the VLANs the pack looks at.
    fn addresses(&self) -> BTreeMap<String, Ipv4Addr> {
        let vlans = [MANAGEMENT_VLAN].into_iter().chain(PUBLIC_VLANS);
        vlans
            .map(|vlan| (vlan.to_string(), host_address(vlan, self.number)))
            .collect()
    }

    /// How to reach its BMC.
    fn bmc(&self, access: &Access) -> Value {
        let mut bmc = json!({
            "address": bmc_address(self.number), "user": BMC_USER, "password_key": bmc_password_key(&self.name),
            "mac": format!("02:00:00:00:{:02x}:b0", self.number),
        });
        let own = match self.bmc {
            BmcKind::Ipmi => json!({"driver": "ipmi", "port": access.bmc_port, "cipher": 3}),
            _ => json!({
                "driver": "redfish", "port": access.redfish_port,
                "tls": {"ca": access.bmc_certificate(&self.name)},
            }),
        };
        for (name, value) in own.as_object().into_iter().flatten() {
            bmc[name] = value.clone();
        }
        bmc
    }

    fn key(&self, access: &Access) -> Key {
        let interface = |nic: &Nic| {
            let text = json!({
                "mac": nic.mac, "bus": nic.bus, "switch": nic.socket.switch, "port": nic.socket.port,
                "name": nic.name,
            });
            (nic.mac.clone(), text)
        };
        let value = json!({
            "dashboard_id": self.number,
            "fog_name": self.name,
            "hostname": host_address(MANAGEMENT_VLAN, self.number),
            // Each of the two hosts of the observed booking has an image of its own.
            "ubuntu_image": if self.number % 2 == 1 { 17 } else { 22 },
            "centos_image": 25,
            "suse_image": 21,
            "interfaces": self.nics.iter().map(interface).collect::<Map<_, _>>(),
            "addresses": self.addresses(),
            "bmc": self.bmc(access),
        });
        public(&self.name, &value)
    }
}

/// How many switch ports so many hosts take.
pub fn ports_of(hosts: u8) -> u16 {
    u16::from(hosts) * u16::from(CARDS_PER_HOST)
}

/// Where the lab's parts are and what opens them.
#[derive(Debug, Clone)]
pub struct Access {
    /// The dashboard's root.
    pub dashboard: String,
    /// The lab's token in the dashboard.
    pub lab_token: String,
    /// FOG's web root.
    pub fog: String,
    /// FOG's tokens as its pages show them: the global one and the user's.
    pub fog_tokens: [String; 2],
    /// The API of the Nexus.
    pub switch: String,
    /// The password of [`SWITCH_USER`].
    pub switch_password: String,
    /// The API of the Arista switch.
    pub eos: String,
    /// The password of [`SWITCH_USER`] there.
    pub eos_password: String,
    /// The directory over TLS.
    pub ldaps: String,
    /// The directory with StartTLS.
    pub ldap: String,
    /// The authority that signed the directory's certificate.
    pub ca: PathBuf,
    /// The password of the directory's administrator.
    pub ldap_password: String,
    /// The chat bot.
    pub bot: String,
    /// The port of SSH on every host.
    pub ssh_port: u16,
    /// The key that every image lets in as root.
    pub ssh_key: PathBuf,
    /// The port of every BMC with IPMI.
    pub bmc_port: u16,
    /// The port of every BMC with Redfish.
    pub redfish_port: u16,
    /// The lab's directory, in which each host has one.
    pub directory: PathBuf,
    /// The password of [`BMC_USER`], by host.
    pub bmc_passwords: BTreeMap<String, String>,
}

impl Access {
    /// Every key that the pack looks for in the datastore.
    pub fn keys(&self, hosts: &[HostSpec]) -> Vec<Key> {
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        let switch = |driver: &str, url: &str, password: &str| {
            json!({"driver": driver, "url": url, "user": SWITCH_USER, "password": password}).to_string()
        };
        let mut keys: Vec<Key> = hosts.iter().map(|host| host.key(self)).collect();
        keys.push(public("hosts", &json!(names)));
        for (make, driver, url, password) in [
            (Make::Nxos, "nxos", &self.switch, &self.switch_password),
            (Make::Eos, "eos", &self.eos, &self.eos_password),
        ] {
            keys.push(secret(
                &format!("switch_{}", make.address()),
                &switch(driver, url, password),
            ));
        }
        keys.push(secret("lab_auth_token", &self.lab_token));
        let passwords = self.bmc_passwords.iter();
        keys.extend(passwords.map(|(host, password)| secret(&bmc_password_key(host), password)));
        keys
    }

    /// The certificate of a host's BMC, if it has a Redfish service.
    pub fn bmc_certificate(&self, host: &str) -> PathBuf {
        self.directory.join(host).join("bmc.crt")
    }

    /// The pack's configuration; `timing` is that of the pace.
    pub fn config(&self, timing: &Value) -> Value {
        let [fog_api, fog_user] = &self.fog_tokens;
        json!({
            "fog": {"address": self.fog, "api_key": fog_api, "user_key": fog_user},
            "vpn": {
                "server": self.ldaps,
                "authentication": {"user": ADMIN, "pass": self.ldap_password},
                "directory": {"root": SUFFIX, "user": "ou=People"},
                "user": {"objects": ["top", "inetOrgPerson"]},
                "tls": {"ca": self.ca},
            },
            "dashboard": {"address": self.dashboard, "lab_name": LAB_NAME, "poll_ms": timing["poll_ms"]},
            "bot": {"address": self.bot, "endpoints": {"failure": "notify"}},
            "ssh": {"user": "root", "key_file": self.ssh_key, "port": self.ssh_port},
            "access": {"user": "opnfv"},
            "software": {"sources": {"fuel": "/srv/fuel"}},
            "networks": {
                "management": MANAGEMENT_VLAN, "parking": PARKING_VLAN, "tenant": "11-13,100-199",
                "public": PUBLIC_VLANS,
            },
            "timing": timing,
        })
    }

    /// What may be shown to anybody: addresses and files, no secret.
    pub fn endpoints(&self) -> Value {
        json!({
            "dashboard": self.dashboard, "lab_name": LAB_NAME, "fog": self.fog, "switch": self.switch, "eos": self.eos,
            "ldap": self.ldap, "ldaps": self.ldaps, "bot": self.bot, "ssh_port": self.ssh_port,
            "bmc_port": self.bmc_port, "redfish_port": self.redfish_port,
        })
    }
}

/// Keys in the format of `hosts.json`.
pub fn key_file<'a>(keys: impl IntoIterator<Item = &'a Key>) -> String {
    let entry = |key: &Key| match key.secret {
        true => json!({"name": key.name, "value": key.value, "secret": true}),
        false => json!({"name": key.name, "value": key.value}),
    };
    let entries: Value = keys.into_iter().map(entry).collect();
    format!("{entries:#}\n")
}

fn bmc_password_key(host: &str) -> String {
    format!("bmc_admin_{host}")
}

fn public(name: &str, value: &Value) -> Key {
    Key {
        name: name.into(),
        value: value.to_string(),
        secret: false,
    }
}

fn secret(name: &str, value: &str) -> Key {
    Key {
        name: name.into(),
        value: value.into(),
        secret: true,
    }
}
