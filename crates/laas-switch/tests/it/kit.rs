//! What every driver must do, whatever its switch: a driver gets all of it for one entry in [`suites`].
//!
//! The switch is one of the lab's, which keeps a real configuration and puts on the wire what that says.

use crate::wish;
use laas_core::{Classify, Kind, config, inventory};
use laas_lab::cabling::{Cabling, PortState, Socket};
use laas_lab::faults::{Fault, Faults, Kind as Trouble, Peer};
use laas_lab::http::Server;
use laas_lab::switch::LabSwitch;
use laas_switch::{Plan, Pool, Port, PortName, Rules, Switch, SwitchError, Unfinished};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::runtime::Runtime;

const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Longer than a loaded machine takes, and still waited for in vain where the switch hangs.
const CALL: Duration = Duration::from_secs(20);
const IMPATIENT: Duration = Duration::from_millis(500);
/// To read, write, read back and save take at most so many calls.
const MOST_CALLS: u32 = 8;

/// Starts a switch at an address, with so many ports, an account, and its cables.
type Start = fn(Ipv4Addr, u16, (&str, &str), Cabling) -> Box<dyn LabSwitch>;

/// A driver and the lab's switch that it is tried on.
pub struct Suite {
    pub driver: &'static str,
    pub start: Start,
    /// A VLAN that the switch keeps for itself, so that a line with it is refused.
    pub reserved: u64,
    /// What shuts every port that does not say otherwise, if the switch knows such a line.
    pub shut_by_default: Option<&'static str>,
}

/// Writes a test for each behaviour of each suite.
macro_rules! suites {
    ($($vendor:ident: $suite:expr),* $(,)?) => {$(
        mod $vendor {
            use crate::kit::{self, Suite};
            const SUITE: Suite = $suite;

            #[test]
            fn ports_carry_exactly_what_was_asked_and_a_second_run_sends_nothing() {
                kit::exactly_what_was_asked(&SUITE);
            }

            #[test]
            fn whatever_was_there_before_gives_way() {
                kit::whatever_was_there_before_gives_way(&SUITE);
            }

            #[test]
            fn a_port_that_is_shut_down_is_opened_when_it_is_to_carry_something() {
                kit::shut_ports(&SUITE);
            }

            #[test]
            fn calls_and_saves_do_not_depend_on_the_number_of_ports() {
                kit::calls_are_constant(&SUITE);
            }

            #[test]
            fn vlans_of_ours_come_and_go_and_others_stay() {
                kit::vlans_come_and_go(&SUITE);
            }

            #[test]
            fn what_is_protected_stays_and_the_rest_is_done() {
                kit::what_is_protected_stays(&SUITE);
            }

            #[test]
            fn a_port_that_the_switch_does_not_have_fails_alone() {
                kit::a_port_that_is_not_there(&SUITE);
            }

            #[test]
            fn a_switch_that_says_yes_and_does_nothing_is_found_out() {
                kit::a_lie_is_found_out(&SUITE);
            }

            #[test]
            fn a_line_that_is_refused_leaves_the_switch_as_it_was() {
                kit::all_or_nothing(&SUITE);
            }

            #[test]
            fn each_fault_at_each_call_is_told_and_a_second_run_finishes() {
                kit::each_fault_at_each_call(&SUITE);
            }

            #[test]
            fn a_person_who_does_not_save_is_noticed() {
                kit::unsaved_is_noticed(&SUITE);
            }
        }
    )*};
}
pub(crate) use suites;

struct Stand {
    lab: Box<dyn LabSwitch>,
    cabling: Cabling,
    faults: Faults,
    driver: &'static str,
    server: Server,
    _runtime: Runtime,
}

type Ended = (Vec<String>, Result<BTreeMap<PortName, SwitchError>, Unfinished>);

