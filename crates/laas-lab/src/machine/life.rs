//! A machine's life from power on to power off: booting, imaging, running,
//! shutting down.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::network::{self, Link, Method};
use super::sandbox::{End, Request, Requests, Sandbox};
use super::wire::{Ends, Path};
use super::{BootOverride, Device, Event, Phase, Shared, System, disk};
use crate::cabling::{MANAGEMENT_VLAN, Order, Os, host_address};
use crate::faults::{Kind, Peer};

/// How often an image's progress is reported.
const IMAGING_STEPS: u8 = 20;

/// How long a system may take over its network and its sshd. One that takes
/// longer is up without.
const PATIENCE: Duration = Duration::from_secs(10);

/// This machine has been switched off, or reset, meanwhile.
struct Dead;

/// How the run of a system ended.
enum Next {
    Boot,
    Off,
    Nothing,
}

impl Shared {
    pub(super) fn is_on(&self) -> bool {
        self.locked().phase != Phase::Off
    }

    pub(super) fn boot_device(&self) -> BootOverride {
        self.locked().boot
    }

    pub(super) fn set_boot(&self, name: &str, persistent: bool) -> Result<(), String> {
        let boot = BootOverride::parse(name, persistent);
        let boot = boot.ok_or_else(|| format!("Invalid boot value: {name}"))?;
        self.change(|state| state.boot = boot);
        Ok(())
    }

    /// Switches the power. When it is off, everything that ran is dead before
    /// this returns.
    pub(super) fn set_power(self: &Arc<Self>, on: bool) {
        match (on, self.is_on()) {
            (true, false) => self.begin(Event::PowerOn),
            (false, true) => self.end(),
            _ => {}
        }
    }

    /// Starts over without a shutdown.
    pub(super) fn reset(self: &Arc<Self>) -> Result<(), String> {
        if !self.is_on() {
            return Err("the power is off".to_owned());
        }
        self.end_life();
        self.begin(Event::Reset);
        Ok(())
    }

    /// Asks a running system to shut down and cut the power; one that does
    /// not run does not hear it.
    pub(super) fn press_power_button(&self) {
        self.power_button.notify_waiters();
    }

    fn begin(self: &Arc<Self>, event: Event) {
        let mut state = self.locked();
        state.life += 1;
        state.phase = Phase::Booting;
        state.events.push(event);
        let life = Life {
            shared: self.clone(),
            number: state.life,
        };
        state.living = Some(tokio::spawn(life.live()).abort_handle());
        drop(state);
        self.change(|_| ());
    }

    fn end(&self) {
        self.end_life();
        self.change(|state| {
            state.phase = Phase::Off;
            state.events.push(Event::PowerOff);
        });
    }

    fn end_life(&self) {
        let sandbox = self.change(|state| {
            state.life += 1;
            if let Some(living) = state.living.take() {
                living.abort();
            }
            state.sandbox.take()
        });
        if let Some(sandbox) = sandbox {
            sandbox.kill();
        }
        self.ends.send_replace(Ends::default());
    }

    pub(super) fn root(&self, generation: u32) -> PathBuf {
        self.directory.join(format!("disk.{generation}"))
    }

    pub(super) fn next_system(&self, image: u32, os: Os) -> System {
        self.change(|state| {
            state.generations += 1;
            System {
                image,
                os,
                generation: state.generations,
            }
        })
    }

    pub(super) fn write_disk(&self, system: &System) -> io::Result<()> {
        let root = self.root(system.generation);
        disk::write(&root, system, &self.options.host, &self.options.authorized_key)
    }
}

/// One life; what it does after its end does not count.
#[derive(Clone)]
struct Life {
    shared: Arc<Shared>,
    number: u64,
}

impl Life {
    async fn live(self) {
        // The error says that somebody else has the say now.
        let _ = self.boot_until_off().await;
    }

