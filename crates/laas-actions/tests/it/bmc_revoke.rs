//! Taking the tenant's account away, against ipmi_sim with the real ipmitool.

use crate::bmc::Lab;
use crate::ipmitool::{BUSY, SILENCE, StandIn, ten_moments};
use crate::pack::Ended;
use serde_json::{Value, json};

fn revoke(lab: &Lab, args: &[&str]) -> Ended {
    let ended = lab.pack.run(
        env!("CARGO_BIN_EXE_bmc_user"),
        &[&["--host=pod1", "--revoke"], args].concat(),
    );
    if let Some(password) = lab.account()["password"].as_str() {
        assert!(!format!("{ended:?}").contains(password), "{ended:?}");
    }
    ended
}

/// A lab whose tenant has an account, and the account's password.
fn let_out() -> (Lab, Value) {
    let lab = Lab::new();
    lab.user("task:digest:0", &[]).done();
    let password = lab.account()["password"].clone();
    assert!(lab.opens(&password));
    (lab, password)
}

#[test]
fn an_account_is_taken_away_once_and_its_password_opens_nothing() {
    let (lab, password) = let_out();
    let planned = revoke(&lab, &["--dry_run"]).done();
    assert_eq!(planned["changed"], true);
    assert!(lab.opens(&password) && lab.account() != Value::Null);

    let taken = revoke(&lab, &[]).done();
    let account = |name: &str, privilege: Value, access| json!([{"slot": 4, "name": name, "privilege": privilege, "enabled": null, "access": access}]);
    assert_eq!(
        taken,
        json!({
            "changed": true, "host": "pod1", "user": "opnfv",
            "before": account("opnfv", json!("operator"), true), "after": account("", Value::Null, false),
        })
    );
    assert!(!lab.opens(&password));
    assert_eq!(lab.account(), Value::Null);
    for args in [&[][..], &["--dry_run"]] {
        assert_eq!(revoke(&lab, args).done()["changed"], false);
    }
    // The next tenant's does not let this one in.
    lab.user("other:digest:0", &[]).done();
    assert!(!lab.opens(&password) && lab.opens(&lab.account()["password"]));
}

#[test]
fn what_a_crash_left_is_found_by_its_name_or_by_its_record() {
    let (lab, password) = let_out();
    let record = lab.account();
    lab.pack.set_key("bmc_user_pod1", &Value::Null);
    assert_eq!(revoke(&lab, &[]).done()["changed"], true);
    assert!(!lab.opens(&password));
    assert_eq!(revoke(&lab, &[]).done()["changed"], false);

    lab.pack.set_key("bmc_user_pod1", &record);
    assert_eq!(revoke(&lab, &[]).done()["changed"], true);
    assert_eq!(lab.account(), Value::Null);

    // A name that the parameter does not know, in the slot that is set aside or in the record.
    lab.user("third:digest:0", &["--user=renamed"]).done();
    let password = lab.account()["password"].clone();
    assert_eq!(revoke(&lab, &[]).done()["before"][0]["name"], "renamed");
    lab.user("fourth:digest:0", &["--user=renamed"]).done();
    lab.pack.set_key("bmc_user_pod1", &Value::Null);
    assert_eq!(revoke(&lab, &[]).done()["changed"], false);
    let mut host = lab.pack.key("pod1");
    host["bmc"]["user_slot"] = json!(4);
    lab.pack.set_key("pod1", &host);
    assert_eq!(revoke(&lab, &[]).done()["before"][0]["name"], "renamed");
    assert!(!lab.opens(&password));
}

