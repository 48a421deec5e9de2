//! What must hold for every state of a switch and every booking. The lines are carried out by an interpreter of
//! its own, which knows nothing of the crate's parsers.

use crate::{PARKING, open};
use laas_core::VlanId;
use laas_switch::{Mode, Pool, Port, PortName, Present, Rules, Switch, Vlan, VlanSet, VlanState, Wish, diff};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

const PORTS: usize = 6;
const TENANT: [u64; 8] = [11, 12, 13, 100, 101, 102, 103, 120];

type Vlans = BTreeSet<u64>;

fn set(vlans: &Vlans) -> VlanSet {
    vlans.iter().map(|v| crate::vlan(*v)).collect()
}

/// Left by whoever was there before: any VLANs in any mode.
fn port() -> impl Strategy<Value = Port> {
    let mode = prop_oneof![
        Just(Mode::Access),
        Just(Mode::Trunk),
        Just(Mode::Trunk),
        Just(Mode::Routed)
    ];
    let vlan = || prop_oneof![Just(1), Just(PARKING), Just(99), Just(11), 300..310u64].prop_map(crate::vlan);
    let allowed = prop_oneof![
        Just(VlanSet::all()),
        proptest::collection::btree_set(prop_oneof![1..20u64, 100..125u64, 300..310u64], 0..6)
            .prop_map(|s| set(&s)),
    ];
    let shutdown = any::<bool>();
    (mode, vlan(), vlan(), allowed, shutdown).prop_map(|(mode, access, native, allowed, shutdown)| match mode
    {
        // A routed port has nothing of a switch port.
        Mode::Routed => Port {
            mode,
            access: None,
            native: crate::vlan(1),
            allowed: VlanSet::all(),
            shutdown,
        },
        mode => Port {
            mode,
            access: Some(access),
            native,
            allowed,
            shutdown,
        },
    })
}

fn present() -> impl Strategy<Value = Present> {
    let state = prop_oneof![Just(VlanState::Active), Just(VlanState::Suspended)];
    let state = proptest::option::of((state, any::<bool>()).prop_map(|(state, ours)| Vlan { state, ours }));
    let ids: Vec<u64> = TENANT.into_iter().chain([1, 99, PARKING]).collect();
    let vlans = proptest::collection::vec(state, ids.len());
    let elsewhere = proptest::sample::subsequence(TENANT.to_vec(), 0..3);
    let ports = proptest::collection::vec(port(), PORTS);
    (vlans, ports, elsewhere).prop_map(move |(states, ports, elsewhere)| Present {
        vlans: ids
            .iter()
            .zip(states)
            .filter_map(|(id, state)| Some((crate::vlan(*id), state?)))
            .collect(),
        ports: ports
            .into_iter()
            .enumerate()
            .map(|(i, port)| (crate::name(i + 1), port))
            .collect(),
        untouchable: BTreeMap::new(),
        elsewhere: elsewhere.into_iter().map(crate::vlan).collect(),
    })
}

fn wanted() -> impl Strategy<Value = BTreeMap<PortName, Port>> {
    let vlans = proptest::sample::subsequence(TENANT.to_vec(), 0..TENANT.len());
    let wish = (vlans, any::<bool>()).prop_map(|(vlans, untagged)| {
        // The first one is untagged, if any is.
        let vlans = vlans
            .into_iter()
            .enumerate()
            .map(|(i, id)| (crate::vlan(id), !(untagged && i == 0)));
        Wish::new(vlans).unwrap().port(crate::vlan(PARKING))
    });
    proptest::collection::btree_map((1..=PORTS).prop_map(crate::name), wish, 0..=PORTS)
}

fn lines(present: &Present, wanted: &BTreeMap<PortName, Port>, pool: &Pool) -> Vec<String> {
    // Made once, since a client of HTTP takes its time; nothing is sent.
    static SWITCH: LazyLock<Mutex<Box<dyn Switch>>> =
        LazyLock::new(|| Mutex::new(open("http://127.0.0.1:1", "", Duration::from_secs(1))));
    SWITCH.lock().unwrap().commands(&diff(present, wanted, pool))
}

