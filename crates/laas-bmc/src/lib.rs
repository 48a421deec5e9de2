//! Baseboard management controllers: power, the device of the next boot, and the tenants' accounts.
//!
//! A driver per protocol stands behind [`Bmc`]; what is done with one (and proven) is in [`power`], [`account`] and
//! [`revocation`].

pub mod account;
pub mod bios;
mod error;
#[cfg(test)]
mod fake;
pub mod info;
pub mod ipmi;
pub mod power;
pub mod redfish;
pub mod revocation;

pub use error::BmcError;
pub use info::Info;

use laas_core::inventory::{self, BmcDriver};
use laas_core::names::BmcSlot;
use laas_core::{Mac, Secret};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What every BMC can be asked and told. A call is one exchange: it takes no longer than the timeout that the
/// driver was made with, and that the BMC said yes does not mean that it did anything.
pub trait Bmc {
    /// How it is called in messages.
    fn address(&self) -> &str;

    /// # Errors
    /// The BMC can't be asked.
    fn power(&self) -> Result<Power, BmcError>;

    /// # Errors
    /// The BMC can't be asked or refuses.
    fn press(&self, button: Button) -> Result<(), BmcError>;

    /// What the BMC says about the next boot.
    ///
    /// # Errors
    /// The BMC can't be asked.
    fn boot(&self) -> Result<BootState, BmcError>;

    /// Sets the device of the next boot; with [`Device::None`] the firmware's own order counts again.
    ///
    /// # Errors
    /// The BMC can't be asked or refuses.
    fn set_boot(&self, boot: &Boot) -> Result<(), BmcError>;

    /// # Errors
    /// The BMC can't be asked.
    fn users(&self) -> Result<Vec<User>, BmcError>;

    /// Gives the slot to this account alone: name, password and rights, and lets it log in. Says which slot it has
    /// now, which the BMC decides if it was [`BmcSlot::to_be_made`].
    ///
    /// # Errors
    /// The BMC can't be asked or refuses; the account may be half made.
    fn set_user(&self, slot: &BmcSlot, login: &Login, privilege: Privilege) -> Result<BmcSlot, BmcError>;

    /// One slot, with all that the BMC says of it. One that is free, or that is no more, has no name.
    ///
    /// # Errors
    /// The BMC can't be asked.
    fn user(&self, slot: &BmcSlot) -> Result<User, BmcError>;

    /// Shuts the account of this slot out, and empties the slot if the BMC lets it. It is shut out first, so that what
    /// is left after a failure opens nothing.
    ///
    /// # Errors
    /// The BMC can't be asked or refuses; the account may be half shut out.
    fn disable_user(&self, slot: &BmcSlot) -> Result<(), BmcError>;

    /// Opens a session as this user, which is the only proof that the password is the right one.
    ///
    /// # Errors
    /// [`BmcError::Login`] if the BMC refuses, anything else if it can't be asked.
    fn prove(&self, login: &Login, privilege: Privilege) -> Result<(), BmcError>;

    /// The MAC address of the BMC itself.
    ///
    /// # Errors
    /// The BMC can't be asked.
    fn mac(&self) -> Result<Mac, BmcError>;

    /// The host's firmware settings, if the driver has a way to them.
    fn bios(&self) -> Option<&dyn bios::Bios> {
        None
    }

    /// What is built in and how it is. As there is much to ask, this may take several exchanges' time.
    ///
    /// # Errors
    /// The BMC can't be asked.
    fn info(&self) -> Result<Info, BmcError>;
}

/// The driver that the inventory asks for. Nothing is sent yet.
///
/// # Errors
/// The inventory's entry is none that the driver can use.
pub fn open(bmc: &inventory::Bmc, password: Secret, call: Duration) -> Result<Box<dyn Bmc>, BmcError> {
    match bmc.driver {
        BmcDriver::Ipmi => Ok(Box::new(ipmi::Ipmi::new(bmc, password, call))),
        BmcDriver::Redfish => Ok(Box::new(redfish::Redfish::new(bmc, password, call)?)),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    On,
    Off,
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// What can be done to a host's power in one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Button {
    On,
    /// At once, whatever the system is doing.
    Off,
    /// At once, without the power going away.
    Reset,
    /// Asks the system to shut down, as the power button does.
    Soft,
}

impl fmt::Display for Button {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "power on",
            Self::Off => "power off",
            Self::Reset => "reset",
            Self::Soft => "soft off",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    Pxe,
    Disk,
    /// The firmware's setup.
    Bios,
    /// Whatever the firmware's own order says.
    None,
    /// One that only the BMC knows.
    #[value(skip)]
    Other,
}

/// An order for the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    pub device: Device,
    /// For every boot, not only for the next one.
    pub persistent: bool,
    pub uefi: bool,
}

/// What a BMC says about the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BootState {
    pub device: Device,
    /// Whether the order stands; it ends with the boot that obeys it, or by a timeout.
    pub valid: bool,
    pub persistent: bool,
    pub uefi: bool,
    #[serde(skip)]
    pub firmware: Firmware,
}

/// What about a boot is the firmware's own doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Firmware {
    /// No order of ours stands: the device is what its own order begins with.
    pub decides_device: bool,
    /// The BMC takes no mode, or does not say which one.
    pub decides_mode: bool,
}

impl BootState {
    /// The state without an order of ours, in which the firmware's own begins with `device`, if the BMC says that.
    pub fn by_firmware(device: Device) -> Self {
        let is_known = device != Device::None;
        Self {
            device,
            valid: is_known,
            persistent: is_known,
            uefi: false,
            firmware: Firmware {
                decides_device: true,
                decides_mode: true,
            },
        }
    }

    /// Whether this is what `boot` asked for. Some BMCs keep the device and lose the flags: those say nothing.
    pub fn obeys(&self, boot: &Boot) -> bool {
        if boot.device == Device::None && self.firmware.decides_device {
            return true;
        }
        let no_flags = !self.valid && !self.persistent && !self.uefi;
        let mode = self.firmware.decides_mode || self.uefi == boot.uefi;
        let flags = self.valid && self.persistent == boot.persistent && mode;
        self.device == boot.device && (no_flags || flags)
    }
}

impl From<Boot> for BootState {
    fn from(boot: Boot) -> Self {
        Self {
            device: boot.device,
            valid: true,
            persistent: boot.persistent,
            uefi: boot.uefi,
            firmware: Firmware::default(),
        }
    }
}

impl fmt::Display for BootState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |is, name| if is { name } else { "" };
        write!(
            f,
            "{:?}{}{}{}",
            self.device,
            flag(self.valid, ", valid"),
            flag(self.persistent, ", persistent"),
            flag(self.uefi, ", UEFI")
        )
    }
}

/// A slot of the BMC's table of users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    pub slot: BmcSlot,
    /// Empty if the slot is free.
    pub name: String,
    /// `None` if the account has no access, or one that nothing here gives.
    pub privilege: Option<Privilege>,
    /// `None` if the BMC does not say; in a list of users IPMI never does.
    pub enabled: Option<bool>,
    /// Whether it may come in by the way that we come.
    pub access: bool,
}

#[derive(Clone, Debug)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Privilege {
    /// Reads states.
    User,
    /// Power, boot device and console, and nothing about the BMC itself.
    Operator,
    /// Everything, other accounts included.
    Administrator,
}
