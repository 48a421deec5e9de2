//! A Nexus, an Arista switch, a dashboard, and a pack whose hosts are cabled to them: `pod1` to the first, `pod2` to the
//! second, `pod3` to both.

use crate::pack::{Ended, Pack};
use laas_core::{Secret, config};
use laas_dashboard::{Dashboard as Client, Lists};
use laas_lab::cabling::{Cabling, PortState, Socket};
use laas_lab::dashboard::{BookedHost, BookingSpec, Dashboard, HostSpec, UserSpec, Vlan};
use laas_lab::eos::Eos;
use laas_lab::faults::{Faults, Peer};
use laas_lab::http::Server;
use laas_lab::nxos::Nxos;
use laas_lab::switch::LabSwitch;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::runtime::Runtime;

const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 98, 0, 1), Ipv4Addr::new(127, 98, 0, 2)];
/// Each host with the switch and the port of each card.
const HOSTS: [(&str, [(usize, u16); 2]); 3] = [
    ("pod1", [(0, 1), (0, 2)]),
    ("pod2", [(1, 1), (1, 2)]),
    ("pod3", [(0, 3), (1, 3)]),
];

pub struct TwoSwitches {
    pub switches: [Box<dyn LabSwitch>; 2],
    pub dashboard: Dashboard,
    pub client: Client,
    pub faults: Faults,
    pub pack: Pack,
    cabling: Cabling,
    _servers: Vec<Server>,
    _runtime: Runtime,
}

pub fn mac(host: &str, card: usize) -> String {
    format!("02:00:00:00:0{}:0{card}", host.trim_start_matches("pod"))
}

impl TwoSwitches {
    pub fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (cabling, faults) = (Cabling::default(), Faults::default());
        let account = ("admin", "secret");
        let time = Duration::ZERO;
        let switches: [Box<dyn LabSwitch>; 2] = [
            Box::new(Nxos::new(ADDRESSES[0], 4, account, cabling.clone(), time)),
            Box::new(Eos::new(ADDRESSES[1], 4, account, cabling.clone(), time)),
        ];
        let dashboard = Dashboard::new("UNH_IOL", "token", &[]);
        let serve = |address, peer, router| {
            let server = Server::start(address, peer, router, faults.clone());
            runtime.block_on(server).unwrap()
        };
        let servers = vec![
            serve(ADDRESSES[0], Peer::Switch, switches[0].router()),
            serve(ADDRESSES[1], Peer::Switch, switches[1].router()),
            serve(Ipv4Addr::LOCALHOST, Peer::Dashboard, dashboard.router()),
        ];
        let access = |driver: &str, server: &Server| json!({"driver": driver, "url": server.url(), "user": "admin", "password": "secret"});
        let mut keys = vec![
            ("hosts", json!(HOSTS.map(|(name, _)| name))),
            ("switch_127.98.0.1", access("nxos", &servers[0])),
            ("switch_127.98.0.2", access("eos", &servers[1])),
            ("lab_auth_token", json!("token")),
        ];
        for (name, cards) in HOSTS {
            let card = |(index, (switch, port)): (usize, &(usize, u16))| {
                let mac = mac(name, index + 1);
                let port = switches[*switch].port_name(*port);
                let card = json!({"mac": mac, "switch": ADDRESSES[*switch], "port": port, "name": "eno1"});
                (mac, card)
            };
            let cards: serde_json::Map<_, _> = cards.iter().enumerate().map(card).collect();
            let macs: Vec<&str> = cards.keys().map(String::as_str).collect();
            dashboard.add_host(HostSpec::new(name, &macs)).unwrap();
            keys.push((
                name,
                json!({"fog_name": "x", "hostname": "127.0.0.1", "interfaces": cards}),
            ));
        }
        dashboard.add_user(UserSpec {
            id: 3,
            username: "alice".to_owned(),
            email: "alice@example.org".to_owned(),
            ssh_key: None,
        });
        let config = json!({
            "dashboard": {"address": servers[2].url(), "lab_name": "UNH_IOL"},
            "networks": {"management": 99, "parking": 999, "tenant": "11-13,100-199", "public": [11]},
            "timing": {"call": 20},
        });
        let reached: config::Dashboard = serde_json::from_value(config["dashboard"].clone()).unwrap();
        let client = Client::new(&reached, &Secret::new("token"), Duration::from_secs(20)).unwrap();
        Self {
            switches,
            dashboard,
            client,
            faults,
            pack: Pack::new(config, &keys),
            cabling,
            _servers: servers,
            _runtime: runtime,
        }
    }

    /// What the card's port carries.
    pub fn carried(&self, host: &str, card: usize) -> PortState {
        let (_, cards) = HOSTS.iter().find(|(name, _)| *name == host).unwrap();
        let (switch, port) = cards[card - 1];
        self.cabling.port(&Socket {
            switch: ADDRESSES[switch],
            port: self.switches[switch].port_name(port),
        })
    }

    /// VLANs that pass on each of the host's cards.
    pub fn vlans(&self, host: &str) -> [String; 2] {
        [1, 2].map(|card| self.carried(host, card).allowed.to_string())
    }

    pub fn switch_vlan(&self, args: &[&str]) -> Ended {
        self.pack.run(env!("CARGO_BIN_EXE_switch_vlan"), args)
    }

    pub fn audit(&self, args: &[&str]) -> Ended {
        self.pack.run(env!("CARGO_BIN_EXE_network_audit"), args)
    }

    /// Books the host with VLAN 11 untagged and 103 tagged on its first card; the answer is the job.
    pub fn book(&self, host: &str) -> u64 {
        let carried = vec![Vlan::untagged(11), Vlan::tagged(103)];
        let booking = BookingSpec {
            owner: 3,
            collaborators: vec![],
            hosts: vec![BookedHost {
                labid: host.to_owned(),
                image: 17,
                hostname: "node".to_owned(),
                role: Default::default(),
                networks: [(mac(host, 1), carried)].into(),
            }],
            opnfv: None,
            snapshot: None,
        };
        self.dashboard.book(booking).unwrap().into()
    }

    /// Posts this status for all open tasks of the job.
    pub fn post(&self, job: u64, status: u16) {
        let Lists { new, current, .. } = self.client.all_jobs().unwrap();
        for task in new
            .into_iter()
            .chain(current)
            .filter(|j| j.id == job)
            .flat_map(|j| j.tasks)
        {
            self.client.post_task(job, &task.id, status, "", None).unwrap();
        }
    }

    pub fn lines(&self) -> usize {
        self.switches.iter().map(|s| s.counters().lines.len()).sum()
    }
}

/// What [`TwoSwitches::book`] asks for.
pub fn networks(hosts: &[&str]) -> Value {
    let network = |host: &&str| {
        let vlans = json!([{"vlan_id": 11, "tagged": false}, {"vlan_id": 103, "tagged": true}]);
        json!({"host": host, "interfaces": {mac(host, 1): vlans}})
    };
    hosts.iter().map(network).collect()
}
