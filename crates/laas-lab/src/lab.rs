//! A whole lab: everything assembled, started and stopped together.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::bot::Bot;
use crate::cabling::{Cabling, PortState};
use crate::dashboard::{self, Dashboard};
use crate::eos::Eos;
use crate::faults::{Faults, Peer};
use crate::fog::{Fog, Version, WEB_ROOT};
use crate::http::Server;
use crate::inventory::{
    Access, BMC_USER, BmcKind, HostSpec, LAB_NAME, Make, SWITCH_USER, key_file, ports_of,
};
use crate::machine::{Machine, MachineOptions, Ports};
use crate::nxos::Nxos;
use crate::pace::Pace;
use crate::slapd::Slapd;
use crate::stack::Key;

/// The image that FOG has for a host before anybody books it.
const FIRST_IMAGE: u32 = 24;

/// What kind of lab is wanted.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// How many hosts: `pod1`, `pod2` and so on.
    pub hosts: u8,
    /// What their BMCs are, from `pod1` on; the others have IPMI.
    pub bmcs: Vec<BmcKind>,
    /// How long slow things take.
    pub pace: Pace,
    /// Which switch the cable of a card (from 1) of a host (from 1) goes to.
    pub cabled: fn(host: u8, card: u8) -> Make,
    /// Which FOG there is.
    pub fog: Version,
    /// Where disks, daemons and files are kept. `None`: in a temporary
    /// directory that goes with the lab.
    pub state_dir: Option<PathBuf>,
}

impl Default for LabOptions {
    /// The two hosts of the observed booking, and no delays.
    fn default() -> Self {
        Self {
            hosts: 2,
            bmcs: Vec::new(),
            pace: Pace::zero(),
            cabled: |_, _| Make::Nxos,
            fog: Version::default(),
            state_dir: None,
        }
    }
}

/// A running lab. All of it ends when it is dropped; it has to be dropped in
/// the runtime that it was started in.
pub struct Lab {
    dashboard: Dashboard,
    fog: Fog,
    switch: Nxos,
    eos: Eos,
    slapd: Slapd,
    bot: Bot,
    machines: Vec<Machine>,
    cabling: Cabling,
    faults: Faults,
    access: Access,
    pace: Pace,
    directory: PathBuf,
    _servers: Vec<Server>,
    _clock: JoinSet<()>,
    _ports: Ports,
    // The last one, so that nobody writes into it any more when it goes.
    _temporary: Option<TempDir>,
}

impl Lab {
    /// Starts everything; answers when all of it can be reached. Wants a
    /// runtime of several threads, and root, as the hosts are namespaces.
    ///
    /// # Errors
    /// A tool that is missing, or what it said.
    pub async fn start(options: LabOptions) -> anyhow::Result<Self> {
        let temporary = match options.state_dir {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("laas-lab-").tempdir()?),
        };
        let directory = match (&temporary, &options.state_dir) {
            (Some(temporary), _) => temporary.path().to_owned(),
            (None, directory) => directory.clone().context("no directory")?,
        };
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make the directory `{}`", directory.display()))?;
        let directory = directory.canonicalize()?;
        let mut hosts: Vec<HostSpec> = (1..=options.hosts)
            .map(|number| HostSpec::cabled(number, options.cabled))
            .collect();
        for (host, kind) in hosts.iter_mut().zip(&options.bmcs) {
            host.bmc = *kind;
        }
        let (cabling, faults) = (Cabling::default(), Faults::default());
        let pace = options.pace;

