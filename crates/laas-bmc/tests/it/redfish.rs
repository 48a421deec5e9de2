//! The driver against a service that others wrote, and against one that answers with anything.

use crate::sushy::{ADMIN, PASSWORD, Sushy};
use laas_bmc::power::{self, Command, Patience};
use laas_bmc::{Bmc, BmcError, Boot, Device, Login, Power, Privilege};
use laas_core::inventory;
use laas_core::{Classify, Kind, Secret};
use serde_json::{Value, json};
use std::time::Duration;

fn open(port: u16, tls: &Value, password: &str) -> Box<dyn Bmc> {
    let entry = json!({
        "driver": "redfish", "address": "127.0.0.1", "port": port, "user": ADMIN, "password_key": "k", "tls": tls,
    });
    let entry: inventory::Bmc = serde_json::from_value(entry).unwrap();
    laas_bmc::open(&entry, Secret::new(password), Duration::from_secs(30)).unwrap()
}

fn bmc(sushy: &Sushy) -> Box<dyn Bmc> {
    open(sushy.port, &json!({"ca": sushy.certificate()}), PASSWORD)
}

#[test]
fn power_goes_where_it_is_told() {
    let sushy = Sushy::start();
    let bmc = bmc(&sushy);
    // The emulator takes up to eleven seconds for a change.
    let patience = Patience {
        limit: Duration::from_secs(120),
        poll: Duration::from_millis(200),
        force: false,
    };
    for (command, before, after) in [
        (Command::Off, Power::Off, Power::Off),
        (Command::On, Power::Off, Power::On),
        (Command::On, Power::On, Power::On),
        (Command::Soft, Power::On, Power::Off),
        (Command::Cycle, Power::Off, Power::On),
        (Command::Off, Power::On, Power::Off),
    ] {
        assert_eq!(bmc.power().unwrap(), before, "{command:?}");
        let reached = power::run(bmc.as_ref(), command, before, &patience).unwrap();
        assert_eq!((reached, bmc.power().unwrap()), (after, after), "{command:?}");
    }
}

#[test]
fn the_boot_device_reads_back_as_it_was_told() {
    let sushy = Sushy::start();
    let bmc = bmc(&sushy);
    let orders = [Device::Pxe, Device::Disk].map(|device| [(device, false), (device, true)]);
    for (device, uefi) in orders.into_iter().flatten() {
        // The emulator says `Continuous` whatever it is told: that it took a boot for once is found out.
        for persistent in [true, false] {
            let boot = Boot {
                device,
                persistent,
                uefi,
            };
            bmc.set_boot(&boot).unwrap();
            let state = bmc.boot().unwrap();
            assert_eq!(state.obeys(&boot), persistent, "{boot:?}: {state}");
            assert!(!state.obeys(&Boot { uefi: !uefi, ..boot }), "{boot:?}: {state}");
        }
    }
    let boot = |device| Boot {
        device,
        persistent: true,
        uefi: true,
    };
    let error = bmc.set_boot(&boot(Device::Bios)).unwrap_err();
    assert!(
        matches!(error, BmcError::NoDevice { .. }),
        "not on the emulator's list: {error}"
    );
    // It wants a device in any case.
    let error = bmc.set_boot(&boot(Device::None)).unwrap_err();
    assert!(matches!(error, BmcError::Rejected { status: 400, .. }), "{error}");
}

#[test]
fn each_way_of_not_getting_in_is_told_apart() {
    let sushy = Sushy::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = free.local_addr().unwrap().port();
    drop(free);
    let trusted = json!({"ca": sushy.certificate()});
    for (bmc, kind, word) in [
        (
            open(sushy.port, &trusted, "wrong"),
            Kind::Refused,
            "refuses the login of `admin`",
        ),
        (
            open(sushy.port, &json!({}), PASSWORD),
            Kind::Unreachable,
            "can't ask the BMC `127.0.0.1`",
        ),
        (
            open(closed, &trusted, PASSWORD),
            Kind::Unreachable,
            "can't ask the BMC `127.0.0.1`",
        ),
    ] {
        let error = bmc.power().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert!(error.hint().is_some_and(|h| h.contains("bmc.")), "{error}");
        assert!(!format!("{error:?}").contains(PASSWORD), "{error:?}");
    }
    assert_eq!(
        open(sushy.port, &json!({"insecure": true}), PASSWORD)
            .power()
            .unwrap(),
        Power::Off
    );
    let bmc = bmc(&sushy);
    let login = |password| Login {
        user: ADMIN.to_owned(),
        password: Secret::new(password),
    };
    bmc.prove(&login(PASSWORD), Privilege::Operator).unwrap();
    let error = bmc.prove(&login("wrong"), Privilege::Operator).unwrap_err();
    assert!(matches!(error, BmcError::Login { .. }), "{error}");
}

#[test]
fn what_the_service_has_not_is_said() {
    let sushy = Sushy::start();
    let bmc = bmc(&sushy);
    let error = bmc.users().unwrap_err();
    assert!(matches!(error, BmcError::Rejected { status: 404, .. }), "{error}");
    let bios = bmc.bios().unwrap();
    let secret = |text| Secret::new(text);
    let error = bios
        .change_password(&secret("old"), &secret("new-password"))
        .unwrap_err();
    assert!(
        !format!("{error:?} {error}").contains("new-password"),
        "{error:?}"
    );
    let info = bmc.info().unwrap();
    assert!(info.protocol.starts_with("Redfish 1."), "{info:?}");
}
