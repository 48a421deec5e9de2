//! The BIOS's password, by the real executable against the lab's BMCs: whatever happens, what the datastore knows opens
//! the BIOS.

use crate::pack::{Ended, wait_for};
use crate::redfish::Lab;
use laas_lab::faults::{Fault, Kind, Peer};
use laas_lab::inventory::BmcKind;
use serde_json::{Value, json};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_bios_password");
const KEY: &str = "bios_pod1";
const KINDS: [BmcKind; 3] = [BmcKind::Ilo5, BmcKind::Ilo4, BmcKind::Idrac];

fn change(lab: &Lab, args: &[&str]) -> Ended {
    let ended = lab.run(EXECUTABLE, args);
    opens(lab);
    ended
}

/// The BIOS has a password that the datastore knows.
fn opens(lab: &Lab) {
    let record = lab.pack.key(KEY);
    let known = [&record["password"], &record["next"]["password"]];
    let bios = json!(lab.machine.bios_password());
    let is_doubtful = record["doubtful"]
        .as_array()
        .is_some_and(|all| all.contains(&bios));
    let is_untouched = record.is_null() && bios == "";
    assert!(
        known.contains(&&bios) || is_doubtful || is_untouched,
        "{bios} {record}"
    );
}

fn outcome(changed: bool, pending: bool, proven: bool) -> Value {
    json!({"changed": changed, "host": "pod1", "key": KEY, "pending": pending, "proven": proven})
}

fn restart(lab: &Lab) {
    lab.switch(false);
    lab.switch(true);
}

fn peer() -> Peer {
    Peer::Bmc("pod1".to_owned())
}

#[test]
fn a_host_gets_a_password_which_counts_after_its_next_start() {
    for kind in KINDS {
        let lab = Lab::new(kind);
        lab.switch(true);
        assert_eq!(change(&lab, &["--dry_run"]).done(), outcome(true, true, false));
        assert_eq!(
            (lab.pack.key(KEY), lab.machine.bmc_heard().len()),
            (Value::Null, 0)
        );

        assert_eq!(change(&lab, &[]).done(), outcome(true, true, false), "{kind:?}");
        let sent = lab.machine.bmc_heard();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!(lab.machine.bios_password(), "", "it waits for the next start");
        assert_eq!(change(&lab, &[]).done(), outcome(false, true, false), "{kind:?}");
        assert_eq!(lab.machine.bmc_heard(), sent, "nothing is sent twice");

        restart(&lab);
        assert_eq!(change(&lab, &[]).done(), outcome(true, false, true), "{kind:?}");
        let first = lab.pack.key(KEY)["password"].clone();
        assert_eq!(
            (first.as_str().unwrap().len(), &json!(lab.machine.bios_password())),
            (16, &first)
        );
        for _ in 0..2 {
            assert_eq!(change(&lab, &[]).done(), outcome(false, false, true), "{kind:?}");
        }
        // Another one when it is for something else, and only then.
        let next = ["--request=2026-12", "--reset"];
        assert_eq!(change(&lab, &next).done(), outcome(true, false, true), "{kind:?}");
        assert_ne!(json!(lab.machine.bios_password()), first);
        assert_eq!(
            change(&lab, &next).done(),
            outcome(false, false, true),
            "{kind:?}"
        );
    }
}

#[test]
fn a_host_is_reset_only_when_it_is_asked_for_and_is_left_as_it_was() {
    for on in [true, false] {
        let lab = Lab::new(BmcKind::Ilo5);
        lab.switch(on);
        let before = lab.machine.boots().len();
        change(&lab, &[]).done();
        assert_eq!(lab.machine.boots().len(), before);
        assert_eq!(change(&lab, &["--reset"]).done(), outcome(true, false, true));
        assert_eq!((lab.machine.boots().len(), lab.machine.power()), (before + 1, on));
    }
}

#[test]
fn the_operator_names_passwords_by_their_keys() {
    let lab = Lab::new(BmcKind::Ilo5);
    lab.machine.set_bios_password("of-the-factory");
    lab.pack.set_key("bios_of_the_factory", &json!("of-the-factory"));
    lab.pack.set_key("bios_of_the_lab", &json!("of-the-lab"));
    lab.pack.set_key("not_this_one", &json!("not-this-one"));
    lab.pack.set_key("unfit", &json!("two words"));
    let missing = lab.run(EXECUTABLE, &["--password_key=nowhere"]).failed(2);
    assert!(
        missing["error"].as_str().unwrap().contains("nowhere"),
        "{missing}"
    );
    lab.run(EXECUTABLE, &["--password_key=unfit"]).failed(2);

    let wrong = [
        "--password_key=bios_of_the_lab",
        "--old_password_key=not_this_one",
        "--reset",
    ];
    let refused = lab.run(EXECUTABLE, &wrong).failed(1);
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("PropertyValueIncorrect"),
        "{refused}"
    );
    assert!(
        refused["hint"].as_str().unwrap().contains("old_password_key"),
        "{refused}"
    );
    assert_eq!(lab.machine.bios_password(), "of-the-factory");

    let right = [
        "--password_key=bios_of_the_lab",
        "--old_password_key=bios_of_the_factory",
        "--reset",
    ];
    assert_eq!(change(&lab, &right).done(), outcome(true, false, true));
    assert_eq!(lab.machine.bios_password(), "of-the-lab");
    assert_eq!(change(&lab, &right[..1]).done(), outcome(false, false, true));
    assert_eq!(lab.pack.key(KEY)["password"], "of-the-lab");
}