#[test]
fn what_is_not_proven_gone_is_not_forgotten() {
    let (mut lab, password) = let_out();
    let stand_in = StandIn::before(&mut lab.pack);
    let opens = "echo ' 01 00 00 00'; exit 0";
    for (words, script, code, said) in [
        // The BMC is silent from the beginning, in the middle and when the proof is asked for.
        ("raw 0x06 0x42", SILENCE, 3, "does not answer"),
        ("0x06 0x47", BUSY, 3, "0xc0"),
        ("0x06 0x43", SILENCE, 3, "does not answer"),
        ("-U opnfv", SILENCE, 3, "does not answer"),
        ("-U opnfv", "exec sleep 1000", 3, "killed"),
        // It says yes, and the account still lets in.
        ("-U opnfv", opens, 1, "still lets it in"),
    ] {
        lab.pack.config["timing"]["call"] = json!(if script.contains("sleep") { 2 } else { 30 });
        let record = lab.account();
        stand_in.when(words, script);
        let ended = revoke(&lab, &[]);
        stand_in.behave();
        let failed = ended.failed(code);
        assert!(
            failed["error"].as_str().unwrap().contains(said),
            "{words}: {failed}"
        );
        assert_eq!(
            (&failed["peer"], &failed["host"]),
            (&json!("bmc"), &json!("pod1"))
        );
        assert_eq!(lab.account(), record, "{words}");
        assert!(!stand_in.is_at_work(), "{words}");
    }
    assert!(!lab.opens(&password));

    // A BMC that says yes to everything and does nothing.
    let (mut lab, password) = let_out();
    let stand_in = StandIn::before(&mut lab.pack);
    let lie = "case \"$*\" in *\"0x06 0x46\"*|*\"0x06 0x44\"*|*\"user list\"*|*\"0x06 0x42\"*) ;; *) exit 0 ;; esac";
    stand_in.when("-U ADMIN", lie);
    let failed = revoke(&lab, &[]).failed(1);
    assert!(
        failed["error"].as_str().unwrap().contains("still says otherwise"),
        "{failed}"
    );
    assert!(lab.opens(&password) && lab.account() != Value::Null);
}

#[test]
fn the_labs_own_account_stays_whatever_the_inventory_says() {
    let (lab, password) = let_out();
    let mut host = lab.pack.key("pod1");
    host["bmc"]["user_slot"] = json!(2);
    lab.pack.set_key("pod1", &host);
    revoke(&lab, &[]).done();
    assert!(!lab.opens(&password));
    assert_eq!(lab.power(&["--command=status"]).code, Some(0));
    lab.pack.set_key("bmc_admin_pod1", &json!("not-the-password"));
    assert_eq!(revoke(&lab, &[]).failed(1)["peer"], "bmc");
}

#[test]
fn a_run_that_was_killed_anywhere_is_finished_by_the_next() {
    let mut lab = Lab::new();
    let stand_in = StandIn::before(&mut lab.pack);
    let calls = |run: &dyn Fn()| {
        let before = stand_in.lines().len();
        run();
        stand_in.lines().len() - before
    };
    let give = |request: &str| lab.user(request, &[]);
    let to_give = calls(&|| drop(give("first").done()));
    let to_take = calls(&|| drop(revoke(&lab, &[]).done()));
    for (round, (give_at, take_at)) in ten_moments(7, to_give)
        .into_iter()
        .zip(ten_moments(11, to_take))
        .enumerate()
    {
        let request = format!("task:digest:{round}");
        stand_in.kill_at(give_at.0, give_at.1);
        let killed = give(&request);
        assert_eq!(killed.code, None, "{give_at:?}: {killed:?}");
        stand_in.behave();
        give(&request).done();
        assert_eq!(give(&request).done()["changed"], false, "{give_at:?}");
        let password = lab.account()["password"].clone();
        assert!(lab.opens(&password), "{give_at:?}");

        stand_in.kill_at(take_at.0, take_at.1);
        let killed = revoke(&lab, &[]);
        assert_eq!(killed.code, None, "{take_at:?}: {killed:?}");
        stand_in.behave();
        assert!(
            lab.account() != Value::Null,
            "{take_at:?}: nothing was proven yet"
        );
        revoke(&lab, &[]).done();
        assert!(!lab.opens(&password), "{take_at:?}");
        assert_eq!(lab.account(), Value::Null);
        assert_eq!(revoke(&lab, &[]).done()["changed"], false, "{take_at:?}");
    }
}