    async fn boot_until_off(&self) -> Result<(), Dead> {
        loop {
            let device = self.change(|state| {
                state.bios.start();
                let device = match state.boot.is_set() {
                    true => state.boot.device(),
                    false => state.bios.device(),
                };
                if !state.boot.persistent {
                    state.boot = BootOverride::default();
                }
                state.boots.push(device);
                state.events.push(Event::Boot(device));
                device
            })?;
            let next = match device {
                Device::Pxe => self.boot_network().await?,
                Device::Disk => self.boot_disk().await?,
            };
            match next {
                Next::Boot => {}
                Next::Off => {
                    self.shared.set_power(false);
                    return Ok(());
                }
                Next::Nothing => {
                    self.change(|state| state.phase = Phase::Dead)?;
                    return Ok(());
                }
            }
        }
    }

    async fn boot_network(&self) -> Result<Next, Dead> {
        self.change(|state| state.phase = Phase::Pxe)?;
        let options = &self.shared.options;
        let mut answer = None;
        for nic in &options.host.nics {
            let port = options.cabling.port(&nic.socket);
            if port.carries(MANAGEMENT_VLAN, false) && matches!(answer, None | Some(Order::Disk)) {
                answer = Some(options.pxe.boot(&nic.mac));
            }
        }
        match answer {
            Some(Order::Deploy {
                task,
                image,
                os,
                files,
            }) => self.deploy(task, image, os, files).await,
            Some(Order::Capture { task, image }) => self.capture(task, image).await,
            Some(Order::Wipe { task }) => self.wipe(task).await,
            Some(Order::Disk) => self.boot_disk().await,
            None => {
                self.change(|state| state.events.push(Event::NoPxe))?;
                self.boot_disk().await
            }
        }
    }

    async fn deploy(&self, task: u32, image: u32, os: Os, files: Option<PathBuf>) -> Result<Next, Dead> {
        let old = self.change(|state| {
            state.events.push(Event::ImagingStarted { image });
            // From the first block on the old system is gone.
            state.disk.take()
        })?;
        let system = self.shared.next_system(image, os);
        self.image(task).await?;
        let (shared, written) = (self.shared.clone(), system.clone());
        let writing = tokio::task::spawn_blocking(move || {
            if let Some(old) = old {
                fs::remove_dir_all(shared.root(old.generation))?;
            }
            match files {
                Some(files) => disk::restore(&shared.root(written.generation), &files),
                None => shared.write_disk(&written),
            }
        });
        if let Err(error) = writing.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            self.trouble("the image was not written", &error)?;
            return Ok(Next::Nothing);
        }
        self.change(|state| {
            state.disk = Some(system.clone());
            state.events.push(Event::Imaged(system.clone()));
        })?;
        self.shared.options.pxe.finished(task, &system.os);
        Ok(Next::Boot)
    }

    async fn capture(&self, task: u32, image: u32) -> Result<Next, Dead> {
        let Some(system) = self.shared.locked().disk.clone() else {
            self.trouble("there is no system to capture", &"the disk is empty")?;
            return Ok(Next::Nothing);
        };
        self.image(task).await?;
        let (shared, root) = (self.shared.clone(), self.shared.root(system.generation));
        let reading = tokio::task::spawn_blocking(move || shared.options.pxe.keep(task, &root));
        if let Err(error) = reading.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            self.trouble("the disk was not captured", &error)?;
            return Ok(Next::Nothing);
        }
        self.change(|state| state.events.push(Event::Captured { image }))?;
        self.shared.options.pxe.finished(task, &system.os);
        Ok(Next::Boot)
    }

    async fn wipe(&self, task: u32) -> Result<Next, Dead> {
        // The first blocks go first.
        let old = self.change(|state| state.disk.take())?;
        self.image(task).await?;
        if let Some(old) = old {
            let root = self.shared.root(old.generation);
            let wiping = tokio::task::spawn_blocking(move || fs::remove_dir_all(root));
            if let Err(error) = wiping.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
                self.trouble("the disk was not wiped", &error)?;
                return Ok(Next::Nothing);
            }
        }
        self.change(|state| state.events.push(Event::Wiped))?;
        self.shared.options.pxe.wiped(task);
        Ok(Next::Boot)
    }

    /// Passes the time of an image, with reports.
    async fn image(&self, task: u32) -> Result<(), Dead> {
        let step = self.shared.options.pace.imaging / u32::from(IMAGING_STEPS);
        for done in 0..=IMAGING_STEPS {
            let percent = done * (100 / IMAGING_STEPS);
            self.change(|state| state.phase = Phase::Imaging { percent })?;
            self.shared.options.pxe.progress(task, percent);
            if done < IMAGING_STEPS && !step.is_zero() {
                tokio::time::sleep(step).await;
            }
        }
        Ok(())
    }

    async fn boot_disk(&self) -> Result<Next, Dead> {
        let system = self.change(|state| {
            state.phase = Phase::Booting;
            state.disk.clone()
        })?;
        let Some(system) = system else {
            return Ok(Next::Nothing);
        };
        tokio::time::sleep(self.shared.options.pace.boot).await;
        let root = self.shared.root(system.generation);
        let scratch = self.shared.directory.join("running");
        let cards = &self.shared.options.host.nics;
        let (sandbox, requests) = match Sandbox::start(&root, &system.os, &scratch, cards).await {
            Ok((sandbox, requests)) => (Arc::new(sandbox), requests),
            Err(error) => {
                self.trouble("the system does not start", &error)?;
                return Ok(Next::Nothing);
            }
        };
        self.change(|state| state.sandbox = Some(sandbox.clone()))?;
        let run = Run {
            life: self,
            root,
            sandbox,
            links: Vec::new(),
            leases: Vec::new(),
        };
        run.run(requests).await
    }

    fn trouble(&self, what: &str, why: &impl std::fmt::Display) -> Result<(), Dead> {
        let host = &self.shared.options.host.name;
        tracing::warn!(host, %why, "{what}");
        self.change(|state| state.events.push(Event::Trouble(format!("{what}: {why}"))))
    }

    /// Changes the machine, unless this life is over.
    fn change<T>(&self, change: impl FnOnce(&mut super::State) -> T) -> Result<T, Dead> {
        let mut state = self.shared.locked();
        if state.life != self.number {
            return Err(Dead);
        }
        let result = change(&mut state);
        drop(state);
        self.shared.changes.send_modify(|count| *count += 1);
        Ok(result)
    }
}

