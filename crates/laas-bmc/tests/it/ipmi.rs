use crate::sim::{ADMIN, PASSWORD, Sim};
use laas_bmc::power::{self, Command, Patience};
use laas_bmc::{Bmc, BmcError, Boot, Button, Device, Login, Power, Privilege, account};
use laas_core::inventory;
use laas_core::{Classify, Kind, Secret};
use serde_json::json;
use std::time::Duration;

fn bmc(sim: &Sim, user: &str, password: &str, cipher: u8) -> Box<dyn Bmc> {
    at(sim.port, user, password, cipher, Duration::from_secs(30))
}

fn at(port: u16, user: &str, password: &str, cipher: u8, call: Duration) -> Box<dyn Bmc> {
    let entry =
        json!({"address": "127.0.0.1", "port": port, "user": user, "password_key": "k", "cipher": cipher});
    let entry: inventory::Bmc = serde_json::from_value(entry).unwrap();
    laas_bmc::open(&entry, Secret::new(password), call).unwrap()
}

fn patience(force: bool) -> Patience {
    // Long enough for a slow machine where the end is good, and short where it is known to be bad.
    Patience {
        limit: Duration::from_secs(30),
        poll: Duration::from_millis(50),
        force,
    }
}

fn impatience(force: bool) -> Patience {
    Patience {
        limit: Duration::from_millis(300),
        ..patience(force)
    }
}

#[test]
fn power_goes_where_it_is_told_and_stays_there() {
    let sim = Sim::start();
    let bmc = bmc(&sim, ADMIN, PASSWORD, 3);
    assert_eq!(bmc.power().unwrap(), Power::Off);
    let mut expected = Vec::new();
    // What is told to the chassis, beginning with a host that is off.
    for (command, after, told) in [
        (Command::Off, Power::Off, &[][..]),
        (Command::On, Power::On, &["power 1"]),
        (Command::On, Power::On, &[]),
        (Command::Status, Power::On, &[]),
        (Command::Reset, Power::On, &["reset"]),
        (Command::Cycle, Power::On, &["power 0", "power 1"]),
        (Command::Soft, Power::Off, &["power 0"]),
        (Command::Soft, Power::Off, &[]),
        (Command::Cycle, Power::On, &["power 1"]),
        (Command::Off, Power::Off, &["power 0"]),
    ] {
        let before = bmc.power().unwrap();
        let reached = power::run(bmc.as_ref(), command, before, &patience(false)).unwrap();
        assert_eq!((reached, bmc.power().unwrap()), (after, after), "{command:?}");
        expected.extend(told.iter().map(ToString::to_string));
        assert_eq!(sim.events(), expected, "{command:?}");
    }
    let error = power::run(bmc.as_ref(), Command::Reset, Power::Off, &patience(false)).unwrap_err();
    assert!(matches!(error, BmcError::ResetOfOff { .. }), "{error}");
    assert_eq!(sim.events(), expected);
}