impl Stand {
    fn new(suite: &Suite, ports: u16) -> Self {
        let runtime = Runtime::new().unwrap();
        let (cabling, faults) = (Cabling::default(), Faults::default());
        let lab = (suite.start)(ADDRESS, ports, ("admin", "secret"), cabling.clone());
        let server = Server::start(ADDRESS, Peer::Switch, lab.router(), faults.clone());
        let server = runtime.block_on(server).unwrap();
        Self {
            lab,
            cabling,
            faults,
            driver: suite.driver,
            server,
            _runtime: runtime,
        }
    }

    fn open(&self, call: Duration) -> Box<dyn Switch> {
        let entry =
            json!({"driver": self.driver, "url": self.server.url(), "user": "admin", "password": "secret"});
        let entry: inventory::Switch = serde_json::from_value(entry).unwrap();
        laas_switch::open("10.9.8.7", &entry, call).unwrap()
    }

    fn port(&self, number: u16) -> PortName {
        self.lab.port_name(number).parse().unwrap()
    }

    fn wanted<const N: usize>(&self, ports: [(u16, Port); N]) -> BTreeMap<PortName, Port> {
        let name = |(number, port)| (self.port(number), port);
        ports.into_iter().map(name).collect()
    }

    fn carried(&self, number: u16) -> PortState {
        let port = self.lab.port_name(number);
        self.cabling.port(&Socket {
            switch: ADDRESS,
            port,
        })
    }

    /// One run as an action does it: what was sent, and what failed.
    fn run(&self, wanted: &BTreeMap<PortName, Port>, pool: &Pool) -> Ended {
        let switch = self.open(CALL);
        let plan = Plan::new(switch.as_ref(), wanted, pool).unwrap();
        let outcome = plan.carry_out();
        if outcome.is_ok() && !plan.commands().is_empty() {
            switch.save().unwrap();
        }
        (plan.commands().to_vec(), outcome.map(|outcome| outcome.failed))
    }

    fn done(&self, wanted: &BTreeMap<PortName, Port>) -> Vec<String> {
        let (commands, failed) = self.run(wanted, &crate::pool());
        let failed = failed.unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        commands
    }
}

pub fn exactly_what_was_asked(suite: &Suite) {
    let stand = Stand::new(suite, 8);
    let untouched = stand.lab.port_section(4);
    let asked = stand.wanted([
        (1, wish(Some(11), &[103, 104])),
        (2, wish(None, &[103])),
        (3, wish(None, &[])),
        (5, wish(Some(99), &[])),
    ]);
    assert!(!stand.done(&asked).is_empty());
    for (number, native, vlans) in [
        (1, Some(11), "11,103-104"),
        (2, None, "103"),
        (3, None, "none"),
        (5, Some(99), "99"),
    ] {
        let port = stand.carried(number);
        assert_eq!(
            (port.native, port.allowed.to_string().as_str()),
            (native, vlans),
            "port {number}"
        );
    }
    assert_eq!(stand.lab.port_section(4), untouched);
    let counters = stand.lab.counters();
    assert!(stand.done(&asked).is_empty());
    let again = stand.lab.counters();
    assert_eq!((&again.lines, again.saves), (&counters.lines, 1));
    stand.lab.reload();
    assert!(stand.done(&asked).is_empty(), "it was saved");
    // A host goes from its tenant to the management network and back.
    for (untagged, tagged) in [(99, &[][..]), (11, &[103][..]), (99, &[]), (12, &[])] {
        stand.done(&stand.wanted([(1, wish(Some(untagged), tagged))]));
        let expected: Vec<u16> = [untagged]
            .iter()
            .chain(tagged)
            .map(|id| u16::try_from(*id).unwrap())
            .collect();
        assert_eq!(stand.carried(1).allowed.iter().collect::<Vec<_>>(), expected);
    }
}

