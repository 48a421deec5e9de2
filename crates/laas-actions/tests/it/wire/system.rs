//! The network of a host's system: Debian's own ifup, told by the files that the pack writes, and a DHCP server per
//! VLAN, so that a lease says which VLAN the host is on. VLAN interfaces are left out: not every kernel makes them.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use laas_host::network::{Content, Family, Interface};
use serde_json::Value;
use tempfile::TempDir;

use super::namespace::{Namespace, said};
use super::ovs::Daemon;

/// The card of a DHCP server.
pub const SERVER_CARD: &str = "eth0";

/// As init of a system of its own, with the directory of its files as `$1`: nothing of the machine's can be written,
/// and what ifup leaves running ends with it.
const BOOT: &str = r#"
mount -o bind,ro /etc /etc
mount --bind "$1/network" /etc/network
mount --bind "$1/dhcp" /etc/dhcp
mount -t tmpfs tmpfs /var/lib/dhcp
mount -t tmpfs tmpfs /run
mkdir /run/network
ifup --all
echo up
exec sleep infinity
"#;

/// A host that has booted. Its leases end with it.
pub struct System<'a> {
    namespace: &'a Namespace,
    card: &'static str,
    _init: Daemon,
    _files: TempDir,
}

impl<'a> System<'a> {
    /// Boots with what the pack writes for this interface.
    pub fn boot(namespace: &'a Namespace, card: &'static str, interface: Interface) -> Self {
        flush(namespace, card);
        let files = tempfile::tempdir().unwrap();
        let mut copy = Command::new("cp");
        copy.args(["-a", "/etc/network", "/etc/dhcp"]).arg(files.path());
        said(copy);
        // The machine's own networks.
        let own = files.path().join("network/interfaces.d");
        std::fs::remove_dir_all(&own).unwrap();
        std::fs::create_dir(&own).unwrap();
        for Content { path, content } in Family::Ifupdown.files(&[interface]) {
            std::fs::write(files.path().join(path.strip_prefix("/etc/").unwrap()), content).unwrap();
        }
        let mut init = namespace.daemon("unshare");
        init.args(["--mount", "--propagation=private", "--pid", "--fork"])
            .args(["--kill-child", "--mount-proc", "sh", "-ec", BOOT, "sh"])
            .arg(files.path());
        let mut init = Daemon::start(init.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(init.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        if line != "up\n" {
            let mut said = String::new();
            init.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("the host does not boot: {line}{said}");
        }
        Self {
            namespace,
            card,
            _init: init,
            _files: files,
        }
    }

    /// What DHCP gave it.
    pub fn address(&self) -> String {
        let shown = self.ip(&["-4", "address", "show", "dev", self.card]);
        let addresses = shown[0]["addr_info"].as_array().unwrap();
        let [address] = addresses.as_slice() else {
            panic!("one address is expected: {shown}");
        };
        address["local"].as_str().unwrap().to_owned()
    }

    /// Where it sends what is for other networks.
    pub fn gateway(&self) -> Option<String> {
        let shown = self.ip(&["-4", "route", "show", "default"]);
        Some(shown[0]["gateway"].as_str()?.to_owned())
    }

    pub fn reaches(&self, address: &str) -> bool {
        let mut ping = self.namespace.command("ping");
        // The first answer ends it.
        ping.args(["-n", "-q", "-c", "1", "-i", "0.1", "-w", "30", address]);
        ping.stdout(Stdio::null()).status().unwrap().success()
    }

    fn ip(&self, words: &[&str]) -> Value {
        let mut command = self.namespace.command("ip");
        command.arg("-json").args(words);
        serde_json::from_str(&said(command)).unwrap()
    }
}

impl Drop for System<'_> {
    fn drop(&mut self) {
        flush(self.namespace, self.card);
    }
}

/// A network's DHCP server and gateway.
pub struct Server {
    _namespace: Namespace,
    _daemon: Daemon,
    _directory: TempDir,
}

/// The address of the server of a VLAN, and what begins the addresses that it gives.
pub fn server_address(vlan: u16) -> (String, String) {
    let network = format!("10.{vlan}.0.");
    (format!("{network}1"), network)
}

impl Server {
    /// Serves on the card of this namespace.
    pub fn start(namespace: Namespace, vlan: u16) -> Self {
        let (address, network) = server_address(vlan);
        let run = |program: &str, line: &str| {
            let mut command = namespace.command(program);
            command.args(line.split(' '));
            said(command);
        };
        // A cable leaves checksums to its end, and the switch in the middle does not: dhclient would refuse them.
        run("ethtool", &format!("--offload {SERVER_CARD} tx off"));
        run("ip", &format!("address add {address}/24 dev {SERVER_CARD}"));
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name).display().to_string();
        let mut daemon = namespace.daemon("dnsmasq");
        daemon
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--user=root",
                "--port=0",
            ])
            .args(["--bind-interfaces", "--no-ping", "--dhcp-authoritative"])
            .arg(format!("--interface={SERVER_CARD}"))
            .arg(format!("--dhcp-range={network}100,{network}199,1h"))
            .arg(format!("--dhcp-option=option:router,{address}"))
            .arg(format!("--pid-file={}", file("pid")))
            .arg(format!("--dhcp-leasefile={}", file("leases")));
        let daemon = Daemon::start(&mut daemon);
        // It is written when the sockets are open.
        crate::pack::wait_for("a DHCP server", || Path::new(&file("pid")).exists().then_some(()));
        Self {
            _namespace: namespace,
            _daemon: daemon,
            _directory: directory,
        }
    }
}

fn flush(namespace: &Namespace, card: &str) {
    let mut command = namespace.command("ip");
    command.args(["address", "flush", "dev", card]);
    said(command);
}