/// A system that runs.
struct Run<'life> {
    life: &'life Life,
    root: PathBuf,
    sandbox: Arc<Sandbox>,
    links: Vec<Link>,
    /// What DHCP gave to the link of this place in `links`, once. A lease is
    /// kept whatever the switch does; only a new set-up asks anew.
    leases: Vec<Option<(Ipv4Addr, u16)>>,
}

impl Run<'_> {
    async fn run(mut self, mut requests: Requests) -> Result<Next, Dead> {
        let shared = &self.life.shared;
        let mut changes = shared.options.cabling.changes();
        let sandbox = self.sandbox.clone();
        let started = Instant::now();
        let mut configured = false;
        let mut up = false;
        // A button pressed while the system starts is not heard; one pressed
        // while we look elsewhere is.
        let button = shared.power_button.notified();
        tokio::pin!(button);
        let next = loop {
            if !up && (configured && sandbox.listens() || started.elapsed() > PATIENCE) {
                up = true;
                self.publish()?;
                self.life.change(|state| {
                    state.phase = Phase::Up;
                    state.events.push(Event::Up);
                })?;
            }
            let nap = if up { PATIENCE } else { Duration::from_millis(3) };
            tokio::select! {
                request = requests.next() => match request {
                    Request::Network(process) => {
                        self.configure();
                        configured = true;
                        if up {
                            self.publish()?;
                        }
                        self.sandbox.answer(process, "ok").await;
                    }
                    _ if self.lies() => {}
                    Request::Reboot => break Next::Boot,
                    Request::PowerOff => break Next::Off,
                },
                end = sandbox.ended() => match end {
                    End::Restart => break Next::Boot,
                    End::PowerOff => break Next::Off,
                    End::Crash => {
                        self.life.trouble("the system fell over", &"its first process ended")?;
                        break Next::Nothing;
                    }
                },
                () = &mut button => break Next::Off,
                _ = changes.changed() => if self.ask_again() && up {
                    self.publish()?;
                },
                () = tokio::time::sleep(nap) => {}
            }
        };
        self.life.change(|state| {
            state.phase = Phase::ShuttingDown;
            state.events.push(Event::ShuttingDown);
        })?;
        tokio::time::sleep(self.life.shared.options.pace.shutdown).await;
        self.life.change(|state| {
            state.sandbox = None;
            self.life.shared.ends.send_replace(Ends::default());
        })?;
        self.sandbox.kill();
        Ok(next)
    }

    /// Whether this host says yes to a reboot and does nothing.
    fn lies(&self) -> bool {
        let options = &self.life.shared.options;
        let peer = Peer::Host(options.host.name.clone());
        options.faults.take_if(&peer, |kind| kind == Kind::Lie).is_some()
    }

    /// Sets the network up by the configuration of now.
    fn configure(&mut self) {
        let nics = &self.life.shared.options.host.nics;
        let mut lines = String::new();
        for link in &self.links {
            let _ = writeln!(lines, "link del {}", link.name);
        }
        self.links = network::links(&self.root, &self.sandbox.run(), nics);
        self.leases = vec![None; self.links.len()];
        if let Some(kind) = self.sandbox.card_kind() {
            // A card without configuration is there all the same.
            for (card, nic) in nics.iter().enumerate() {
                if !self
                    .links
                    .iter()
                    .any(|link| link.card == card && link.tag.is_none())
                {
                    self.links.push(Link {
                        name: nic.name.clone(),
                        card,
                        tag: None,
                        methods: Vec::new(),
                    });
                    self.leases.push(None);
                }
            }
            for link in &self.links {
                let mac = &nics[link.card].mac;
                let _ = writeln!(lines, "link add {} address {mac} type {kind}", link.name);
                if !link.methods.is_empty() {
                    let _ = writeln!(lines, "link set {} up", link.name);
                }
                for method in &link.methods {
                    if let Method::Static(address) = method {
                        let _ = writeln!(lines, "address add {address}/24 dev {}", link.name);
                    }
                }
            }
            self.ip(&lines);
        }
        self.ask_again();
    }

    /// Asks for the addresses that DHCP has not given yet; whether it gave
    /// one now.
    fn ask_again(&mut self) -> bool {
        let options = &self.life.shared.options;
        let mut lines = String::new();
        for (link, lease) in self.links.iter().zip(&mut self.leases) {
            if lease.is_some() || !link.methods.contains(&Method::Dhcp) {
                continue;
            }
            let port = options.cabling.port(&options.host.nics[link.card].socket);
            let vlan = match link.tag {
                Some(tag) => Some(tag).filter(|tag| port.carries(*tag, true)),
                None => port.native,
            };
            if let Some(vlan) = vlan {
                let address = host_address(vlan, options.host.number);
                *lease = Some((address, vlan));
                let _ = writeln!(lines, "address add {address}/24 dev {}", link.name);
            }
        }
        if !lines.is_empty() {
            self.ip(&lines);
        }
        !lines.is_empty()
    }

    fn ip(&self, lines: &str) {
        // What `ip` inside shows is for people and scripts to read; the wire
        // does not depend on it.
        match self.sandbox.ip(lines) {
            Ok(true) => {}
            Ok(false) => tracing::debug!(lines, "`ip` did not do everything"),
            Err(error) => tracing::debug!(%error, "`ip` was not run"),
        }
    }

    /// Tells the wire where the system can be reached.
    fn publish(&self) -> Result<(), Dead> {
        let options = &self.life.shared.options;
        let mut paths = Vec::new();
        for (link, lease) in self.links.iter().zip(&self.leases) {
            let fixed = link.methods.iter().filter_map(|method| match method {
                Method::Static(address) => Some((*address, network::vlan_of(*address)?)),
                Method::Dhcp => None,
            });
            for (address, vlan) in lease.iter().copied().chain(fixed) {
                // An address of another network than the link's is of no use.
                if link.tag.is_none_or(|tag| tag == vlan) {
                    paths.push(Path {
                        address,
                        vlan,
                        tagged: link.tag.is_some(),
                        socket: options.host.nics[link.card].socket.clone(),
                    });
                }
            }
        }
        let ends = Ends {
            sandbox: Some(self.sandbox.clone()),
            paths,
        };
        self.life
            .change(|_| drop(self.life.shared.ends.send_replace(ends)))
    }
}