        let lab_token = secret();
        let dashboard = Dashboard::new(LAB_NAME, &lab_token, &[]);
        let fog = Fog::of(options.fog, &secret(), &secret(), faults.clone());
        for host in &hosts {
            let macs: Vec<&str> = host.nics.iter().map(|nic| nic.mac.as_str()).collect();
            dashboard.add_host(dashboard::HostSpec::new(&host.name, &macs))?;
            fog.add_host(&host.name, macs.iter().map(|mac| (*mac).into()), FIRST_IMAGE);
        }
        let [switch_password, eos_password] = [secret(), secret()];
        let (ports, time) = (ports_of(options.hosts), pace.switch);
        let places = [Make::Nxos, Make::Eos].map(Make::address);
        let account = (SWITCH_USER, switch_password.as_str());
        let switch = Nxos::new(places[0], ports, account, cabling.clone(), time);
        let account = (SWITCH_USER, eos_password.as_str());
        let eos = Eos::new(places[1], ports, account, cabling.clone(), time);
        let bot = Bot::default();

        let mut servers = Vec::new();
        for (ip, peer, router) in [
            (Ipv4Addr::LOCALHOST, Peer::Dashboard, dashboard.router()),
            (Ipv4Addr::LOCALHOST, Peer::Fog, fog.router()),
            (places[0], Peer::Switch, switch.router()),
            (Ipv4Addr::LOCALHOST, Peer::Bot, bot.router()),
            (places[1], Peer::Switch, eos.router()),
        ] {
            servers.push(Server::start(ip, peer, router, faults.clone()).await?);
        }
        let ldap_password = secret();
        let slapd = Slapd::start(&directory.join("slapd"), &ldap_password, faults.clone())
            .await
            .context("the directory does not start")?;
        let ports = Ports::take()?;
        let access = Access {
            dashboard: servers[0].url(),
            lab_token,
            fog: format!("{}{WEB_ROOT}", servers[1].url()),
            fog_tokens: [fog.shown_api_token(), fog.shown_user_token()],
            switch: servers[2].url(),
            switch_password,
            eos: servers[4].url(),
            eos_password,
            ldaps: slapd.ldaps_url(),
            ldap: slapd.ldap_url(),
            ca: slapd.ca_file(),
            ldap_password,
            bot: servers[3].url(),
            ssh_port: ports.ssh,
            ssh_key: make_key(&directory).await?,
            bmc_port: ports.bmc,
            redfish_port: ports.redfish,
            directory: directory.clone(),
            bmc_passwords: hosts.iter().map(|host| (host.name.clone(), secret())).collect(),
        };
        let mut starting = JoinSet::new();
        for host in hosts {
            starting.spawn(Machine::start(MachineOptions {
                bmc_password: access.bmc_passwords.get(&host.name).cloned().unwrap_or_default(),
                host,
                state_dir: directory.clone(),
                pace,
                cabling: cabling.clone(),
                faults: faults.clone(),
                pxe: Arc::new(fog.clone()),
                ports: ports.clone(),
                authorized_key: fs::read_to_string(access.ssh_key.with_extension("pub"))?,
                bmc_user: BMC_USER.into(),
            }));
        }
        let mut machines = Vec::new();
        while let Some(machine) = starting.join_next().await {
            machines.push(machine??);
        }
        machines.sort_by_key(|machine| machine.host().number);

