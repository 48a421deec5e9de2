//! The machine's BMC, asked with the real ipmitool.

use laas_lab::faults::{Fault, Kind, Peer};
use laas_lab::machine::{Device, Event, Phase};

use crate::machine::{Rack, os};

#[tokio::test]
async fn power_is_what_the_bmc_says() {
    let rack = Rack::new().await;
    rack.machine.install(17, os("ubuntu", "22.04")).unwrap();
    assert_eq!(rack.ipmi_ok("power status").await, "Chassis Power is off");
    // Reset needs something to reset.
    assert!(!rack.ipmi("power reset").await.status.success());
    rack.ipmi_ok("power on").await;
    assert_eq!(rack.ipmi_ok("power status").await, "Chassis Power is on");
    rack.until_up(1).await;
    // On again changes nothing.
    rack.ipmi_ok("power on").await;
    assert_eq!(rack.machine.boots(), [Device::Disk]);
    rack.ipmi_ok("power reset").await;
    rack.until_up(2).await;
    rack.ipmi_ok("power cycle").await;
    rack.until_up(3).await;
    rack.ipmi_ok("power off").await;
    assert!(!rack.machine.power());
    assert_eq!(rack.ipmi_ok("power status").await, "Chassis Power is off");
}

#[tokio::test]
async fn soft_asks_the_system_and_an_empty_disk_does_not_hear() {
    let rack = Rack::new().await;
    rack.ipmi_ok("power on").await;
    rack.until("dead", |machine| machine.phase() == Phase::Dead).await;
    rack.ipmi_ok("power soft").await;
    assert!(rack.machine.power());
    rack.ipmi_ok("power off").await;
    rack.machine.install(17, os("ubuntu", "22.04")).unwrap();
    rack.ipmi_ok("power on").await;
    rack.until_up(2).await;
    rack.ipmi_ok("power soft").await;
    rack.until("off", |machine| !machine.power()).await;
    assert!(rack.machine.events().contains(&Event::ShuttingDown));
}

#[tokio::test]
async fn a_boot_device_is_for_once_or_stays() {
    use Device::{Disk, Pxe};
    let rack = Rack::new().await;
    for (flags, boots) in [
        ("0x80 0x04", [Pxe, Disk]),
        ("0xa0 0x04", [Pxe, Disk]),
        ("0xe0 0x04", [Pxe, Pxe]),
        ("0xc0 0x08", [Disk, Disk]),
    ] {
        rack.ipmi_ok(&format!("raw 0x00 0x08 0x05 {flags} 0x00 0x00 0x00"))
            .await;
        let device = flags.split_once("0x0").unwrap().1.replace(" 0x0", "");
        let device = if flags.ends_with("04") { "04" } else { &device };
        let read = rack.ipmi_ok("raw 0x00 0x09 0x05 0x00 0x00").await;
        assert_eq!(read, format!("01 05 00 {device:0>2} 00 00 00"), "{flags}");
        let before = rack.machine.boots().len();
        for boot in 1..=2 {
            rack.machine.set_power(true);
            rack.until("booted", |machine| {
                machine.boots().len() == before + boot && machine.phase() == Phase::Dead
            })
            .await;
            rack.machine.set_power(false);
        }
        assert_eq!(rack.machine.boots()[before..], boots, "{flags}");
    }
}

#[tokio::test]
async fn users_are_kept_and_the_administrator_is_in_slot_two() {
    let rack = Rack::new().await;
    let users = rack.ipmi_ok("user list 1").await;
    let administrator = users.lines().find(|line| line.contains("ADMIN ")).unwrap();
    assert!(administrator.starts_with("2 "), "{administrator}");
    for words in [
        "user set name 5 tenant",
        "user set password 5 a-tenants-own",
        "user enable 5",
        "channel setaccess 1 5 link=on ipmi=on callin=on privilege=4",
    ] {
        rack.ipmi_ok(words).await;
    }
    rack.machine.set_power(true);
    rack.machine.set_power(false);
    let output = rack.ipmi_as("tenant", "a-tenants-own", "power on").await;
    assert!(output.status.success(), "{output:?}");
    assert!(rack.machine.power());
    let output = rack.ipmi_as("tenant", "a-guess", "power off").await;
    assert!(!output.status.success(), "{output:?}");
    let lan = rack.ipmi_ok("lan print 1").await;
    assert!(lan.contains(": 127.97.0.1\n"), "{lan}");
    assert!(lan.contains(": 02:00:00:00:01:b0"), "{lan}");
}

#[tokio::test]
async fn a_bmc_with_a_fault_does_as_the_fault_says() {
    let rack = Rack::new().await;
    let peer = Peer::Bmc("pod1".into());
    rack.ipmi_ok("power status").await;
    for kind in [Kind::Refuse, Kind::Hang, Kind::WrongCredentials] {
        rack.faults.set(peer.clone(), kind).unwrap();
        let output = rack.ipmi("-v power status").await;
        assert!(!output.status.success(), "{kind:?}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        // The right user and a wrong password: RAKP 2 carries a wrong hash.
        assert_eq!(said.contains("HMAC"), kind == Kind::WrongCredentials, "{said}");
        rack.faults.clear(&peer);
        rack.ipmi_ok("power status").await;
    }
    rack.faults.set(peer.clone(), Kind::Lie).unwrap();
    rack.ipmi_ok("power on").await;
    assert!(!rack.machine.power());
    assert_eq!(rack.ipmi_ok("power status").await, "Chassis Power is off");
    rack.faults.clear(&peer);
    rack.ipmi_ok("power on").await;
    assert!(rack.machine.power());
}

#[tokio::test]
async fn a_fault_can_meet_one_client_only() {
    let rack = Rack::new().await;
    let peer = Peer::Bmc("pod1".into());
    for kind in [Kind::Refuse, Kind::Hang] {
        let fault = Fault {
            kind,
            skip: 1,
            times: Some(1),
        };
        rack.faults.set(peer.clone(), fault).unwrap();
        rack.ipmi_ok("power status").await;
        assert!(!rack.ipmi("power status").await.status.success(), "{kind:?}");
        rack.ipmi_ok("power status").await;
        assert!(rack.faults.all().is_empty(), "{kind:?}");
    }
}
