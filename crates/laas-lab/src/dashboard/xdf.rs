//! The pod and installer descriptor files (PDF, IDF) of a booking.
//!
//! The application renders YAML with a template engine for HTML, so values are HTML-escaped and blanks stand where
//! template tags were. The hardware profile is the one of the observed hosts.

use serde_json::json;

use super::spec::{HostSpec, OpnfvSpec, Role};
use super::state::{Bmc, Booking, State};

/// The pod descriptor file; empty when the booking's hosts were freed.
pub(super) fn pdf(state: &State, booking: &Booking) -> String {
    let Some((jumphost, nodes)) = machines(state, booking) else {
        return String::new();
    };
    let (owner, email) = match state.users.get(&booking.owner) {
        Some(user) => (user.username.as_str(), user.email.as_str()),
        None => ("Anon", "email@mail.com"),
    };
    let mut text = format!(
        "---\nversion: 1.0\ndetails:\n  contact: {}\n  lab: {}\n  link: https://wiki.opnfv.org/display/INF/Laas\n  \
         location: Durham, NH\n  pod_owner: {}\n  type: development\njumphost:\n  disks:\n  \n{DISK}  \n{}{}  os: Ubuntu\n\
         {}{}nodes:\n",
        escape(email),
        escape(&booking.lab),
        escape(owner),
        interfaces(jumphost.spec),
        identity(&jumphost),
        management(&jumphost, true),
        management(&jumphost, false).replacen("remote_management", "remote_params", 1),
    );
    for node in &nodes {
        text.push_str(&format!(
            "\n- disks:\n    \n{DISK}    \n{}{}{}",
            interfaces(node.spec),
            identity(node),
            management(node, true)
        ));
    }
    text.push('\n');
    text
}

/// The installer descriptor file; empty when the booking's hosts were freed.
pub(super) fn idf(state: &State, booking: &Booking) -> String {
    let Some((jumphost, nodes)) = machines(state, booking) else {
        return String::new();
    };
    let addresses: Vec<String> = std::iter::once(&jumphost)
        .chain(&nodes)
        .map(|machine| bmc_field(machine, |bmc| &bmc.address))
        .collect();
    // Without an OPNFV configuration the later application leaves blanks; of this one it is not known.
    let vlan = |pick: fn(&OpnfvSpec) -> u16| {
        booking
            .opnfv
            .as_ref()
            .map_or(String::new(), |opnfv| pick(opnfv).to_string())
    };
    let mut text = format!(
        "---\nidf:\n  version: 0.1\n  net_config:\n    oob:\n      ip-range: {}\n      vlan: native\n",
        addresses.join(",")
    );
    let networks = [
        vlan(|opnfv| opnfv.admin),
        vlan(|opnfv| opnfv.mgmt),
        vlan(|opnfv| opnfv.private),
    ];
    for (index, (name, vlan)) in ["admin", "mgmt", "private"].iter().zip(networks).enumerate() {
        text.push_str(&format!(
            "    {name}:\n      interface: {index}\n      vlan: {vlan}\n      network: 10.250.{index}.0\n      mask: 24\n"
        ));
    }
    text.push_str(&format!(
        "    public:\n      interface: 3\n      vlan: {}\n      network: 192.0.2.0\n      mask: 24\n      ip-range: \n      \
         mask: 24\n      gateway: 192.0.2.1\n      dns: \n      - 1.1.1.1\n      - 8.8.8.8\n",
        vlan(|opnfv| opnfv.public)
    ));
    text.push_str("  fuel:\n    jumphost:\n      bridges:\n");
    for name in ["admin", "mgmt", "private", "public"] {
        text.push_str(&format!("        {name}: br-{name}\n"));
    }
    text.push_str("    network: \n      node:\n");
    for node in &nodes {
        let ports = 0..node.spec.interfaces.len();
        let names: String = ports
            .clone()
            .map(|port| format!("        - {}\n", port_name(port)))
            .collect();
        let buses: String = ports
            .map(|port| format!("        - 0000:0{}:00.{port}\n", port + 4))
            .collect();
        text.push_str(&format!(
            "      - interfaces: \n{names}      - busaddr: \n{buses}      \n"
        ));
    }
    text
}

/// A booked host as the templates see it.
struct Machine<'a> {
    spec: &'a HostSpec,
    bmc: Option<&'a Bmc>,
    hostname: &'a str,
}

const DISK: &str = "  - disk_capacity: 480G\n    disk_interface: sata\n    disk_rotation: 0\n    disk_type: SSD\n    \
                    name: /dev/sda\n";

/// The jump host, which is the first host when no role says so, and the others.
fn machines<'a>(state: &'a State, booking: &'a Booking) -> Option<(Machine<'a>, Vec<Machine<'a>>)> {
    let booked = booking.hosts.as_ref()?;
    let jump = booked
        .iter()
        .position(|host| host.role == Role::Jumphost)
        .unwrap_or(0);
    let mut machines: Vec<Machine> = booked
        .iter()
        .filter_map(|wanted| {
            let host = state.host(&wanted.labid)?;
            Some(Machine {
                spec: &host.spec,
                bmc: host.bmc.as_ref(),
                hostname: &wanted.hostname,
            })
        })
        .collect();
    (jump < machines.len()).then(|| (machines.remove(jump), machines))
}

fn interfaces(spec: &HostSpec) -> String {
    let ports = spec.interfaces.iter().enumerate().map(|(port, mac)| {
        format!(
            "    \n  - features: none\n    mac_address: {}\n    name: {}\n    speed: 10gb\n",
            escape(mac),
            port_name(port)
        )
    });
    format!("  interfaces:\n{}    \n", ports.collect::<String>())
}

fn identity(machine: &Machine) -> String {
    format!(
        "  name: {}\n  node:\n    arch: x86_64\n    cores: 22\n    cpu_cflags: none\n    cpus: 2\n    memory: 256G\n    \
         model: DL380 Gen9\n    type: baremetal\n    vendor: HPE\n",
        escape(machine.hostname)
    )
}

fn management(machine: &Machine, with_address: bool) -> String {
    let address = if with_address {
        let mac = bmc_field(machine, |bmc| &bmc.mac_address);
        format!(
            "    address: {}\n    mac_address: {mac}\n",
            bmc_field(machine, |bmc| &bmc.address)
        )
    } else {
        String::new()
    };
    // The type that was posted is never stored in the column that is printed.
    let kind = if machine.bmc.is_some() { "ipmi" } else { "default" };
    let versions = machine.bmc.map_or("[default]".to_owned(), |bmc| {
        escape(&json!(bmc.versions).to_string())
    });
    format!(
        "  remote_management:\n{address}    pass: {}\n    type: {kind}\n    user: {}\n    versions:\n      \n    \
         - {versions}\n      \n",
        bmc_field(machine, |bmc| &bmc.password),
        bmc_field(machine, |bmc| &bmc.user),
    )
}

fn bmc_field(machine: &Machine, pick: fn(&Bmc) -> &String) -> String {
    machine.bmc.map_or("default".to_owned(), |bmc| escape(pick(bmc)))
}

fn port_name(port: usize) -> String {
    match port {
        0 | 1 => format!("eno{}", 49 + port),
        _ => format!("ens1f{}", port - 2),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
