//! The switches that the hosts hang on, their BMCs and their names.

use super::Lab;
use super::rounds::{Check, Report};
use laas_core::inventory::{BmcDriver, Host};
use laas_switch::PortName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

const SWITCH: &str = "switch";
const BMC: &str = "bmc";
const DNS: &str = "dns";

pub fn checks(lab: &Arc<Lab>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (address, owners) in ports(&lab.hosts) {
        let lab = lab.clone();
        checks.push(Check::new(SWITCH, None, move |report| {
            switch(&lab, &address, &owners, report)
        }));
    }
    for host in &lab.hosts {
        let name = Some(host.name.as_str());
        let (with, host) = (lab.clone(), host.clone());
        let of = host.clone();
        checks.push(Check::new(DNS, Some(&host.name.to_string()), move |report| {
            names(&of, report)
        }));
        checks.push(Check::new(
            BMC,
            name.map(str::to_owned).as_deref(),
            move |report| bmc(&with, &host, report),
        ));
    }
    checks
}

/// The ports in use by switch, with their hosts. A name that is none is a mistake of the inventory.
fn ports(hosts: &[Host]) -> BTreeMap<String, BTreeMap<PortName, String>> {
    let mut ports: BTreeMap<String, BTreeMap<PortName, String>> = BTreeMap::new();
    for host in hosts {
        for interface in host.interfaces.values() {
            let of = ports.entry(interface.switch.clone()).or_default();
            if let Ok(port) = interface.port.parse() {
                of.insert(port, host.name.to_string());
            }
        }
    }
    ports
}

fn switch(lab: &Lab, address: &str, owners: &BTreeMap<PortName, String>, report: &mut Report) {
    let Some(entry) = lab.entries.switch(address) else {
        return;
    };
    let wanted: BTreeSet<PortName> = owners.keys().cloned().collect();
    let asked = laas_switch::open(address, &entry, lab.call).and_then(|switch| switch.read(&wanted));
    let present = match asked {
        Ok(present) => present,
        Err(error) => return report.failed(SWITCH, error),
    };
    for (port, why) in present.untouchable {
        let host = owners.get(&port).map(String::as_str);
        let what = format!(
            "the switch `{address}` gives no port `{port}` to a booking: {}",
            why.0
        );
        report.find(
            SWITCH,
            host,
            what,
            "compare `switch` and `port` of the interface in the inventory",
        );
    }
}

fn bmc(lab: &Lab, host: &Host, report: &mut Report) {
    let Some(entry) = &host.bmc else {
        return;
    };
    let Some(password) = lab.entries.value(&entry.password_key).filter(|p| !p.is_empty()) else {
        return;
    };
    if entry.driver == BmcDriver::Ipmi && !super::machine::has("ipmitool") {
        return;
    }
    let asked = laas_bmc::open(entry, password.clone(), lab.call).and_then(|bmc| bmc.power());
    if let Err(error) = asked {
        report.failed_for(BMC, Some(host.name.as_str()), error);
    }
}

fn names(host: &Host, report: &mut Report) {
    let names: BTreeSet<&String> = host.addresses.values().chain([&host.hostname]).collect();
    for name in names.into_iter().filter(|name| name.parse::<IpAddr>().is_err()) {
        if let Err(error) = (name.as_str(), 22).to_socket_addrs() {
            let what = format!("the name `{name}` does not resolve: {error}");
            let hint = "add it to the DNS or to /etc/hosts, or write the address into the inventory";
            report.find(DNS, Some(host.name.as_str()), what, hint);
        }
    }
}
