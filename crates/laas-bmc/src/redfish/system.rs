//! The host: its power and what it boots from next.

use super::hpe::Flavour;
use super::link::Link;
use crate::{Boot, BootState, Button, Device, Firmware, Power};
use serde::Deserialize;
use serde_json::{Value, json};

/// A link to a resource.
#[derive(Clone, Debug, Deserialize)]
pub struct Reference {
    #[serde(rename = "@odata.id")]
    pub id: Link,
}

/// A collection; its members are links.
#[derive(Debug, Deserialize)]
pub struct Collection {
    #[serde(rename = "Members")]
    pub members: Vec<Reference>,
}

/// As much as we need of `ComputerSystem` (DSP2046).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct System {
    pub power_state: Option<String>,
    pub boot: Option<BootSource>,
    pub actions: Actions,
    pub bios: Option<Reference>,
    pub links: Links,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub oem: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Links {
    pub managed_by: Vec<Reference>,
    pub chassis: Vec<Reference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Actions {
    #[serde(rename = "#ComputerSystem.Reset")]
    pub reset: Option<Reset>,
}

#[derive(Debug, Deserialize)]
pub struct Reset {
    pub target: Link,
    #[serde(rename = "ResetType@Redfish.AllowableValues", default)]
    pub types: Vec<String>,
    /// Where the types are listed if they are not listed here.
    #[serde(rename = "@Redfish.ActionInfo")]
    pub info: Option<Link>,
}

/// `ActionInfo`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ActionInfo {
    parameters: Vec<Parameter>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Parameter {
    name: String,
    allowable_values: Vec<String>,
}

impl ActionInfo {
    pub fn reset_types(self) -> Vec<String> {
        let parameter = self.parameters.into_iter().find(|p| p.name == "ResetType");
        parameter.unwrap_or_default().allowable_values
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BootSource {
    #[serde(rename = "BootSourceOverrideTarget")]
    target: Option<String>,
    #[serde(rename = "BootSourceOverrideTarget@Redfish.AllowableValues")]
    targets: Vec<String>,
    #[serde(rename = "BootSourceOverrideEnabled")]
    enabled: Option<String>,
    #[serde(rename = "BootSourceOverrideMode")]
    mode: Option<String>,
    #[serde(rename = "BootSourceOverrideMode@Redfish.AllowableValues")]
    modes: Vec<String>,
}

impl System {
    /// `None` for a state that is neither, such as a host that is paused.
    pub fn power(&self) -> Option<Power> {
        match self.power_state.as_deref()? {
            // It has not got there yet.
            "On" | "PoweringOff" => Some(Power::On),
            "Off" | "PoweringOn" => Some(Power::Off),
            _ => None,
        }
    }
}

/// What to press, as the BMC calls it: the first that it lists.
pub fn reset_type(button: Button, listed: &[String]) -> Option<&'static str> {
    let names: &[&str] = match button {
        Button::On => &["On", "ForceOn"],
        Button::Off => &["ForceOff"],
        Button::Reset => &["ForceRestart"],
        Button::Soft => &["GracefulShutdown", "PushPowerButton"],
    };
    names.iter().find(|n| listed.iter().any(|l| l == *n)).copied()
}

impl BootSource {
    /// Whether the BMC has an override at all; those that have none leave it out or say null.
    pub fn can_be_overridden(&self) -> bool {
        self.target.is_some() || self.enabled.is_some()
    }

    /// Whether the BMC lists the device, or lists nothing.
    pub fn takes(&self, device: Device) -> bool {
        self.targets.is_empty() || target(device).is_some_and(|t| self.targets.iter().any(|l| l == t))
    }

    /// Whether the mode can be chosen with the device.
    pub fn takes_mode(&self, flavour: Flavour, uefi: bool) -> bool {
        let lists = self.modes.is_empty() || self.modes.iter().any(|m| m == mode(uefi));
        flavour.takes_boot_mode() && self.mode.is_some() && lists
    }

    /// What is to be sent for this order.
    pub fn order(&self, flavour: Flavour, boot: &Boot) -> Value {
        let mut source = json!({
            "BootSourceOverrideEnabled": match (boot.device, boot.persistent) {
                (Device::None, _) => "Disabled",
                (_, true) => "Continuous",
                (_, false) => "Once",
            },
        });
        if self.takes(boot.device) {
            source["BootSourceOverrideTarget"] = json!(target(boot.device));
        }
        if boot.device != Device::None && self.takes_mode(flavour, boot.uefi) {
            source["BootSourceOverrideMode"] = json!(mode(boot.uefi));
        }
        json!({"Boot": source})
    }

    /// What the BMC says. Which mode it would have taken decides whether the mode says anything.
    pub fn state(&self, flavour: Flavour) -> BootState {
        let device = match self.target.as_deref() {
            None | Some("None") => Device::None,
            Some("Pxe") => Device::Pxe,
            Some("Hdd") => Device::Disk,
            Some("BiosSetup") => Device::Bios,
            Some(_) => Device::Other,
        };
        let enabled = self.enabled.as_deref().unwrap_or("Disabled");
        if enabled == "Disabled" || device == Device::None {
            return BootState::by_firmware(Device::None);
        }
        let uefi = self.mode.as_deref() == Some("UEFI");
        BootState {
            device,
            valid: true,
            persistent: enabled == "Continuous",
            uefi,
            firmware: Firmware {
                decides_device: false,
                decides_mode: !(self.takes_mode(flavour, true) && self.takes_mode(flavour, false)),
            },
        }
    }
}

fn target(device: Device) -> Option<&'static str> {
    match device {
        Device::Pxe => Some("Pxe"),
        Device::Disk => Some("Hdd"),
        Device::Bios => Some("BiosSetup"),
        Device::None => Some("None"),
        Device::Other => None,
    }
}

fn mode(uefi: bool) -> &'static str {
    if uefi { "UEFI" } else { "Legacy" }
}