#[test]
fn settings_of_others_prove_nothing() {
    let lab = Lab::new(BmcKind::Ilo5);
    lab.switch(true);
    // Somebody else's setting is refused at the same start: ours has to be checked.
    lab.machine.ask_bios("PropertyNotWritable");
    change(&lab, &[]).done();
    restart(&lab);
    assert_eq!(change(&lab, &[]).done(), outcome(true, true, false));
    restart(&lab);
    assert_eq!(change(&lab, &[]).done(), outcome(true, false, true));
}

#[test]
fn a_change_is_finished_wherever_it_was_left() {
    // Killed before or after the BMC was told, and the host has started since.
    for (in_force, stage) in [
        ("", "stored"),
        ("Sixteen0letters1", "stored"),
        ("Sixteen0letters1", "doubt"),
    ] {
        let lab = Lab::new(BmcKind::Ilo4);
        lab.switch(true);
        lab.machine.set_bios_password(in_force);
        let record = json!({
            "password": "", "proven": false, "request": null, "doubtful": [],
            "next": {"password": "Sixteen0letters1", "request": null, "stage": stage, "mark": "long ago"},
        });
        lab.pack.set_key(KEY, &record);
        assert_eq!(
            change(&lab, &["--reset"]).done(),
            outcome(true, false, true),
            "{in_force} {stage}"
        );
        assert_eq!(lab.machine.bios_password(), "Sixteen0letters1");
    }
}

#[test]
fn a_kill_or_a_lost_answer_at_any_request_loses_no_password() {
    let lab = Lab::new(BmcKind::Ilo5);
    lab.switch(true);
    let mut cut = 0;
    for moment in 0..12 {
        for kind in [Kind::Hang, Kind::CutJson] {
            let request = format!("--request={moment}-{kind:?}");
            let args = [request.as_str(), "--reset"];
            let fault = Fault {
                kind,
                skip: moment,
                times: Some(1),
            };
            lab.faults.set(peer(), fault).unwrap();
            if kind == Kind::Hang {
                let mut running = lab.pack.start(EXECUTABLE, &["--host=pod1", args[0], args[1]]);
                let hangs = wait_for("the request or the end", || {
                    let ended = running.has_ended();
                    (ended || lab.faults.all().is_empty()).then_some(!ended)
                });
                no_argument_is_a_password(&lab);
                running.kill();
                cut += usize::from(hangs);
            } else if change(&lab, &args).code != Some(0) {
                cut += 1;
            }
            opens(&lab);
            lab.faults.clear(&peer());
            change(&lab, &args).done();
            assert_eq!(
                change(&lab, &args).done(),
                outcome(false, false, true),
                "{moment} {kind:?}"
            );
            assert_eq!(lab.pack.key(KEY)["password"], json!(lab.machine.bios_password()));
            assert_eq!(lab.pack.key(KEY)["request"], json!(format!("{moment}-{kind:?}")));
        }
    }
    assert!(cut >= 20, "only {cut} were cut off");
}

fn no_argument_is_a_password(lab: &Lab) {
    let record = lab.pack.key(KEY);
    let secrets = [&record["password"], &record["next"]["password"]].map(|s| s.as_str().unwrap_or_default());
    for process in std::fs::read_dir("/proc").unwrap() {
        let line = std::fs::read(process.unwrap().path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        assert!(
            !secrets.iter().any(|s| !s.is_empty() && line.contains(s)),
            "{line}"
        );
    }
}

#[test]
fn no_fault_is_taken_for_a_change() {
    let mut lab = Lab::new(BmcKind::Ilo5);
    lab.pack.config["timing"]["call"] = json!(1);
    lab.pack.config["timing"]["boot"] = json!(1);
    lab.switch(true);
    for (fault, code) in [
        (Kind::Refuse, 3),
        (Kind::Hang, 3),
        (Kind::Http500, 3),
        (Kind::Html, 3),
        (Kind::CutJson, 3),
        (Kind::WrongCredentials, 1),
        // It takes everything and does nothing: the firmware is waited for in vain.
        (Kind::Lie, 3),
    ] {
        lab.faults.set(peer(), Fault::from(fault)).unwrap();
        let failed = change(&lab, &["--reset"]).failed(code);
        assert_eq!(
            (&failed["peer"], &failed["host"]),
            (&json!("bmc"), &json!("pod1")),
            "{fault:?}"
        );
        lab.faults.clear(&peer());
        assert_eq!(lab.machine.bios_password(), "", "{fault:?}");
    }
    lab.pack.config["timing"]["boot"] = json!(30);
    // What the BMC said that it had and had not is told again.
    assert_eq!(change(&lab, &["--reset"]).done(), outcome(true, false, true));
}

#[test]
fn a_record_that_cannot_be_read_is_never_overwritten() {
    let lab = Lab::new(BmcKind::Ilo5);
    lab.pack.set_key(KEY, &json!("the-only-copy"));
    let failed = lab.run(EXECUTABLE, &["--reset"]).failed(2);
    assert!(!failed.to_string().contains("the-only-copy"), "{failed}");
    assert_eq!(lab.pack.key(KEY), "the-only-copy");
}
