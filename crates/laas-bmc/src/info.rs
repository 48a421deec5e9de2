//! What a BMC says about itself and the machine around it.

use laas_core::Mac;
use serde::Serialize;

/// What is not there is `None` or empty: a BMC without a FRU or without sensors is as good as any other.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Info {
    /// Who made the machine, `Lenovo`.
    pub manufacturer: Option<String>,
    /// What its maker calls it, `ProLiant DL360 Gen9`.
    pub model: Option<String>,
    /// The version of the BMC's own firmware, `2.81`.
    pub firmware: Option<String>,
    /// What it speaks, `IPMI 2.0`.
    pub protocol: String,
    /// Of the BMC itself.
    pub mac: Option<Mac>,
    pub sensors: Vec<Sensor>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sensor {
    pub name: String,
    /// In `unit`; `None` if it measures nothing, or nothing at the moment (fans of a host that is off).
    pub value: Option<f64>,
    /// As the BMC's driver names it, `degrees C`.
    pub unit: Option<String>,
    /// What a sensor says that does not measure, `Presence detected`.
    pub text: Option<String>,
    pub state: SensorState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SensorState {
    Ok,
    Warning,
    Critical,
    /// It has no reading now.
    None,
}
