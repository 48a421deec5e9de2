//! Against the lab's Nexus, which keeps a real configuration.

use crate::{name, open, port, vlan, wanted};
use laas_core::{Classify, Kind};
use laas_lab::cabling::{Cabling, Socket};
use laas_lab::faults::{Faults, Kind as Fault, Peer};
use laas_lab::http::Server;
use laas_lab::nxos::Nxos;
use laas_switch::{Plan, Port, PortName, Switch, SwitchError};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::runtime::Runtime;

const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

struct Stand {
    nexus: Nxos,
    cabling: Cabling,
    faults: Faults,
    switch: Box<dyn Switch>,
    _server: Server,
    _runtime: Runtime,
}

impl Stand {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (cabling, faults) = (Cabling::default(), Faults::default());
        let nexus = Nxos::new(ADDRESS, 8, ("admin", "secret"), cabling.clone(), Duration::ZERO);
        let server = Server::start(ADDRESS, Peer::Switch, nexus.router(), faults.clone());
        let server = runtime.block_on(server).unwrap();
        let switch = open(&server.url(), "secret", Duration::from_secs(20));
        Self {
            nexus,
            cabling,
            faults,
            switch,
            _server: server,
            _runtime: runtime,
        }
    }

    fn carries(&self, number: usize, id: u16, tagged: bool) -> bool {
        let port = name(number).to_string();
        self.cabling
            .port(&Socket {
                switch: ADDRESS,
                port,
            })
            .carries(id, tagged)
    }

    /// One run as an action does it: what was sent, and what failed.
    fn run(&self, wanted: &BTreeMap<PortName, Port>) -> (Vec<String>, BTreeMap<PortName, SwitchError>) {
        let plan = Plan::new(self.switch.as_ref(), wanted).unwrap();
        let outcome = plan.carry_out().unwrap();
        if !plan.commands().is_empty() {
            self.switch.save().unwrap();
        }
        (plan.commands().to_vec(), outcome.failed)
    }
}

#[test]
fn ports_carry_exactly_what_was_asked_and_a_second_run_sends_nothing() {
    let stand = Stand::new();
    let untouched = stand.nexus.port_section(4);
    let asked = wanted([
        (1, port(Some(11), &[103, 104])),
        (2, port(None, &[103])),
        (3, port(None, &[])),
    ]);
    let (sent, failed) = stand.run(&asked);
    assert!(!sent.is_empty() && failed.is_empty(), "{sent:?} {failed:?}");
    for (number, id, tagged, expected) in [
        (1, 11, false, true),
        (1, 103, true, true),
        (1, 104, true, true),
        (1, 300, true, false),
        (2, 103, true, true),
        (2, 999, false, false),
        (2, 302, false, false),
        (3, 303, false, false),
        (3, 300, true, false),
        (3, 999, false, false),
        (4, 304, false, true),
    ] {
        assert_eq!(
            stand.carries(number, id, tagged),
            expected,
            "port {number}, VLAN {id}, tagged {tagged}"
        );
    }
    assert_eq!(stand.nexus.port_section(4), untouched);
    let counters = stand.nexus.counters();
    // Two to read, one to write, two to read back, one to save.
    assert_eq!((counters.calls, counters.saves), (6, 1));
    let (sent, failed) = stand.run(&asked);
    assert!(sent.is_empty() && failed.is_empty(), "{sent:?} {failed:?}");
    assert_eq!(
        (stand.nexus.counters().lines, stand.nexus.counters().saves),
        (counters.lines, 1)
    );
    stand.nexus.reload();
    assert!(stand.run(&asked).0.is_empty(), "it was saved");
}

#[test]
fn a_host_goes_from_tenant_to_management_and_back() {
    let stand = Stand::new();
    let tenant = wanted([(5, port(Some(11), &[103]))]);
    let management = wanted([(5, port(Some(99), &[]))]);
    for _ in 0..2 {
        assert!(stand.run(&management).1.is_empty());
        assert!(stand.carries(5, 99, false) && !stand.carries(5, 103, true) && !stand.carries(5, 11, false));
        assert!(stand.run(&tenant).1.is_empty());
        assert!(!stand.carries(5, 99, false) && stand.carries(5, 103, true) && stand.carries(5, 11, false));
    }
}

#[test]
fn a_switch_that_says_yes_and_does_nothing_is_found_out() {
    let stand = Stand::new();
    stand.faults.set(Peer::Switch, Fault::Lie).unwrap();
    let asked = wanted([(1, port(Some(11), &[])), (2, port(None, &[]))]);
    let plan = Plan::new(stand.switch.as_ref(), &asked).unwrap();
    let failed = plan.carry_out().unwrap().failed;
    assert_eq!(failed.keys().collect::<Vec<_>>(), [&name(1), &name(2)]);
    for (port, error) in failed {
        assert_eq!(error.kind(), Kind::Refused);
        let text = error.to_string();
        assert!(
            text.contains("10.9.8.7") && text.contains(port.as_str()) && text.contains("300-309"),
            "{text}"
        );
    }
}

#[test]
fn a_line_that_is_refused_leaves_the_switch_as_it_was() {
    let stand = Stand::new();
    let before = stand.nexus.port_section(1);
    // The switch keeps 3968 and what follows for itself.
    let asked = wanted([(1, port(Some(11), &[])), (2, port(None, &[4000]))]);
    let plan = Plan::new(stand.switch.as_ref(), &asked).unwrap();
    let error = plan.carry_out().err().unwrap();
    assert!(
        matches!(&error, SwitchError::Refused { command, .. } if command == "vlan 4000"),
        "{error}"
    );
    assert_eq!(stand.nexus.port_section(1), before);
    let vlans = stand.switch.read(&[].into()).unwrap().vlans;
    assert!(!vlans.contains_key(&vlan(11)), "{vlans:?}");
}

#[test]
fn every_fault_ends_in_an_error_that_says_whether_a_retry_helps() {
    let stand = Stand::new();
    let asked = wanted([(1, port(Some(11), &[]))]);
    for (fault, kind) in [
        (Fault::Refuse, Kind::Unreachable),
        (Fault::Http500, Kind::Unreachable),
        (Fault::Html, Kind::Unreachable),
        (Fault::CutJson, Kind::Unreachable),
        (Fault::WrongCredentials, Kind::Refused),
    ] {
        stand.faults.set(Peer::Switch, fault).unwrap();
        let error = Plan::new(stand.switch.as_ref(), &asked).err().unwrap();
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        assert!(error.to_string().contains("10.9.8.7"), "{error}");
    }
    stand.faults.set(Peer::Switch, Fault::Hang).unwrap();
    let impatient = open(&stand._server.url(), "secret", Duration::from_millis(200));
    assert_eq!(
        Plan::new(impatient.as_ref(), &asked).err().unwrap().kind(),
        Kind::Unreachable
    );
}
