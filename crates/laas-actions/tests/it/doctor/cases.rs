//! Single mistakes, and what the doctor says of each.

use super::{Patient, Ward};
use laas_lab::cabling::switch_address;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

/// A port on which nobody listens.
fn closed() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn nobody(path: &str) -> Value {
    json!(format!("http://127.0.0.1:{}{path}", closed()))
}

fn switch_key() -> String {
    format!("switch_{}", switch_address(1))
}

/// What is done to the patient; then the peer, the host, and words of what is found and of its hint.
pub type Case = (
    fn(&Ward, &mut Patient),
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static str,
);

pub const CASES: &[Case] = &[
    // The configuration.
    (
        |_, p| drop(p.config.as_object_mut().unwrap().remove("fog")),
        "config",
        None,
        "`fog` is missing",
        "laas.yaml.example",
    ),
    (
        |_, p| drop(p.config.as_object_mut().unwrap().remove("vpn")),
        "config",
        None,
        "`vpn` is missing",
        "laas.yaml.example",
    ),
    (
        |_, p| drop(p.config.as_object_mut().unwrap().remove("dashboard")),
        "config",
        None,
        "`dashboard` is missing",
        "laas.yaml.example",
    ),
    (
        |_, p| p.config["fog"]["user_key"] = json!(null),
        "config",
        None,
        "`fog.user_key` of the pack's configuration is empty",
        "st2 key set",
    ),
    (
        |_, p| p.config["networks"]["tenant"] = json!("11-x"),
        "config",
        None,
        "networks.tenant",
        "config.schema.yaml",
    ),
    (
        |_, p| p.config["timing"]["call"] = json!(600),
        "config",
        None,
        "`timing.call`",
        "timeout",
    ),
    // FOG.
    (
        |_, p| p.config["fog"]["address"] = nobody("/fog"),
        "fog",
        None,
        "can't",
        "fog.address",
    ),
    (
        |w, p| p.config["fog"]["address"] = json!(w.lab().access().fog.replace("/fog", "/foggy")),
        "fog",
        None,
        "no FOG API",
        "web root",
    ),
    (
        |_, p| p.config["fog"]["api_key"] = json!("d3Jvbmc="),
        "fog",
        None,
        "API key",
        "fog.api_key",
    ),
    (
        |_, p| p.config["fog"]["user_key"] = json!("d3Jvbmc="),
        "fog",
        None,
        "user key",
        "fog.user_key",
    ),
    (
        |_, p| p.change("pod2", |host| host["fog_name"] = json!("pod-2")),
        "fog",
        Some("pod2"),
        "0 hosts called `pod-2`",
        "fog_name",
    ),
    (
        |_, p| p.change("pod1", |host| host["ubuntu_image"] = json!(99)),
        "fog",
        Some("pod1"),
        "image 99",
        "register it",
    ),
    (
        |_, p| p.change("pod1", |host| host["ubuntu_image"] = json!(23)),
        "fog",
        Some("pod1"),
        "disabled",
        "enable it",
    ),
    (
        |w, p| {
            let image = w.incomplete;
            p.change("pod1", |host| host["suse_image"] = json!(image));
        },
        "fog",
        Some("pod1"),
        "not completed",
        "capture it again",
    ),
    (
        |w, p| {
            let image = w.nowhere;
            p.change("pod2", |host| host["suse_image"] = json!(image));
        },
        "fog",
        Some("pod2"),
        "no node",
        "enable a node",
    ),
    // The dashboard and the bot.
    (
        |_, p| p.config["dashboard"]["address"] = nobody(""),
        "dashboard",
        None,
        "can't ask",
        "dashboard.address",
    ),
    (
        |_, p| p.config["dashboard"]["lab_name"] = json!("unh_iol"),
        "dashboard",
        None,
        "refuses our token",
        "case-sensitive",
    ),
    (
        |_, p| p.key("lab_auth_token").value = "wrong".to_owned(),
        "dashboard",
        None,
        "refuses our token",
        "lab_auth_token",
    ),
    (
        |_, p| {
            // Everything but its name is as it was.
            p.key("pod2").name = "pod9".to_owned();
            p.key("hosts").value = r#"["pod1", "pod9"]"#.to_owned();
        },
        "dashboard",
        Some("pod9"),
        "does not know the host `pod9`",
        "lab_name",
    ),
    (
        |w, p| p.config["dashboard"]["address"] = json!(w.late.url()),
        "dashboard",
        None,
        "behind this machine's",
        "NTP",
    ),
    (
        |_, p| p.config["bot"]["address"] = nobody(""),
        "bot",
        None,
        "can't reach",
        "bot.address",
    ),
    // The directory.
    (
        |_, p| p.config["vpn"]["server"] = json!(format!("ldaps://127.0.0.1:{}", closed())),
        "ldap",
        None,
        "can't",
        "vpn.server",
    ),
    (
        |_, p| p.config["vpn"]["server"] = json!("http://ldap"),
        "ldap",
        None,
        "http://ldap",
        "host name, or a URL",
    ),
    (
        |_, p| p.config["vpn"]["authentication"]["pass"] = json!("wrong"),
        "ldap",
        None,
        "wrong DN or password",
        "vpn.authentication",
    ),
    (
        |w, p| p.config["vpn"]["authentication"]["user"] = json!(w.blind),
        "ldap",
        None,
        "hides its `description`",
        "read access to `description` below `ou=People",
    ),
    (
        |_, p| p.config["vpn"]["directory"]["user"] = json!("ou=Poeple"),
        "ldap",
        None,
        "has no `ou=Poeple",
        "vpn.directory",
    ),
    (
        |_, p| p.config["vpn"]["tls"] = json!({}),
        "ldap",
        None,
        "TLS",
        "vpn.tls.ca",
    ),
    (
        |_, p| p.config["vpn"]["tls"] = json!({"ca": "/nowhere/ca.pem"}),
        "ldap",
        None,
        "/nowhere/ca.pem",
        "vpn",
    ),
    // The datastore and the inventory in it.
    (
        |_, p| p.lose("lab_auth_token"),
        "datastore",
        None,
        "no key `lab_auth_token`",
        "st2 key set -e lab_auth_token",
    ),
    (
        |_, p| p.lose("hosts"),
        "datastore",
        None,
        "no `hosts`",
        "inventory",
    ),
    (
        |_, p| p.lose("pod2"),
        "datastore",
        None,
        "`pod2`, which has no entry",
        "inventory",
    ),
    (
        |_, p| p.key("pod2").value.push('}'),
        "datastore",
        None,
        "value of `pod2` is no JSON",
        "hosts.json.example",
    ),
    (
        |_, p| p.change("pod2", |host| host["hostnam"] = json!("x")),
        "datastore",
        None,
        "unknown `hostnam`",
        "known are",
    ),
    (
        |_, p| {
            p.change("pod2", |host| {
                for image in ["ubuntu_image", "centos_image", "suse_image"] {
                    host[image] = json!(null);
                }
            })
        },
        "datastore",
        Some("pod2"),
        "no image",
        "ubuntu_image",
    ),
    (
        |_, p| p.card("pod2", 0, "port", "Ethernet1/1"),
        "datastore",
        Some("pod2"),
        "`Ethernet1/1 of",
        "inventory",
    ),
    (
        |_, p| {
            p.change("pod2", |host| {
                let mut card = host["interfaces"]["02:00:00:00:02:01"].take();
                card["mac"] = json!("02:00:00:00:01:01");
                host["interfaces"] = json!({"02:00:00:00:01:01": card});
            })
        },
        "datastore",
        Some("pod2"),
        "MAC address `02:00:00:00:01:01` is used twice",
        "inventory",
    ),
    (
        |_, p| p.card("pod2", 0, "port", "1/4; reload"),
        "datastore",
        None,
        "no name of a switch port",
        "inventory",
    ),
    (
        |_, p| p.lose("bmc_admin_pod1"),
        "datastore",
        Some("pod1"),
        "no key `bmc_admin_pod1`",
        "st2 key set -e bmc_admin_pod1",
    ),
    (
        |_, p| p.key("bmc_admin_pod1").secret = false,
        "datastore",
        None,
        "`bmc_admin_pod1` is a secret",
        "st2 key set -e",
    ),
    (
        |_, p| p.lose(&switch_key()),
        "datastore",
        Some("pod1"),
        "unknown switch",
        "switch_",
    ),
    (
        |_, p| p.key(&switch_key()).value = "hunter2".to_owned(),
        "datastore",
        None,
        "is no JSON",
        "hosts.json.example",
    ),
    // The switch.
    (
        |_, p| p.change(&switch_key(), |switch| switch["password"] = json!("hunter2")),
        "switch",
        None,
        "refuses our login",
        "user and password",
    ),
    (
        |_, p| p.change(&switch_key(), |switch| switch["url"] = nobody("")),
        "switch",
        None,
        "can't be asked",
        "nxapi",
    ),
    (
        |_, p| p.change(&switch_key(), |switch| switch["driver"] = json!("eos")),
        "switch",
        None,
        "",
        "http-commands",
    ),
    (
        |_, p| p.card("pod2", 2, "port", "Ethernet1/48"),
        "switch",
        Some("pod2"),
        "no port `Ethernet1/48`",
        "compare `switch` and `port`",
    ),
    // BMCs.
    (
        |_, p| p.change("pod1", |host| drop(host.as_object_mut().unwrap().remove("bmc"))),
        "bmc",
        Some("pod1"),
        "no BMC",
        "hosts.json.example",
    ),
    (
        |_, p| p.key("bmc_admin_pod2").value = "hunter2".to_owned(),
        "bmc",
        Some("pod2"),
        "",
        "bmc.password_key",
    ),
    (
        |_, p| p.change("pod2", |host| host["bmc"]["port"] = json!(closed())),
        "bmc",
        Some("pod2"),
        "",
        "",
    ),
    (
        |_, p| p.change("pod2", |host| host["bmc"]["user"] = json!("NOBODY")),
        "bmc",
        Some("pod2"),
        "",
        "user",
    ),
    // Names and this machine.
    (
        |_, p| p.change("pod1", |host| host["hostname"] = json!("pod1.invalid")),
        "dns",
        Some("pod1"),
        "`pod1.invalid` does not resolve",
        "/etc/hosts",
    ),
    (
        |_, p| p.ssh_key("/nowhere/id_rsa".into()),
        "machine",
        None,
        "/nowhere/id_rsa",
        "ssh.key_file",
    ),
    (
        |_, p| {
            let path = p.file("id.pub", "ssh-ed25519 AAAA lab\n", 0o600);
            p.ssh_key(path);
        },
        "machine",
        None,
        "no private SSH key",
        "private half",
    ),
    (
        |w, p| {
            let key = std::fs::read_to_string(&w.lab().access().ssh_key).unwrap();
            let path = p.file("id", &key, 0o644);
            p.ssh_key(path);
        },
        "machine",
        None,
        "open to other users",
        "chmod 600",
    ),
    (
        |_, p| {
            let path = p.dir.path().join("small");
            std::fs::create_dir(&path).unwrap();
            let mount = Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=1m", "laas"])
                .arg(&path)
                .status();
            assert!(mount.unwrap().success());
            p.mounted = Some(path);
        },
        "machine",
        None,
        "MB left",
        "make room",
    ),
    (
        |_, p| {
            // A PATH with everything but ipmitool.
            let bin = p.dir.path().join("bin");
            std::fs::create_dir(&bin).unwrap();
            std::os::unix::fs::symlink("/usr/bin/ssh", bin.join("ssh")).unwrap();
            p.path = bin.display().to_string();
        },
        "machine",
        None,
        "`ipmitool`",
        "install",
    ),
];