#[test]
fn a_bmc_that_says_yes_and_does_nothing_is_found_out() {
    let sim = Sim::start();
    sim.misbehave("lie");
    let bmc = bmc(&sim, ADMIN, PASSWORD, 3);
    let error = power::run(bmc.as_ref(), Command::On, Power::Off, &impatience(false)).unwrap_err();
    assert!(
        matches!(
            error,
            BmcError::PowerStays {
                button: Button::On,
                found: Power::Off,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    assert_eq!(sim.events(), ["power 1"]);
}

#[test]
fn a_system_that_does_not_shut_down_is_switched_off_only_by_force() {
    let sim = Sim::start();
    sim.misbehave("deaf");
    sim.set_power(true);
    let bmc = bmc(&sim, ADMIN, PASSWORD, 3);
    let error = power::run(bmc.as_ref(), Command::Soft, Power::On, &impatience(false)).unwrap_err();
    assert!(error.hint().unwrap().contains("--force"), "{error}");
    assert_eq!(bmc.power().unwrap(), Power::On);
    let impatient = Patience {
        limit: Duration::from_secs(2),
        ..impatience(true)
    };
    assert_eq!(
        power::run(bmc.as_ref(), Command::Soft, Power::On, &impatient).unwrap(),
        Power::Off
    );
    assert_eq!(sim.events(), ["ignored", "ignored", "power 0"]);
}

#[test]
fn the_boot_device_is_told_and_read_back() {
    let sim = Sim::start();
    let bmc = bmc(&sim, ADMIN, PASSWORD, 3);
    for (device, words) in [
        (Device::Pxe, "boot pxe"),
        (Device::Disk, "boot default"),
        (Device::Bios, "boot bios"),
        (Device::None, "boot none"),
    ] {
        let boot = Boot {
            device,
            persistent: false,
            uefi: true,
        };
        bmc.set_boot(&boot).unwrap();
        let state = bmc.boot().unwrap();
        assert!(state.obeys(&boot), "{state}");
        assert_eq!(sim.events().last().unwrap(), words);
    }
}

#[test]
fn each_way_of_not_getting_in_is_told_apart() {
    let sim = Sim::start();
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let call = Duration::from_secs(30);
    let silent = free.local_addr().unwrap().port();
    for (bmc, kind, word) in [
        (
            bmc(&sim, ADMIN, "wrong", 3),
            Kind::Refused,
            "refuses the login of `ADMIN`",
        ),
        (
            bmc(&sim, "nobody", PASSWORD, 3),
            Kind::Refused,
            "refuses the login of `nobody`",
        ),
        (bmc(&sim, ADMIN, PASSWORD, 17), Kind::Refused, "cipher suite 17"),
        (
            at(silent, ADMIN, PASSWORD, 3, call),
            Kind::Unreachable,
            "does not answer",
        ),
        (
            at(silent, ADMIN, PASSWORD, 3, Duration::from_millis(200)),
            Kind::Unreachable,
            "can't be asked",
        ),
    ] {
        let error = bmc.power().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert!(!format!("{error:?}").contains(PASSWORD), "{error:?}");
    }
}

#[test]
fn a_tenants_account_opens_with_its_new_password_only() {
    let sim = Sim::start();
    let bmc = bmc(&sim, ADMIN, PASSWORD, 3);
    assert_eq!(bmc.mac().unwrap().as_str(), "02:00:00:00:00:10");
    let wish = account::Wish {
        user: "opnfv",
        last: None,
        lab_user: ADMIN,
        configured: None,
    };
    let mut old: Option<Login> = None;
    for password in ["Sixteen0letters1", "Sixteen0letters2"] {
        let slot = account::slot(&bmc.users().unwrap(), &wish, bmc.address()).unwrap();
        assert_eq!(
            slot,
            4.into(),
            "slot 3 is somebody's, and the second time it is the same one"
        );
        let login = Login {
            user: "opnfv".to_owned(),
            password: Secret::new(password),
        };
        assert!(matches!(
            bmc.prove(&login, Privilege::Operator),
            Err(BmcError::Login { .. })
        ));
        account::establish(bmc.as_ref(), &slot, &login).unwrap();
        bmc.prove(&login, Privilege::Operator).unwrap();
        if let Some(old) = old.replace(login) {
            assert!(matches!(
                bmc.prove(&old, Privilege::Operator),
                Err(BmcError::Login { .. })
            ));
        }
    }
    let users = bmc.users().unwrap();
    let names: Vec<_> = users
        .iter()
        .filter(|u| !u.name.is_empty())
        .map(|u| u.name.as_str())
        .collect();
    assert_eq!(names, [ADMIN, "backup", "opnfv"]);
    assert_eq!(users[3].privilege, Some(Privilege::Operator));
}

#[test]
fn an_account_that_is_disabled_opens_nothing_and_leaves_its_slot() {
    let sim = Sim::start();
    let bmc = bmc(&sim, ADMIN, PASSWORD, 3);
    let login = Login {
        user: "opnfv".to_owned(),
        password: Secret::new("Sixteen0letters1"),
    };
    account::establish(bmc.as_ref(), &4.into(), &login).unwrap();
    let user = bmc.user(&4.into()).unwrap();
    assert_eq!(
        (user.name.as_str(), user.privilege, user.access),
        ("opnfv", Some(Privilege::Operator), true)
    );
    for _ in 0..2 {
        bmc.disable_user(&4.into()).unwrap();
        for privilege in [Privilege::User, Privilege::Operator] {
            let refused = bmc.prove(&login, privilege).unwrap_err();
            assert!(matches!(refused, BmcError::Login { .. }), "{refused}");
        }
        let user = bmc.user(&4.into()).unwrap();
        assert_eq!(
            (user.name.as_str(), user.privilege, user.access),
            ("", None, false)
        );
    }
    // Whoever enables the slot again and gives it its name back still does not let the last tenant in.
    let other = Login {
        user: "opnfv".to_owned(),
        password: Secret::new("Sixteen0letters2"),
    };
    account::establish(bmc.as_ref(), &4.into(), &other).unwrap();
    assert!(bmc.prove(&login, Privilege::User).is_err());
}

#[test]
fn a_bmc_says_what_it_is_built_into_and_how_that_is() {
    use laas_bmc::info::SensorState;
    let sim = Sim::start();
    let info = bmc(&sim, ADMIN, PASSWORD, 3).info().unwrap();
    let firmware = info.firmware.as_deref();
    assert_eq!((firmware, info.protocol.as_str()), (Some("9.08"), "IPMI 2.0"));
    let (manufacturer, model) = (info.manufacturer.as_deref(), info.model.as_deref());
    assert_eq!((manufacturer, model), (Some("Lab Systems"), Some("Server 1U")));
    assert_eq!(info.mac.unwrap().as_str(), "02:00:00:00:00:10");
    let sensors: Vec<_> = info
        .sensors
        .iter()
        .map(|s| (s.name.as_str(), s.value, s.state))
        .collect();
    assert_eq!(
        sensors,
        [
            ("CPU Temp", Some(38.0), SensorState::Ok),
            ("Fan, front", Some(4200.0), SensorState::Ok),
            ("Board Temp", Some(85.0), SensorState::Critical),
            ("Lost", None, SensorState::None),
            ("PS Status", None, SensorState::Ok),
        ]
    );
    assert_eq!(info.sensors[4].text.as_deref(), Some("Presence detected"));

    let bare = Sim::start_bare();
    let info = bmc(&bare, ADMIN, PASSWORD, 3).info().unwrap();
    assert_eq!(
        (info.manufacturer, info.model, info.sensors),
        (None, None, vec![])
    );
    assert_eq!(info.firmware.as_deref(), Some("9.08"));
    assert!(bmc(&bare, ADMIN, "wrong", 3).info().is_err());
}

#[test]
fn what_the_bmc_refuses_is_said_with_its_code() {
    let sim = Sim::start();
    let bmc = bmc(&sim, ADMIN, PASSWORD, 3);
    let login = Login {
        user: "opnfv".to_owned(),
        password: Secret::new("Sixteen0letters1"),
    };
    let error = bmc.set_user(&64.into(), &login, Privilege::Operator).unwrap_err();
    assert!(matches!(error, BmcError::Refused { code: 0xcc, .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("Sixteen"), "{error:?}");
}

/// Puts a script before ipmitool that notes the command lines of every test of this process.
#[test]
fn no_password_is_ever_in_a_command_line() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (script, log) = (dir.path().join("ipmitool"), dir.path().join("log"));
    let text = format!(
        "#!/bin/sh\necho \"$@\" >> {}\nPATH=/usr/bin:/bin exec ipmitool \"$@\"\n",
        log.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = std::env::var("PATH").unwrap();
    // SAFETY: all environment of this process is read by Rust's own functions, which take turns.
    unsafe { std::env::set_var("PATH", format!("{}:{path}", dir.path().display())) };
    let sim = Sim::start();
    let bmc = bmc(&sim, ADMIN, PASSWORD, 3);
    let login = Login {
        user: "opnfv".to_owned(),
        password: Secret::new("Sixteen0letters1"),
    };
    account::establish(bmc.as_ref(), &4.into(), &login).unwrap();
    // SAFETY: as above.
    unsafe { std::env::set_var("PATH", path) };
    let lines = std::fs::read_to_string(log).unwrap();
    assert!(
        lines.contains("exec /dev/stdin") && lines.contains("-U opnfv"),
        "{lines}"
    );
    let hex = |text: &str| {
        text.bytes()
            .take(4)
            .map(|b| format!("0x{b:02x}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    for password in [PASSWORD, login.password.expose()] {
        assert!(
            !lines.contains(password) && !lines.contains(&hex(password)),
            "{lines}"
        );
    }
}
