//! How a machine is reached, and what a reboot makes of it.

use std::net::Ipv4Addr;
use std::process::Stdio;

use laas_lab::cabling::{MANAGEMENT_VLAN, host_address};
use laas_lab::faults::{Fault, Kind, Peer};
use laas_lab::machine::Event;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::machine::{LIMIT, Rack, access, os, trunk};

/// One card as before, a trunk with two VLANs and an untagged address, and a
/// VLAN that the switch does not carry.
const TRUNK: &str = "\
network:
  version: 2
  ethernets:
    eno1: {match: {macaddress: '02:00:00:00:01:01'}, dhcp4: true}
    two:
      match: {macaddress: '02:00:00:00:01:02'}
      set-name: two
      addresses: [127.128.11.1/24]
  vlans:
    vlan103: {id: 103, link: two, dhcp4: true}
    vlan104: {id: 104, link: two, addresses: [127.128.104.77/24]}
    vlan105: {id: 105, link: two, dhcp4: true}
";

const FIXED: &str = "\
network:
  version: 2
  ethernets:
    eno1: {dhcp4: true}
    eno2: {addresses: [127.128.12.9/24]}
";

/// Writes the host's only network configuration.
async fn configure(rack: &Rack, text: &str) {
    let file = rack.machine.root().unwrap();
    let file = file.join("etc/netplan/01-image.yaml");
    tokio::fs::write(file, text).await.unwrap();
}

#[tokio::test]
async fn a_reboot_asked_for_inside_happens() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    let address = host_address(MANAGEMENT_VLAN, 1);
    let ways = [
        "reboot",
        "/sbin/reboot",
        "shutdown -r now",
        "systemctl reboot",
        "nohup sh -c 'sleep 0.1; reboot' >/dev/null 2>&1 &",
        "setsid -f reboot >/dev/null 2>&1",
        // reboot(2), LINUX_REBOOT_CMD_RESTART.
        "python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x1234567)'",
    ];
    for (done, way) in ways.iter().enumerate() {
        rack.run(&format!("echo name{done} > /etc/hostname")).await;
        // As a real host does, it may go before ssh hears how it went.
        rack.ssh(address, way).await;
        rack.until_up(done + 2).await;
        assert_eq!(rack.run("hostname").await, format!("name{done}"), "{way}");
        assert_eq!(rack.machine.hostname().unwrap(), format!("name{done}"));
    }
    rack.ssh(address, "poweroff").await;
    rack.until("off", |machine| !machine.power()).await;
}

#[tokio::test]
async fn only_root_reboots() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    let said = rack
        .run("setpriv --reuid 1000 --clear-groups reboot && echo yes; true")
        .await;
    assert_eq!(said, "");
    assert_eq!(rack.machine.boots().len(), 1);
}

#[tokio::test]
async fn the_tools_of_a_host_work() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    for (command, expected) in [
        (
            "useradd -m -s /bin/bash one && getent passwd one | cut -d: -f6",
            "/home/one",
        ),
        ("usermod -aG sudo one && id -nG one", "one sudo"),
        (
            "echo one:secret | chpasswd && grep -c '^one:\\$' /etc/shadow",
            "1",
        ),
        ("hostname other && hostname", "other"),
        (
            "hostnamectl hostname third && hostname && cat /etc/hostname",
            "third\nthird",
        ),
        ("hostnamectl --static", "third"),
        (
            "netplan generate && ls /run/systemd/network",
            "10-netplan-cards.network",
        ),
        ("touch /usr/x /proc/sys/x 2>/dev/null || echo ro", "ro"),
        (
            "ip -br link show eno1 | tr -s ' ' | cut -d' ' -f3",
            "02:00:00:00:01:01",
        ),
        (
            "ip -4 -br addr show eno1 | tr -s ' ' | cut -d' ' -f3",
            "127.99.0.1/24",
        ),
        ("systemctl restart ssh && systemctl is-active ssh", "active"),
        // CAP_SYS_TIME (25): a host may not set the machine's clock.
        (
            "read -r _ set < <(grep CapBnd /proc/self/status); echo $((0x$set >> 25 & 1))",
            "0",
        ),
    ] {
        assert_eq!(rack.run(command).await, expected, "{command}");
    }
}

#[tokio::test]
async fn tagged_links_have_the_addresses_of_their_vlans() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    rack.plug(2, trunk(11, &[103, 104]));
    configure(&rack, TRUNK).await;
    rack.ssh(host_address(MANAGEMENT_VLAN, 1), "systemctl reboot")
        .await;
    rack.until_up(2).await;
    let mut addresses: Vec<_> = rack
        .machine
        .addresses()
        .into_iter()
        .map(|is| (is.address.to_string(), is.vlan, is.tagged, is.reachable))
        .collect();
    addresses.sort();
    let row = |address: &str, vlan, tagged| (address.to_owned(), vlan, tagged, true);
    assert_eq!(
        addresses,
        [
            row("127.128.103.1", 103, true),
            row("127.128.104.77", 104, true),
            row("127.128.11.1", 11, false),
            row("127.99.0.1", MANAGEMENT_VLAN, false),
        ]
    );
    for (address, ..) in addresses {
        until_reached(&rack, address.parse().unwrap(), true).await;
    }
    // 103 is untagged now: frames with its tag go nowhere.
    rack.plug(2, trunk(103, &[11, 104]));
    until_reached(&rack, host_address(103, 1), false).await;
    until_reached(&rack, host_address(104, 77), true).await;
}