/// Lines that a person may have left on a port.
fn left_on_a_port() -> impl Strategy<Value = Vec<String>> {
    let list = prop_oneof![
        Just("none".to_owned()),
        Just("all".to_owned()),
        Just("except 2-4000".to_owned()),
        Just("except 11,300-302".to_owned()),
        (1..400u16, 1..60u16).prop_map(|(first, more)| format!("{first}-{}", first + more)),
        (1..10u16, 20..30u16, 100..190u16).prop_map(|(a, b, c)| format!("{a},{b},{c}-{}", c + 3)),
    ];
    let line = prop_oneof![
        Just("switchport mode access".to_owned()),
        Just("switchport mode trunk".to_owned()),
        Just("no switchport".to_owned()),
        Just("switchport".to_owned()),
        Just("shutdown".to_owned()),
        Just("no shutdown".to_owned()),
        (1..400u16).prop_map(|vlan| format!("switchport access vlan {vlan}")),
        (1..400u16).prop_map(|vlan| format!("switchport trunk native vlan {vlan}")),
        list.prop_map(|list| format!("switchport trunk allowed vlan {list}")),
    ];
    proptest::collection::vec(line, 0..6)
}

fn any_wish() -> impl Strategy<Value = Port> {
    let tagged = proptest::sample::subsequence(vec![100, 101, 102, 103, 120, 199], 0..6);
    let untagged = prop_oneof![Just(None), Just(Some(11)), Just(Some(12)), Just(Some(99))];
    (untagged, tagged).prop_map(|(untagged, tagged)| wish(untagged, &tagged))
}

pub fn whatever_was_there_before_gives_way(suite: &Suite) {
    let stand = Stand::new(suite, 6);
    let before = proptest::collection::vec(left_on_a_port(), 6);
    let suspended = proptest::sample::subsequence(vec![11, 12, 99, 103, 999], 0..3);
    let wanted = proptest::collection::btree_map(1..=6u16, any_wish(), 0..=6);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&(before, suspended, wanted), |(before, suspended, wanted)| {
        for (index, lines) in before.iter().enumerate() {
            let port = format!(
                "interface {}",
                stand.lab.port_name(u16::try_from(index).unwrap() + 1)
            );
            let lines: Vec<&str> = std::iter::once(&port).chain(lines).map(String::as_str).collect();
            // What is refused on a routed port is not there then.
            let _ = stand.lab.type_in(&lines);
        }
        for vlan in suspended {
            stand
                .lab
                .type_in(&[&format!("vlan {vlan}"), "state suspend"])
                .unwrap();
        }
        let sections = |number: &u16| stand.lab.port_section(*number);
        let untouched: Vec<u16> = (1..=6).filter(|number| !wanted.contains_key(number)).collect();
        let as_they_were: Vec<_> = untouched.iter().map(sections).collect();
        let asked = wanted
            .iter()
            .map(|(number, port)| (stand.port(*number), port.clone()))
            .collect();
        stand.done(&asked);
        for (number, port) in &wanted {
            let carried = stand.carried(*number);
            let native = port.allowed.contains(port.native).then(|| port.native.get());
            prop_assert_eq!(carried.native, native, "port {}", number);
            prop_assert_eq!(
                carried.allowed.to_string(),
                port.allowed.to_string(),
                "port {}",
                number
            );
        }
        prop_assert_eq!(untouched.iter().map(sections).collect::<Vec<_>>(), as_they_were);
        prop_assert!(stand.done(&asked).is_empty(), "twice is nothing");
        Ok(())
    });
    outcome.unwrap();
}

