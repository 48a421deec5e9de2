use crate::canned::{Canned, error, outputs, success};
use crate::{name, open, port, wanted};
use laas_core::{Classify, Kind};
use laas_switch::{Plan, Present, SwitchError, VlanState};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const CALL: Duration = Duration::from_secs(20);

fn vlans() -> (u16, String) {
    let row = |id: u16| json!({"vlanshowbr-vlanid": id, "vlanshowbr-vlanstate": "active"});
    outputs(
        200,
        [success(
            json!({"TABLE_vlanbriefxbrief": {"ROW_vlanbriefxbrief": [row(1), row(11), row(999)]}}),
        )],
    )
}

fn section(number: usize, lines: &str) -> Value {
    success(format!(
        "\nversion 9.3(8)\n\ninterface Ethernet1/{number}\n  switchport\n{lines}\n"
    ))
}

fn read(answers: &[(u16, String)], ports: usize) -> (Canned, Result<Present, SwitchError>) {
    let canned = Canned::start(answers);
    let names: BTreeSet<_> = (1..=ports).map(name).collect();
    let present = open(&canned.url, "secret", CALL).read(&names);
    (canned, present)
}

#[test]
fn what_is_no_answer_of_a_switch_is_an_error_that_names_it() {
    let html = "<html><head><title>401 Authorization Required</title></head></html>".to_owned();
    let ok = success(json!({}));
    for (answer, kind, word) in [
        ((401, html.clone()), Kind::Refused, "refuses our login"),
        ((403, String::new()), Kind::Refused, "refuses our login"),
        ((404, html.clone()), Kind::Unreachable, "instead of JSON"),
        ((200, html), Kind::Unreachable, "instead of JSON"),
        ((200, String::new()), Kind::Unreachable, "instead of JSON"),
        (
            (200, "{\"ins_api\": {\"outp".to_owned()),
            Kind::Unreachable,
            "instead of JSON",
        ),
        ((0, String::new()), Kind::Unreachable, "can't be asked"),
        ((200, "{}".to_owned()), Kind::Unreachable, "no output"),
        ((200, "[]".to_owned()), Kind::Unreachable, "no output"),
        (outputs(200, []), Kind::Unreachable, "no output"),
        (
            outputs(200, [ok.clone(), ok.clone()]),
            Kind::Unreachable,
            "do not match",
        ),
        (outputs(500, [ok.clone()]), Kind::Unreachable, "do not match"),
        (outputs(200, [ok]), Kind::Unreachable, "no table of VLANs"),
        (
            outputs(200, [success("")]),
            Kind::Unreachable,
            "no table of VLANs",
        ),
        (
            outputs(
                400,
                [error("400", "Input CLI command error", "% Invalid command\n")],
            ),
            Kind::Refused,
            "% Invalid command (code 400)",
        ),
        (
            outputs(500, [error("500", "Backend processing error", "")]),
            Kind::Refused,
            "Backend processing error (code 500)",
        ),
        ((413, String::new()), Kind::Refused, "too large"),
        (
            outputs(200, [error("413", "Request too large", "")]),
            Kind::Refused,
            "too large",
        ),
    ] {
        let (_, present) = read(std::slice::from_ref(&answer), 1);
        let error = laas_core::failure::chain(&present.as_ref().unwrap_err());
        assert_eq!(present.unwrap_err().kind(), kind, "{answer:?}: {error}");
        assert!(
            error.contains(word) && error.contains("10.9.8.7"),
            "{answer:?}: {error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_full_house_is_waited_for() {
    let full = error("429", "Max sessions reached", "");
    let answers = [
        (429, String::new()),
        outputs(200, [full.clone()]),
        outputs(429, [full.clone()]),
        vlans(),
    ];
    let (canned, present) = read(&answers, 0);
    assert_eq!(present.unwrap().vlans.len(), 3);
    assert_eq!(canned.asked().len(), 4);
    let canned = Canned::start(&[outputs(429, [full])]);
    let busy = open(&canned.url, "secret", Duration::from_millis(700))
        .read(&BTreeSet::new())
        .unwrap_err();
    assert_eq!(busy.kind(), Kind::Unreachable);
    assert!(busy.to_string().contains("no session free"), "{busy}");
}

#[test]
fn without_structured_output_the_text_is_read() {
    let text = "VLAN Name      Status    Ports\n---- --------- --------- -----\n1    default   active    Eth1/1\n\
        11   laas-11   act/lshut Eth1/2\n";
    let unsupported = error("501", "Structured output unsupported", "");
    for status in [200, 400] {
        let answers = [
            outputs(status, [unsupported.clone()]),
            outputs(200, [success(text)]),
        ];
        let (canned, present) = read(&answers, 0);
        assert_eq!(present.unwrap().vlans[&crate::vlan(11)], VlanState::Suspended);
        let types: Vec<_> = canned.asked().iter().map(|r| r["type"].clone()).collect();
        assert_eq!(types, ["cli_show", "cli_show_ascii"]);
    }
}

#[test]
fn many_ports_take_few_requests() {
    let sections = |numbers: std::ops::RangeInclusive<usize>| {
        outputs(
            200,
            numbers
                .map(|n| section(n, "  switchport mode trunk"))
                .collect::<Vec<_>>(),
        )
    };
    // In the order of their names.
    let mut names: Vec<usize> = (1..=12).collect();
    names.sort_by_key(|n| name(*n));
    assert_eq!(names[10], 8);
    let first: Vec<_> = names[..10]
        .iter()
        .map(|n| section(*n, "  switchport mode trunk"))
        .collect();
    let (canned, present) = read(&[vlans(), outputs(200, first), sections(8..=9)], 12);
    assert_eq!(present.unwrap().ports.len(), 12);
    let asked = canned.asked();
    let shows = |r: &Value| r["input"].as_str().unwrap().split(" ;").count();
    assert_eq!(asked.iter().map(shows).collect::<Vec<_>>(), [1, 10, 2]);
    assert_eq!(asked[1]["type"], "cli_show_ascii");
}

#[test]
fn a_port_that_the_switch_does_not_have_is_no_harm_to_the_others() {
    let invalid = error("400", "Input CLI command error", "% Invalid interface format\n");
    let good = |n| section(n, "  switchport mode trunk");
    for answers in [
        // A switch that goes on after an error, and one that stops there.
        vec![vlans(), outputs(200, [good(1), invalid.clone(), good(3)])],
        vec![
            vlans(),
            outputs(500, [good(1), invalid.clone()]),
            outputs(200, [good(3)]),
        ],
    ] {
        let (_, present) = read(&answers, 3);
        let present = present.unwrap();
        assert_eq!(present.ports.keys().collect::<Vec<_>>(), [&name(1), &name(3)]);
        assert_eq!(
            present.untouchable[&name(2)].0,
            "% Invalid interface format (code 400)"
        );
        let canned = Canned::start(&answers);
        let switch = open(&canned.url, "secret", CALL);
        let wanted = wanted([
            (1, port(Some(11), &[])),
            (2, port(None, &[])),
            (3, port(None, &[])),
        ]);
        let plan = Plan::new(switch.as_ref(), &wanted).unwrap();
        assert!(
            !plan.commands().iter().any(|c| c.contains("Ethernet1/2")),
            "{:?}",
            plan.commands()
        );
        let failed = plan.foresee().failed;
        assert_eq!(failed.keys().collect::<Vec<_>>(), [&name(2)]);
        assert_eq!(failed[&name(2)].kind(), Kind::Refused);
    }
}

#[test]
fn a_refused_line_is_named_with_its_port() {
    let refusal = error("400", "CLI execution error", "ERROR: VLAN 3999 is reserved\n");
    let ok = || success(json!({}));
    let (three, read) = (outputs(200, [section(1, "")]), vlans());
    for answer in [
        outputs(500, [ok(), ok(), refusal.clone()]),
        outputs(200, [ok(), ok(), refusal.clone()]),
        outputs(
            200,
            [
                ok(),
                ok(),
                refusal.clone(),
                success("rolled back"),
                ok(),
                ok(),
                ok(),
            ],
        ),
    ] {
        let canned = Canned::start(&[read.clone(), three.clone(), answer]);
        let switch = open(&canned.url, "secret", CALL);
        let wanted = wanted([(1, port(Some(11), &[]))]);
        let plan = Plan::new(switch.as_ref(), &wanted).unwrap();
        let refused = plan.carry_out().err().unwrap();
        let expected = "the switch `10.9.8.7` refuses `switchport trunk native vlan 11` (`interface Ethernet1/1`): \
            ERROR: VLAN 3999 is reserved (code 400)";
        assert_eq!(
            (refused.to_string().as_str(), refused.kind()),
            (expected, Kind::Refused)
        );
        let write = canned.asked().pop().unwrap();
        assert_eq!(write["rollback"], "rollback-on-error");
        assert_eq!(
            write["input"],
            "interface Ethernet1/1 ;switchport trunk allowed vlan 11 ;switchport trunk native vlan 11 ;switchport mode trunk"
        );
    }
}

#[test]
fn saving_is_believed_only_when_it_says_so() {
    for (body, good) in [
        (
            json!("[########] 100%\nCopy complete, now saving to disk (please wait)...\nCopy complete.\n"),
            true,
        ),
        (json!("Copy complete.\n"), true),
        (json!({}), true),
        (json!(""), true),
        (
            json!("Configuration update aborted: request was aborted\n"),
            false,
        ),
    ] {
        let canned = Canned::start(&[outputs(200, [success(body.clone())])]);
        let saved = open(&canned.url, "secret", CALL).save();
        assert_eq!(saved.is_ok(), good, "{body}");
        assert_eq!(canned.asked()[0]["input"], "copy running-config startup-config");
    }
}
