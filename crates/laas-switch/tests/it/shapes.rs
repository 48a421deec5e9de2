use crate::canned::{Canned, error, outputs, success};
use crate::{name, open, pool, wanted, wish};
use laas_core::{Classify, Kind};
use laas_switch::{Plan, Present, SwitchError, VlanState};
use serde_json::json;
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

/// All interfaces of the switch.
fn sections(ports: impl IntoIterator<Item = usize>) -> (u16, String) {
    let section = |number| format!("interface Ethernet1/{number}\n  switchport\n  switchport mode trunk\n\n");
    let sections: String = ports.into_iter().map(section).collect();
    outputs(
        200,
        [success(format!(
            "\nversion 9.3(8)\n\n{sections}interface mgmt0\n"
        ))],
    )
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
        sections(1..=2),
    ];
    let (canned, present) = read(&answers, 0);
    assert_eq!(present.unwrap().vlans.len(), 3);
    assert_eq!(canned.asked().len(), 5);
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
            sections(1..=2),
        ];
        let (canned, present) = read(&answers, 0);
        assert_eq!(
            present.unwrap().vlans[&crate::vlan(11)].state,
            VlanState::Suspended
        );
        let types: Vec<_> = canned.asked().iter().map(|r| r["type"].clone()).collect();
        assert_eq!(types, ["cli_show", "cli_show_ascii", "cli_show_ascii"]);
    }
}

#[test]
fn many_ports_take_two_requests() {
    let (canned, present) = read(&[vlans(), sections(1..=48)], 40);
    assert_eq!(present.unwrap().ports.len(), 40);
    let asked = canned.asked();
    let inputs: Vec<_> = asked.iter().map(|r| (&r["type"], &r["input"])).collect();
    assert_eq!(
        inputs,
        [
            (&json!("cli_show"), &json!("show vlan brief")),
            (&json!("cli_show_ascii"), &json!("show running-config"))
        ]
    );
}

#[test]
fn interfaces_that_are_none_are_no_ports() {
    for body in [
        json!(""),
        json!("% Invalid command\n"),
        json!({}),
        json!("<html>"),
    ] {
        let (_, present) = read(&[vlans(), outputs(200, [success(body.clone())])], 1);
        assert_eq!(present.unwrap_err().kind(), Kind::Unreachable, "{body}");
    }
}

#[test]
fn a_refused_line_is_named_with_its_port() {
    let refusal = error("400", "CLI execution error", "ERROR: VLAN 3999 is reserved\n");
    let ok = || success(json!({}));
    let plain = success("interface Ethernet1/1\n  switchport\n");
    let (ports, read) = (outputs(200, [plain]), vlans());
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
        let canned = Canned::start(&[read.clone(), ports.clone(), answer, read.clone(), ports.clone()]);
        let switch = open(&canned.url, "secret", CALL);
        let wanted = wanted([(1, wish(Some(11), &[]))]);
        let pool = pool();
        let plan = Plan::new(switch.as_ref(), &wanted, &pool).unwrap();
        let refused = plan.carry_out().unwrap_err().error;
        let expected = "the switch `10.9.8.7` refuses `switchport trunk native vlan 11` (`interface Ethernet1/1`): \
            ERROR: VLAN 3999 is reserved (code 400)";
        assert_eq!(
            (refused.to_string().as_str(), refused.kind()),
            (expected, Kind::Refused)
        );
        let write = canned.asked().remove(2);
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
