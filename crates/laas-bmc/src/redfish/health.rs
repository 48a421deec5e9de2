//! The BMC itself and the sensors around it.

use super::client::Client;
use super::link::Link;
use super::system::{Collection, Reference, System};
use crate::BmcError;
use crate::info::{Sensor, SensorState};
use laas_core::Mac;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// As much as we need of `Manager` (DSP2046).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Manager {
    pub firmware_version: Option<String>,
    ethernet_interfaces: Option<Reference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Interface {
    #[serde(rename = "MACAddress")]
    mac: Option<Mac>,
    #[serde(rename = "PermanentMACAddress")]
    permanent_mac: Option<Mac>,
    interface_enabled: Option<bool>,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Status {
    state: Option<String>,
    health: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Chassis {
    thermal: Option<Reference>,
    power: Option<Reference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Thermal {
    temperatures: Vec<Reading>,
    fans: Vec<Reading>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PowerDraw {
    power_control: Vec<Reading>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Reading {
    name: Option<String>,
    /// iLO 4's spelling.
    fan_name: Option<String>,
    reading_celsius: Option<f64>,
    reading: Option<f64>,
    reading_units: Option<String>,
    power_consumed_watts: Option<f64>,
    status: Status,
}

/// The manager of this system, or the only one.
///
/// # Errors
/// The BMC can't be asked, or has none.
pub fn manager(client: &Client, system: &System) -> Result<Manager, BmcError> {
    let what = "the manager";
    if let Some(link) = system.links.managed_by.first() {
        return client.get(&link.id, what);
    }
    let managers: Collection = client.get(&Link::root().below(&["Managers"]), what)?;
    let first = managers.members.first().ok_or_else(|| BmcError::Lacks {
        address: client.address.clone(),
        what: "a manager",
    })?;
    client.get(&first.id, what)
}

/// The MAC address of the interface that is in use: iLO lists the shared one beside its own.
///
/// # Errors
/// The BMC can't be asked.
pub fn mac(client: &Client, manager: &Manager) -> Result<Option<Mac>, BmcError> {
    let Some(link) = &manager.ethernet_interfaces else {
        return Ok(None);
    };
    let what = "the BMC's interfaces";
    let members: Collection = client.get(&link.id, what)?;
    let mut found = None;
    for member in members.members {
        let interface: Interface = client.get(&member.id, what)?;
        let in_use = interface.interface_enabled != Some(false)
            && interface.status.state.as_deref().unwrap_or("Enabled") == "Enabled";
        let mac = interface.mac.or(interface.permanent_mac);
        match mac {
            Some(mac) if in_use => return Ok(Some(mac)),
            mac => found = found.or(mac),
        }
    }
    Ok(found)
}

/// Temperatures, fans and the power that is drawn, of a chassis that tells them.
///
/// # Errors
/// The BMC can't be asked.
pub fn sensors(client: &Client, system: &System) -> Result<Vec<Sensor>, BmcError> {
    let mut sensors = Vec::new();
    for link in &system.links.chassis {
        let Some(chassis) = optional::<Chassis>(client, Some(link))? else {
            continue;
        };
        let thermal: Thermal = optional(client, chassis.thermal.as_ref())?.unwrap_or_default();
        let power: PowerDraw = optional(client, chassis.power.as_ref())?.unwrap_or_default();
        let all = [thermal.temperatures, thermal.fans, power.power_control];
        sensors.extend(all.into_iter().flatten().filter_map(Reading::sensor));
    }
    Ok(sensors)
}

fn optional<T: DeserializeOwned>(client: &Client, link: Option<&Reference>) -> Result<Option<T>, BmcError> {
    let Some(link) = link else {
        return Ok(None);
    };
    match client.get(&link.id, "the sensors") {
        Ok(found) => Ok(Some(found)),
        Err(BmcError::Rejected {
            status: 404 | 501, ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Reading {
    /// `None` for a place where nothing is built in.
    fn sensor(self) -> Option<Sensor> {
        if self.status.state.as_deref() == Some("Absent") {
            return None;
        }
        let (value, unit) = match (self.reading_celsius, self.power_consumed_watts) {
            (Some(celsius), _) => (Some(celsius), Some("degrees C".to_owned())),
            (_, Some(watts)) => (Some(watts), Some("Watts".to_owned())),
            _ => (self.reading, self.reading_units),
        };
        let state = match (self.status.health.as_deref(), value) {
            (Some("Critical"), _) => SensorState::Critical,
            (Some("Warning"), _) => SensorState::Warning,
            (_, None) => SensorState::None,
            _ => SensorState::Ok,
        };
        Some(Sensor {
            name: self.name.or(self.fan_name)?,
            value,
            unit,
            text: None,
            state,
        })
    }
}