pub fn shut_ports(suite: &Suite) {
    let stand = Stand::new(suite, 4);
    let asked = stand.wanted([(1, wish(Some(11), &[103])), (2, wish(None, &[]))]);
    stand.done(&asked);
    let shut = |number| {
        let port = format!("interface {}", stand.lab.port_name(number));
        stand.lab.type_in(&[&port, "shutdown"]).unwrap();
    };
    shut(1);
    shut(2);
    assert!(
        stand.carried(1).allowed.is_empty(),
        "its VLANs are right, and it is dead"
    );
    let switch = stand.open(CALL);
    let pool = crate::pool();
    let plan = Plan::new(switch.as_ref(), &asked, &pool).unwrap();
    let now = &plan.before().ports[&stand.port(1)];
    let found = laas_switch::differences(plan.before(), now, &asked[&stand.port(1)]);
    assert_eq!(found, [laas_switch::Difference::Shutdown]);
    assert!(plan.foresee().failed.is_empty());
    // What is asked for stays shut where nothing is to pass.
    let line = format!("interface {}", stand.lab.port_name(1));
    assert_eq!(stand.done(&asked), [&line, "no shutdown"]);
    assert_eq!(stand.carried(1).allowed.to_string(), "11,103");
    assert!(stand.lab.port_section(2).contains("shutdown"));
    assert!(stand.done(&asked).is_empty());
    // The next booking opens it, with its VLANs alone.
    stand.done(&stand.wanted([(2, wish(Some(12), &[]))]));
    assert_eq!(stand.carried(2).allowed.to_string(), "12");
    if let Some(line) = suite.shut_by_default {
        stand.lab.type_in(&[line]).unwrap();
        assert!(stand.carried(1).allowed.is_empty() && stand.carried(2).allowed.is_empty());
        stand.done(&asked);
        assert_eq!(stand.carried(1).allowed.to_string(), "11,103");
        assert!(stand.done(&asked).is_empty());
        assert!(stand.carried(3).allowed.is_empty(), "it is nobody's");
    }
    // A switch that says yes and leaves it shut is found out.
    shut(1);
    stand.faults.set(Peer::Switch, Trouble::Lie).unwrap();
    let failed = stand.run(&asked, &pool).1.unwrap();
    let text = failed[&stand.port(1)].to_string();
    assert!(text.ends_with("with native 11, shut down`"), "{text}");
}

pub fn calls_are_constant(suite: &Suite) {
    let calls = [1, 10, 100].map(|count| {
        let stand = Stand::new(suite, 100);
        let asked = (1..=count)
            .map(|number| (stand.port(number), wish(Some(11), &[103])))
            .collect();
        stand.done(&asked);
        let counters = stand.lab.counters();
        assert_eq!(counters.saves, 1);
        assert_eq!(stand.carried(count).native, Some(11));
        counters.calls
    });
    assert!(
        calls[0] <= MOST_CALLS && calls.iter().all(|n| *n == calls[0]),
        "{calls:?}"
    );
}

pub fn vlans_come_and_go(suite: &Suite) {
    let stand = Stand::new(suite, 4);
    let exists = |vlan: u64| {
        stand
            .open(CALL)
            .read(&BTreeSet::new())
            .unwrap()
            .vlans
            .contains_key(&crate::vlan(vlan))
    };
    stand.lab.type_in(&["vlan 104", "name of-a-person"]).unwrap();
    stand.done(&stand.wanted([(1, wish(Some(11), &[103, 104])), (2, wish(None, &[103, 105]))]));
    assert!(
        stand.lab.running().contains("name laas-103"),
        "{}",
        stand.lab.running()
    );
    // Somebody's server on a port that is nobody's host.
    let uplink = format!("interface {}", stand.lab.port_name(4));
    stand
        .lab
        .type_in(&[&uplink, "switchport trunk allowed vlan add 105"])
        .unwrap();
    stand.done(&stand.wanted([(1, wish(None, &[]))]));
    assert!(
        !exists(11) && exists(103) && exists(104),
        "port 2 has 103, and 104 is not ours"
    );
    let sent = stand.done(&stand.wanted([(2, wish(None, &[]))]));
    assert!(sent.contains(&"no vlan 103".to_owned()), "{sent:?}");
    assert!(!exists(103) && exists(104) && exists(105) && exists(999) && exists(300));
    stand
        .lab
        .type_in(&[&uplink, "switchport trunk allowed vlan remove 105"])
        .unwrap();
    assert_eq!(stand.done(&stand.wanted([(2, wish(None, &[]))])), ["no vlan 105"]);
    // A trunk that lets everything through holds all of them.
    stand
        .lab
        .type_in(&[
            "vlan 106",
            "name laas-106",
            "exit",
            &uplink,
            "switchport trunk allowed vlan all",
        ])
        .unwrap();
    assert!(stand.done(&stand.wanted([(2, wish(None, &[]))])).is_empty());
    assert!(exists(106));
}