/// Carries out one line after the other, and looks at its port after each.
fn carry_out(present: &Present, lines: &[String], mut look: impl FnMut(&PortName, &Port)) -> Present {
    let mut state = present.clone();
    let mut on_port: Option<PortName> = None;
    let mut on_vlan: Option<VlanId> = None;
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        let list = |text: &str| text.parse::<VlanSet>().unwrap();
        match (words.as_slice(), &on_port, on_vlan) {
            (["vlan", id], ..) => {
                let id: VlanId = id.parse().unwrap();
                state.vlans.entry(id).or_insert(Vlan::new(id, "", true));
                (on_port, on_vlan) = (None, Some(id));
            }
            (["interface", port], ..) => (on_port, on_vlan) = (Some(port.parse().unwrap()), None),
            (["exit"], ..) => (on_port, on_vlan) = (None, None),
            (["name", new], _, Some(id)) => {
                assert_eq!(*new, format!("laas-{id}"));
                state.vlans.get_mut(&id).unwrap().ours = true;
            }
            (["state", "active"] | ["no", "shutdown"], _, Some(id)) => {
                state.vlans.get_mut(&id).unwrap().state = VlanState::Active;
            }
            (["no", "shutdown"], Some(port), _) => {
                state.ports.get_mut(port).expect("a port of the switch").shutdown = false;
            }
            (["no", "vlan", id], None, None) => {
                state
                    .vlans
                    .remove(&id.parse().unwrap())
                    .expect("a VLAN of the switch");
            }
            (["switchport", rest @ ..], Some(port), _) => {
                let port = state.ports.get_mut(port).expect("a port of the switch");
                assert!(
                    rest.is_empty() || port.mode != Mode::Routed,
                    "`{line}` on a routed port"
                );
                match rest {
                    [] if port.mode == Mode::Routed => port.mode = Mode::Access,
                    [] => {}
                    ["mode", "trunk"] => port.mode = Mode::Trunk,
                    ["trunk", "native", "vlan", id] => port.native = id.parse().unwrap(),
                    ["trunk", "allowed", "vlan", "add", vlans] => port.allowed.extend(list(vlans).iter()),
                    ["trunk", "allowed", "vlan", vlans] => port.allowed = list(vlans),
                    _ => panic!("`{line}`"),
                }
            }
            _ => panic!("`{line}` is out of place"),
        }
        if let Some(name) = &on_port {
            look(name, &state.ports[name]);
        }
    }
    state
}

proptest! {
    #[test]
    fn the_difference_leads_to_what_is_wanted_and_nowhere_else(present in present(), wanted in wanted()) {
        let lines = lines(&present, &wanted, &crate::pool());
        let after = carry_out(&present, &lines, |name, port| {
            let before = &present.ports[name];
            let mine = |v| wanted.get(name).is_some_and(|w| w.allowed.contains(v));
            let was = |v| before.mode == Mode::Trunk && before.allowed.contains(v);
            let fine = port.mode != Mode::Trunk || port.allowed.iter().all(|v| mine(v) || was(v));
            assert!(fine, "{name} carries {port} for a moment");
        });
        let needed: BTreeSet<VlanId> =
            wanted.values().flat_map(|p| p.allowed.iter().chain([p.native])).collect();
        for (name, before) in &present.ports {
            match wanted.get(name) {
                Some(wanted) => {
                    let port = &after.ports[name];
                    prop_assert!(port.does(wanted), "{name}: {port}");
                    let shutdown = before.shutdown && wanted.allowed.is_empty();
                    prop_assert_eq!(port.shutdown, shutdown, "{}", name);
                }
                None => prop_assert_eq!(&after.ports[name], before),
            }
        }
        for (id, vlan) in &after.vlans {
            let before = present.vlans.get(id).map(|vlan| vlan.state);
            let expected = if needed.contains(id) { Some(VlanState::Active) } else { before };
            prop_assert_eq!(Some(vlan.state), expected, "VLAN {}", id);
        }
        let carried: BTreeSet<VlanId> = after.ports.values().flat_map(|port| match port.mode {
            Mode::Access => port.access.into_iter().collect(),
            Mode::Trunk => port.allowed.iter().chain([port.native]).collect(),
            Mode::Routed => vec![],
        }).collect();
        for (id, vlan) in &present.vlans {
            let free = !carried.contains(id) && !present.elsewhere.contains(*id);
            let gone = !after.vlans.contains_key(id);
            prop_assert!(!gone || (vlan.ours && free && TENANT.contains(&u64::from(id.get()))), "VLAN {} went", id);
        }
        prop_assert!(needed.iter().all(|id| after.vlans.contains_key(id)));
        prop_assert!(needed.iter().all(|id| TENANT.contains(&u64::from(id.get())) || u64::from(id.get()) == PARKING));
        prop_assert_eq!(diff(&after, &wanted, &crate::pool()), vec![], "twice is nothing");
    }

    #[test]
    fn a_set_is_what_it_shows(vlans in proptest::collection::btree_set(1..=4094u64, 0..200)) {
        let set = set(&vlans);
        let shown = set.to_string();
        prop_assert_eq!(shown.parse::<VlanSet>().unwrap(), set);
        let rest: Vlans = (1..=4094).filter(|v| !vlans.contains(v)).collect();
        if !vlans.is_empty() {
            prop_assert_eq!(format!("except {shown}").parse::<VlanSet>().unwrap().to_string(), crate::properties::set(&rest).to_string());
        }
    }
}

#[test]
fn a_long_list_takes_several_lines() {
    let odd: Vec<u64> = (1..=400).step_by(2).collect();
    let name = crate::name(1);
    let mut present = Present::default();
    present.ports.insert(name.clone(), crate::wish(Some(11), &[]));
    let wanted = BTreeMap::from([(name.clone(), crate::wish(None, &odd))]);
    let networks = laas_core::config::Networks {
        tenant: "1-98,100-998".to_owned(),
        ..Default::default()
    };
    let pool = Rules::new(&networks).unwrap().pool("10.9.8.7");
    let lines = lines(&present, &wanted, &pool);
    assert!(lines.iter().all(|l| l.len() < 250));
    let after = carry_out(&present, &lines, |_, _| ());
    assert!(after.ports[&name].does(&wanted[&name]));
}
