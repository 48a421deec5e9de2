//! Power and boot device when the BMC, ipmitool or the action itself is cut off.

use crate::bmc::Lab;
use crate::ipmitool::{BUSY, SILENCE, StandIn, ten_moments};
use crate::sim::PASSWORD;
use serde_json::json;

const BOOT_DEVICE: &str = env!("CARGO_BIN_EXE_ipmi_boot_device");
const INFO: &str = env!("CARGO_BIN_EXE_bmc_info");
const POWER: &str = env!("CARGO_BIN_EXE_ipmi_power");

/// ipmi_sim reads back no flags, so what was sent is looked at. IPMI 2.0, table 28-14: valid, persistent, EFI; then the
/// device.
#[test]
fn the_flags_of_the_boot_device_are_what_was_asked_for() {
    let mut lab = Lab::new();
    let stand_in = StandIn::before(&mut lab.pack);
    for (args, flags) in [
        (&["--uefi"][..], "0xa0"),
        (&["--uefi", "--persistent"], "0xe0"),
        (&[], "0x80"),
        (&["--persistent"], "0xc0"),
    ] {
        for (device, code) in [
            ("pxe", "0x04"),
            ("disk", "0x08"),
            ("bios", "0x18"),
            ("none", "0x00"),
        ] {
            let before = stand_in.lines().len();
            let device = format!("--device={device}");
            lab.boot(&[&[device.as_str()], args].concat());
            let lines = &stand_in.lines()[before..];
            let sent = lines.iter().filter(|line| line.contains("raw 0x00 0x08 0x05"));
            let sent: Vec<_> = sent.collect();
            let wanted = format!("raw 0x00 0x08 0x05 {flags} {code} 0x00 0x00 0x00");
            assert!(
                sent.len() == 1 && sent[0].ends_with(&wanted),
                "{device} {args:?}: {sent:?}"
            );
        }
    }
}

#[test]
fn whatever_keeps_a_bmc_from_answering_is_worth_a_retry() {
    let mut lab = Lab::new();
    let stand_in = StandIn::before(&mut lab.pack);
    for (executable, args, words) in [
        (POWER, &["--command=status"][..], "0x00 0x01"),
        (POWER, &["--command=on"], "0x00 0x02"),
        (BOOT_DEVICE, &["--device=pxe"], "0x00 0x09"),
        (BOOT_DEVICE, &["--device=pxe"], "0x00 0x08"),
        (INFO, &[], "0x06 0x01"),
        (INFO, &[], "sdr elist"),
    ] {
        for (script, call) in [(SILENCE, 30), (BUSY, 30), ("exec sleep 1000", 1)] {
            // A sensor list is given four calls' time.
            if words == "sdr elist" && script == SILENCE {
                continue;
            }
            lab.pack.config["timing"]["call"] = json!(call);
            stand_in.when(words, script);
            let failed = lab
                .pack
                .run(executable, &[&["--host=pod1"], args].concat())
                .failed(3);
            assert_eq!(
                (&failed["peer"], &failed["host"]),
                (&json!("bmc"), &json!("pod1")),
                "{words} {script}"
            );
            assert!(!stand_in.is_at_work(), "{words} {script}: an orphan");
            stand_in.behave();
        }
    }
    assert!(lab.sim.events().is_empty());
    lab.pack.config["timing"]["call"] = json!(30);
    assert_eq!(lab.power(&["--command=on"]).done()["changed"], true);
    assert!(stand_in.lines().iter().all(|line| !line.contains(PASSWORD)));
}

#[test]
fn a_run_that_was_killed_anywhere_is_finished_by_the_next() {
    let mut lab = Lab::new();
    let stand_in = StandIn::before(&mut lab.pack);
    for (executable, args, seed) in [
        (POWER, &["--host=pod1", "--command=cycle"][..], 3),
        (POWER, &["--host=pod1", "--command=on"], 5),
        (BOOT_DEVICE, &["--host=pod1", "--device=bios"], 17),
    ] {
        let prepare = || {
            lab.sim.set_power(!args.contains(&"--command=on"));
            lab.boot(&["--device=none"]);
        };
        prepare();
        let before = stand_in.lines().len();
        lab.pack.run(executable, args).done();
        // Looks repeat as long as the power takes to change; the first of them are always there.
        let calls = (stand_in.lines().len() - before).min(4);
        for (call, after) in ten_moments(seed, calls) {
            prepare();
            stand_in.kill_at(call, after);
            let killed = lab.pack.run(executable, args);
            assert_eq!(killed.code, None, "{args:?} {call} {after}: {killed:?}");
            stand_in.behave();
            let wanted = match args[1] {
                "--device=bios" => json!("bios"),
                _ => json!("on"),
            };
            for _ in 0..2 {
                let done = lab.pack.run(executable, args).done();
                let state = &done["after"];
                assert!(
                    *state == wanted || state["device"] == wanted,
                    "{args:?} {call} {after}: {done}"
                );
            }
            if args[1] != "--command=cycle" {
                assert_eq!(lab.pack.run(executable, args).done()["changed"], false);
            }
        }
    }
}