/// `netplan apply` is the real one; what it stops and starts is the lab's.
#[tokio::test]
async fn a_network_is_applied_without_a_reboot() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    rack.plug(2, access(12));
    configure(&rack, FIXED).await;
    rack.run("netplan apply").await;
    until_reached(&rack, host_address(12, 9), true).await;
    assert_eq!(rack.machine.boots().len(), 1);
}

#[tokio::test]
async fn the_wire_is_cut_when_the_vlan_goes() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    let old = host_address(MANAGEMENT_VLAN, 1);
    let mut session = Command::new("ssh")
        .args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-i"])
        .arg(&rack.key)
        .args(["-o", "UserKnownHostsFile=/dev/null", "-p"])
        .arg(rack.ports.ssh.to_string())
        .args([&format!("root@{old}"), "echo here; sleep 600"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    let stdout = session.stdout.as_mut().unwrap();
    stdout.read_exact(&mut said).await.unwrap();
    rack.plug(1, access(11));
    let status = tokio::time::timeout(LIMIT, session.wait()).await;
    assert_eq!(status.unwrap().unwrap().code(), Some(255));
    until_reached(&rack, old, false).await;
    // A lease is kept until somebody asks anew; the link never went down.
    let new = host_address(11, 1);
    until_reached(&rack, new, false).await;
    rack.ipmi_ok("power reset").await;
    rack.until_up(2).await;
    until_reached(&rack, new, true).await;
    until_reached(&rack, old, false).await;
    // A client that was never answered asks on.
    rack.plug(2, access(12));
    until_reached(&rack, host_address(12, 1), true).await;
    rack.machine.set_power(false);
    until_reached(&rack, new, false).await;
}

#[tokio::test]
async fn a_host_without_a_usable_configuration_is_up_without_network() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    configure(&rack, "network: {ethernets: [").await;
    rack.machine.set_power(false);
    rack.machine.set_power(true);
    rack.until_up(2).await;
    assert_eq!(rack.machine.addresses(), []);
    until_reached(&rack, host_address(MANAGEMENT_VLAN, 1), false).await;
}

#[tokio::test]
async fn a_host_with_a_fault_does_as_the_fault_says() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    let address = host_address(MANAGEMENT_VLAN, 1);
    let peer = Peer::Host("pod1".into());
    for (kind, said) in [
        (Kind::Refuse, "reset"),
        (Kind::Hang, "timed out"),
        (Kind::WrongCredentials, "Permission denied"),
    ] {
        let second = Fault {
            kind,
            skip: 1,
            times: Some(1),
        };
        rack.faults.set(peer.clone(), second).unwrap();
        rack.run("true").await;
        let output = rack.ssh(address, "true").await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(255), "{kind:?}");
        assert!(stderr.contains(said), "{kind:?}: {stderr}");
        rack.run("true").await;
    }
    rack.faults.set(peer.clone(), Kind::Lie).unwrap();
    rack.run("reboot").await;
    // The lab reads requests in order.
    rack.run("systemctl restart systemd-networkd").await;
    rack.faults.clear(&peer);
    assert!(!rack.machine.events().contains(&Event::ShuttingDown));
    rack.ssh(address, "reboot").await;
    rack.until_up(2).await;
}

#[tokio::test]
async fn a_machine_dies_with_its_lab() {
    let mut lab = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "machine_wire::lab_to_be_killed",
            "--ignored",
            "--nocapture",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(lab.stdout.take().unwrap()).lines();
    let directory = loop {
        let line = lines
            .next_line()
            .await
            .unwrap()
            .expect("a lab that says where it is");
        if let Some((_, directory)) = line.split_once("the lab is in ") {
            break directory.to_owned();
        }
    };
    assert!(processes(&directory) >= 2, "ipmi_sim and bwrap");
    lab.kill().await.unwrap();
    let end = tokio::time::Instant::now() + LIMIT;
    while processes(&directory) > 0 {
        assert!(tokio::time::Instant::now() < end, "{directory}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
#[ignore = "never ends; for a_machine_dies_with_its_lab"]
async fn lab_to_be_killed() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    let root = rack.machine.root().unwrap();
    println!("the lab is in {}", root.ancestors().nth(2).unwrap().display());
    std::future::pending().await
}

/// How many processes name this directory in their arguments.
fn processes(directory: &str) -> usize {
    let names = |entry: std::io::Result<std::fs::DirEntry>| {
        let arguments = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&arguments)
            .contains(directory)
            .then_some(())
    };
    std::fs::read_dir("/proc").unwrap().filter_map(names).count()
}

async fn until_reached(rack: &Rack, address: Ipv4Addr, reached: bool) {
    let end = tokio::time::Instant::now() + LIMIT;
    while rack.ssh(address, "true").await.status.success() != reached {
        let now = tokio::time::Instant::now();
        assert!(now < end, "{address} reached: {}", !reached);
    }
}