pub fn what_is_protected_stays(suite: &Suite) {
    let stand = Stand::new(suite, 4);
    let mut networks = config::Networks::default();
    let exception = networks.switches.entry("10.9.8.7".to_owned()).or_default();
    exception.protected_vlans = "103".to_owned();
    exception.protected_ports = vec![stand.lab.port_name(2)];
    let pool = Rules::new(&networks).unwrap().pool("10.9.8.7");
    let before = [2, 3].map(|port| stand.lab.port_section(port));
    stand
        .lab
        .type_in(&["vlan 103", "name laas-103", "state suspend"])
        .unwrap();
    let asked = stand.wanted([
        (1, wish(Some(11), &[])),
        (2, wish(Some(11), &[])),
        (3, wish(Some(11), &[103])),
    ]);
    let (sent, failed) = stand.run(&asked, &pool);
    let failed = failed.unwrap();
    assert_eq!(
        failed.keys().collect::<Vec<_>>(),
        [&stand.port(2), &stand.port(3)]
    );
    assert!(
        failed.values().all(|error| error.kind() == Kind::Input),
        "{failed:?}"
    );
    assert_eq!(before, [2, 3].map(|port| stand.lab.port_section(port)));
    assert_eq!(stand.carried(1).native, Some(11));
    assert!(!sent.iter().any(|line| line.contains("103")), "{sent:?}");
}

pub fn a_port_that_is_not_there(suite: &Suite) {
    let stand = Stand::new(suite, 4);
    let asked = stand.wanted([(1, wish(Some(11), &[])), (9, wish(None, &[]))]);
    let failed = stand.run(&asked, &crate::pool()).1.unwrap();
    assert_eq!(failed.keys().collect::<Vec<_>>(), [&stand.port(9)]);
    assert_eq!(failed[&stand.port(9)].kind(), Kind::Refused);
    assert_eq!(stand.carried(1).native, Some(11));
}

pub fn a_lie_is_found_out(suite: &Suite) {
    let stand = Stand::new(suite, 4);
    stand.faults.set(Peer::Switch, Trouble::Lie).unwrap();
    let asked = stand.wanted([(1, wish(Some(11), &[])), (2, wish(None, &[]))]);
    let failed = stand.run(&asked, &crate::pool()).1.unwrap();
    assert_eq!(
        failed.keys().collect::<Vec<_>>(),
        [&stand.port(1), &stand.port(2)]
    );
    for (port, error) in failed {
        assert_eq!(error.kind(), Kind::Refused);
        let text = error.to_string();
        assert!(
            text.contains("10.9.8.7") && text.contains(port.as_str()) && text.contains("300-309"),
            "{text}"
        );
    }
}

pub fn all_or_nothing(suite: &Suite) {
    let stand = Stand::new(suite, 4);
    let before = stand.lab.running();
    let networks = config::Networks {
        tenant: format!("11-13,{}", suite.reserved),
        ..config::Networks::default()
    };
    let pool = Rules::new(&networks).unwrap().pool("10.9.8.7");
    let asked = stand.wanted([(1, wish(Some(11), &[])), (2, wish(None, &[suite.reserved]))]);
    for _ in 0..7 {
        let unfinished = stand.run(&asked, &pool).1.unwrap_err();
        let expected = format!("vlan {}", suite.reserved);
        assert!(
            matches!(&unfinished.error, SwitchError::Refused { command, .. } if *command == expected),
            "{}",
            unfinished.error
        );
        assert_eq!(unfinished.written, Some(BTreeSet::new()));
        assert_eq!(stand.lab.running(), before);
    }
    stand.done(&stand.wanted([(1, wish(Some(11), &[]))]));
}

