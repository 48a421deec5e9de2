//! What a machine's disk holds, and how it gets there.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use laas_lab::cabling::{MANAGEMENT_VLAN, Order, host_address};
use laas_lab::machine::{Device, Event, Phase};
use laas_lab::pace::Pace;

use crate::machine::{Rack, access, os};

const PXE_ONCE: &str = "raw 0x00 0x08 0x05 0x80 0x04 0x00 0x00 0x00";

#[tokio::test]
async fn an_image_replaces_everything() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    rack.run("useradd -m tenant && echo mine > /etc/tenant && hostnamectl set-hostname web")
        .await;
    let seen = |rack: &Rack, file: &str| fs::read(rack.machine.root().unwrap().join(file)).unwrap();
    let (key, id) = ("etc/ssh/ssh_host_ed25519_key.pub", "etc/machine-id");
    let before = (seen(&rack, key), seen(&rack, id));
    rack.orders.deploy(22, "centos", "7");
    rack.ipmi_ok(PXE_ONCE).await;
    rack.ipmi_ok("power reset").await;
    rack.until_up(3).await;
    assert_eq!(rack.machine.boots(), [Device::Disk, Device::Pxe, Device::Disk]);
    let system = rack.machine.system().unwrap();
    assert_eq!((system.image, system.os), (22, os("centos", "7")));
    assert_ne!((seen(&rack, key), seen(&rack, id)), before);
    assert_eq!(seen(&rack, id).len(), 33);
    let found = rack
        .run("grep ^ID= /etc/os-release; ls /etc/tenant; getent passwd tenant opnfv; hostname")
        .await;
    assert_eq!(
        found.lines().collect::<Vec<_>>(),
        ["ID=centos", "opnfv:x:1000:1000::/home/opnfv:/bin/bash", "centos"]
    );
    let heard = rack.orders.heard();
    assert_eq!(heard[0], "boot 02:00:00:00:01:01");
    assert_eq!(heard[1], "progress 7 0");
    assert_eq!(heard[heard.len() - 2..], ["progress 7 100", "finished 7 centos"]);
}

#[tokio::test]
async fn no_management_vlan_no_image() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    rack.plug(1, access(11));
    rack.orders.deploy(22, "centos", "7");
    rack.ipmi_ok(PXE_ONCE).await;
    rack.ipmi_ok("power reset").await;
    rack.until_up(2).await;
    assert!(rack.machine.events().contains(&Event::NoPxe));
    assert_eq!(rack.machine.system().unwrap().image, 17);
    assert_eq!(rack.orders.heard(), [""; 0]);
    // Any card will do.
    rack.plug(3, access(MANAGEMENT_VLAN));
    rack.ipmi_ok(PXE_ONCE).await;
    rack.ipmi_ok("power reset").await;
    rack.until_up(4).await;
    assert_eq!(rack.orders.heard()[0], "boot 02:00:00:00:01:03");
    assert_eq!(rack.machine.system().unwrap().image, 22);
}

#[tokio::test]
async fn a_power_cut_breaks_a_disk_that_is_written() {
    let pace = Pace {
        imaging: Duration::from_secs(600),
        ..Pace::zero()
    };
    let rack = Rack::at(pace).await;
    rack.machine.install(17, os("ubuntu", "22.04")).unwrap();
    rack.orders.deploy(22, "centos", "7");
    rack.ipmi_ok(PXE_ONCE).await;
    rack.ipmi_ok("power on").await;
    rack.until("imaging", |machine| {
        matches!(machine.phase(), Phase::Imaging { .. })
    })
    .await;
    rack.ipmi_ok("power off").await;
    assert_eq!(rack.machine.system(), None);
    rack.ipmi_ok("power on").await;
    rack.until("dead", |machine| machine.phase() == Phase::Dead).await;
    assert!(
        !rack
            .orders
            .heard()
            .iter()
            .any(|said| said.starts_with("finished"))
    );
    let address = host_address(MANAGEMENT_VLAN, 1);
    assert!(!rack.ssh(address, "true").await.status.success());
}

#[tokio::test]
async fn a_disk_is_read_into_an_image_and_stays() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    rack.order(Order::Capture { task: 9, image: 40 });
    rack.run("echo mine > /etc/tenant").await;
    rack.ipmi_ok(PXE_ONCE).await;
    rack.ipmi_ok("power reset").await;
    rack.until_up(3).await;
    assert_eq!(rack.run("cat /etc/tenant").await, "mine");
    assert_eq!(rack.orders.heard().last().unwrap(), "finished 9 ubuntu");
    assert!(rack.machine.events().contains(&Event::Captured { image: 40 }));
}

#[tokio::test]
async fn every_system_boots_and_is_reached() {
    let mut keys = BTreeSet::new();
    for (id, version) in [
        ("ubuntu", "22.04"),
        ("debian", "12"),
        ("centos", "7"),
        ("opensuse-leap", "15.5"),
    ] {
        let rack = Rack::running(os(id, version)).await;
        let release = rack.run(". /etc/os-release; echo $ID $VERSION_ID").await;
        assert_eq!(release, format!("{id} {version}"));
        keys.insert(rack.run("cat /etc/ssh/ssh_host_ed25519_key.pub").await);
    }
    assert_eq!(keys.len(), 4);
}

#[tokio::test]
async fn a_wiped_disk_is_empty_and_does_not_boot() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    let root = rack.machine.root().unwrap();
    rack.order(Order::Wipe { task: 9 });
    rack.ipmi_ok(PXE_ONCE).await;
    rack.ipmi_ok("power reset").await;
    rack.until("dead", |machine| machine.phase() == Phase::Dead).await;
    assert_eq!(rack.orders.heard().last().unwrap(), "wiped 9");
    assert!(rack.machine.events().contains(&Event::Wiped));
    assert_eq!((rack.machine.system(), root.exists()), (None, false));
    rack.ipmi_ok("power reset").await;
    rack.until("dead again", |machine| {
        machine.phase() == Phase::Dead && machine.boots().len() == 4
    })
    .await;
}
