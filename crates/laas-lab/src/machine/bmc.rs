//! The BMC: a real `ipmi_sim`, whose hooks reach the machine, behind a relay
//! that loses what the faults say; or a Redfish service.

mod relay;
mod simulator;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use self::relay::Relay;
use self::simulator::{Flags, Simulator};
use super::Shared;
use super::redfish::Service;
use crate::faults::{Kind, Peer};
use crate::http::Server;
use crate::inventory::BmcKind;

/// Where the real ipmi_sim of host N listens, on the BMC's own port.
fn hidden(host: u8, wrong: bool) -> Ipv4Addr {
    Ipv4Addr::new(127, 96, u8::from(wrong), host)
}

/// The BMC of one machine; it ends when it is dropped.
pub enum Bmc {
    Ipmi(JoinSet<()>),
    Redfish(Arc<Service>, Option<Server>),
}

impl Bmc {
    /// Starts the BMC; it answers when this returns.
    ///
    /// # Errors
    /// What binding its addresses, starting `ipmi_sim` or making a certificate
    /// says, or that it does not answer.
    pub async fn start(shared: Arc<Shared>) -> io::Result<Self> {
        if shared.options.host.bmc != BmcKind::Ipmi {
            let (service, server) = Service::start(shared).await?;
            return Ok(Self::Redfish(service, Some(server)));
        }
        let number = shared.options.host.number;
        let hooks = TcpListener::bind((hidden(number, false), 0)).await?;
        let hook_address = hooks.local_addr()?;
        let password = shared.options.bmc_password.clone();
        let simulator = Simulator::start(&shared, false, &password, hook_address)?;
        let flags = simulator.flags();
        let relay = Relay::new(shared.clone(), hook_address).await?;
        simulator.answers().await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(simulator.run());
        tasks.spawn(listen(hooks, shared, flags));
        tasks.spawn(relay.run());
        Ok(Self::Ipmi(tasks))
    }

    /// The Redfish service, if it is one.
    pub fn service(&self) -> Option<&Service> {
        match self {
            Self::Ipmi(_) => None,
            Self::Redfish(service, _) => Some(service),
        }
    }

    /// Ends all of it. Its processes are killed as their tasks are dropped.
    pub fn stop(&mut self) {
        match self {
            Self::Ipmi(tasks) => tasks.abort_all(),
            Self::Redfish(_, server) => drop(server.take()),
        }
    }
}

/// Answers the hooks.
async fn listen(hooks: TcpListener, shared: Arc<Shared>, flags: Flags) {
    loop {
        if let Ok((stream, _)) = hooks.accept().await {
            // A hook that was killed hears no answer.
            let _ = answer_hook(stream, &shared, &flags).await;
        }
    }
}

async fn answer_hook(mut stream: TcpStream, shared: &Arc<Shared>, flags: &Flags) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await?;
    let answer = match hook(line.trim_end(), shared, flags) {
        Ok(values) => format!("ok {values}\n"),
        Err(reason) => format!("error {reason}\n"),
    };
    write.write_all(answer.as_bytes()).await
}

fn hook(line: &str, shared: &Arc<Shared>, flags: &Flags) -> Result<String, String> {
    let mut words = line.split(' ');
    let (program, operation) = (words.next(), words.next());
    match (program, operation) {
        (Some("chassis"), Some("get")) => {
            let values = words.map(|name| {
                let value = match name {
                    "power" => u8::from(shared.is_on()).to_string(),
                    "boot" => shared.boot_device().ipmi_name().to_owned(),
                    _ => return Err(format!("Invalid parameter: {name}")),
                };
                Ok(format!("{name}:{value}"))
            });
            Ok(values.collect::<Result<Vec<_>, _>>()?.join(" "))
        }
        (Some("chassis"), Some("set")) => {
            let peer = Peer::Bmc(shared.options.host.name.clone());
            if shared
                .options
                .faults
                .take_if(&peer, |kind| kind == Kind::Lie)
                .is_some()
            {
                return Ok(String::new());
            }
            while let (Some(name), Some(value)) = (words.next(), words.next()) {
                match name {
                    "power" => shared.set_power(value != "0"),
                    "reset" => shared.reset()?,
                    "shutdown" => shared.press_power_button(),
                    "boot" => shared.set_boot(value, flags.persistent())?,
                    // The light of a machine without a front.
                    "identify" => drop(words.next()),
                    _ => return Err(format!("Invalid parameter: {name}")),
                }
            }
            Ok(String::new())
        }
        (Some("lan"), Some("get")) => {
            let values = words.map(|name| {
                let value = shared
                    .lan_setting(name)
                    .ok_or(format!("Invalid parameter: {name}"))?;
                Ok(format!("{name}:{value}"))
            });
            Ok(values.collect::<Result<Vec<_>, String>>()?.join(" "))
        }
        (Some("lan"), Some("set")) => {
            while let (Some(name), Some(value)) = (words.next(), words.next()) {
                shared.set_lan_setting(name, value)?;
            }
            Ok(String::new())
        }
        (_, Some("check")) => Ok(String::new()),
        _ => Err("Invalid operation".to_owned()),
    }
}