pub fn each_fault_at_each_call(suite: &Suite) {
    let calls = {
        let stand = Stand::new(suite, 4);
        stand.done(&stand.wanted([(1, wish(Some(11), &[103])), (2, wish(None, &[]))]));
        stand.lab.counters().calls
    };
    for (trouble, kind) in [
        (Trouble::Refuse, Kind::Unreachable),
        (Trouble::Http500, Kind::Unreachable),
        (Trouble::Html, Kind::Unreachable),
        (Trouble::CutJson, Kind::Unreachable),
        (Trouble::WrongCredentials, Kind::Refused),
        (Trouble::Hang, Kind::Unreachable),
        (Trouble::Trickle, Kind::Unreachable),
    ] {
        for skip in 0..calls {
            let stand = Stand::new(suite, 4);
            let asked = stand.wanted([(1, wish(Some(11), &[103])), (2, wish(None, &[]))]);
            let sections = || [1, 2].map(|port| stand.lab.port_section(port));
            let before = sections();
            // All of them from there on, or the loss of one answer could be made good in the same run.
            let fault = Fault {
                kind: trouble,
                skip,
                times: None,
            };
            stand.faults.set(Peer::Switch, fault).unwrap();
            let silent = matches!(trouble, Trouble::Hang | Trouble::Trickle);
            let switch = stand.open(if silent { IMPATIENT } else { CALL });
            let case = format!("{trouble:?} after {skip} calls");
            let error = Plan::new(switch.as_ref(), &asked, &crate::pool())
                .and_then(|plan| match plan.carry_out() {
                    Ok(_) => switch.save(),
                    Err(unfinished) => Err(unfinished.error),
                })
                .expect_err(&case);
            let text = laas_core::failure::chain(&error);
            assert_eq!(error.kind(), kind, "{case}: {text}");
            assert!(
                text.contains("10.9.8.7") && !text.contains("secret"),
                "{case}: {text}"
            );
            let after = sections();
            let whole = stand.carried(1).native == Some(11) && stand.carried(2).allowed.is_empty();
            assert!(after == before || whole, "{case}: {after:?}");
            stand.faults.clear(&Peer::Switch);
            stand.done(&asked);
            assert_eq!(stand.carried(1).allowed.to_string(), "11,103", "{case}");
            assert!(stand.carried(2).allowed.is_empty(), "{case}");
        }
    }
    // One answer that is lost is made good by the reading back.
    let stand = Stand::new(suite, 4);
    let asked = stand.wanted([(1, wish(Some(11), &[]))]);
    let switch = stand.open(CALL);
    let pool = crate::pool();
    let plan = Plan::new(switch.as_ref(), &asked, &pool).unwrap();
    let cut = Fault {
        kind: Trouble::CutJson,
        skip: 0,
        times: Some(1),
    };
    stand.faults.set(Peer::Switch, cut).unwrap();
    assert!(plan.carry_out().unwrap().failed.is_empty());
}

pub fn unsaved_is_noticed(suite: &Suite) {
    let stand = Stand::new(suite, 4);
    let switch = stand.open(CALL);
    assert!(switch.is_saved().unwrap());
    stand.done(&stand.wanted([(1, wish(Some(11), &[]))]));
    assert!(switch.is_saved().unwrap());
    let port = format!("interface {}", stand.lab.port_name(3));
    stand
        .lab
        .type_in(&[&port, "switchport trunk native vlan 301"])
        .unwrap();
    assert!(!switch.is_saved().unwrap());
    switch.save().unwrap();
    assert!(switch.is_saved().unwrap());
}