        let mut clock = JoinSet::new();
        clock.spawn(tick(dashboard.clone(), pace));
        let lab = Self {
            dashboard,
            fog,
            switch,
            eos,
            slapd,
            bot,
            machines,
            cabling,
            faults,
            access,
            pace,
            directory,
            _servers: servers,
            _clock: clock,
            _ports: ports,
            _temporary: temporary,
        };
        lab.write_files()?;
        Ok(lab)
    }

    /// The dashboard, for what its users and operators do.
    pub fn dashboard(&self) -> &Dashboard {
        &self.dashboard
    }

    /// FOG, for a look at its tasks and images.
    pub fn fog(&self) -> &Fog {
        &self.fog
    }

    /// The Nexus, for its counters and a restart.
    pub fn switch(&self) -> &Nxos {
        &self.switch
    }

    /// The Arista switch.
    pub fn eos(&self) -> &Eos {
        &self.eos
    }

    /// The directory.
    pub fn slapd(&self) -> &Slapd {
        &self.slapd
    }

    /// The chat bot.
    pub fn bot(&self) -> &Bot {
        &self.bot
    }

    /// The faults of all peers.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// All hosts, in the order of their numbers.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The host of this name.
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.host().name == name)
    }

    /// Addresses, accounts and passwords.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The directory of everything the lab has on disk.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The keys for the pack's datastore.
    pub fn keys(&self) -> Vec<Key> {
        let hosts: Vec<HostSpec> = self
            .machines
            .iter()
            .map(|machine| machine.host().clone())
            .collect();
        self.access.keys(&hosts)
    }

    /// The pack's configuration, with deadlines that fit the pace.
    pub fn config(&self) -> Value {
        let slow = self.pace.imaging.as_secs();
        let poll = if slow == 0 { 50 } else { 500 };
        self.access.config(&json!({
            "image": 120 + 10 * slow, "stall": 30 + slow, "update": 120, "boot": 60, "power": 30, "call": 15,
            "poll_ms": poll, "retry_delay": 1, "retries": 3, "concurrency": 8,
        }))
    }

    /// What the port carries that this card of the host is plugged into;
    /// `None` if there is no such host or card.
    pub fn port_state(&self, host: &str, mac: &str) -> Option<PortState> {
        let nics = &self.machine(host)?.host().nics;
        let nic = nics.iter().find(|nic| nic.mac == mac)?;
        Some(self.cabling.port(&nic.socket))
    }

    /// Runs a command on a host by the real `ssh`, with this private key, as
    /// the pack or a tenant would. The host's key is taken as it is.
    ///
    /// # Errors
    /// What starting `ssh` says; a refused login is an exit code.
    pub async fn ssh(&self, address: Ipv4Addr, user: &str, key: &Path, command: &str) -> io::Result<Output> {
        Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .args([
                "-o",
                "LogLevel=ERROR",
                "-o",
                "ConnectTimeout=5",
                "-p",
                &self.access.ssh_port.to_string(),
            ])
            .arg("-i")
            .arg(key)
            .args(["-l", user, &address.to_string(), command])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
    }

    /// Ends every process of the lab and waits for it.
    pub fn shutdown(self) {
        drop(self);
    }

    /// The files for the pack, by what they are: `config`, `hosts` (no
    /// secrets), `datastore` (all keys), `ssh_key`, `ca`.
    pub fn files(&self) -> BTreeMap<&'static str, PathBuf> {
        BTreeMap::from([
            ("config", self.directory.join("laas.yaml")),
            ("hosts", self.directory.join("hosts.json")),
            ("datastore", self.directory.join("datastore.json")),
            ("ssh_key", self.access.ssh_key.clone()),
            ("ca", self.access.ca.clone()),
        ])
    }

    fn write_files(&self) -> anyhow::Result<()> {
        let (keys, files) = (self.keys(), self.files());
        let config = serde_yaml::to_string(&self.config())?;
        let hosts = key_file(keys.iter().filter(|key| !key.secret));
        for (name, text) in [
            ("config", config),
            ("hosts", hosts),
            ("datastore", key_file(&keys)),
        ] {
            let path = &files[name];
            // Closed to others before there is anything in it.
            fs::write(path, "")?;
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            fs::write(path, text)?;
        }
        Ok(())
    }
}

/// The dashboard's timers.
async fn tick(dashboard: Dashboard, pace: Pace) {
    let mut period = tokio::time::interval(pace.poll);
    loop {
        period.tick().await;
        dashboard.tick_between_jobs();
    }
}

/// A password that no other lab has. BMCs take 16 bytes at most.
fn secret() -> String {
    let mut text = Uuid::new_v4().simple().to_string();
    text.truncate(16);
    text
}

/// The key with which the pack gets onto hosts; one that is there is kept.
async fn make_key(directory: &Path) -> anyhow::Result<PathBuf> {
    let key = directory.join("id_ed25519");
    if !key.exists() {
        let output = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"])
            .arg(&key)
            .stdin(Stdio::null())
            .output()
            .await
            .context("cannot run `ssh-keygen`; install openssh-client")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`ssh-keygen`: {}", said.trim());
    }
    Ok(key)
}
