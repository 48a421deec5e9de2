//! Redfish 1.x (DMTF, DSP0266) over HTTPS, as much of it as hosts that are lent out need.
//!
//! Resources are found by the links of the service, never by a guess at their paths; what differs from maker to maker
//! is asked from the service where it can be, and is a file below `hpe` where it can't.

mod accounts;
mod bios;
mod client;
mod health;
mod hpe;
mod link;
mod message;
mod system;

use crate::bios::{Bios, Settled};
use crate::{Bmc, BmcError, Boot, BootState, Button, Device, Info, Login, Power, Privilege, User};
use accounts::Accounts;
use client::Client;
use hpe::boot_order::BootSettings;
use hpe::{Flavour, ribcl};
use laas_core::names::BmcSlot;
use laas_core::{Mac, Secret, inventory};
use link::Link;
use serde::Deserialize;
use serde_json::json;
use std::cell::OnceCell;
use std::time::Duration;
use system::{ActionInfo, Collection, System};

/// As long as every BMC takes.
const PASSWORD: usize = 16;

/// One BMC, which has one host.
#[derive(Debug)]
pub struct Redfish {
    client: Client,
    system: OnceCell<Link>,
}

impl Redfish {
    /// # Errors
    /// The address is none, or the certificate authorities of `bmc.tls` can't be read. Nothing is sent.
    pub fn new(bmc: &inventory::Bmc, password: Secret, call: Duration) -> Result<Self, BmcError> {
        Ok(Self {
            client: Client::new(bmc, password, call)?,
            system: OnceCell::new(),
        })
    }

    /// Where the host's resource is: the only member of the systems.
    fn system_link(&self) -> Result<&Link, BmcError> {
        if let Some(link) = self.system.get() {
            return Ok(link);
        }
        let systems: Collection = self.client.get(&systems(), "the systems")?;
        let [system] = systems.members.as_slice() else {
            return Err(BmcError::Systems {
                address: self.client.address.clone(),
                count: systems.members.len(),
            });
        };
        Ok(self.system.get_or_init(|| system.id.clone()))
    }

    fn system(&self) -> Result<(System, Flavour), BmcError> {
        let system: System = self.client.get(self.system_link()?, "the system")?;
        let flavour = Flavour::of(&system.oem);
        Ok((system, flavour))
    }

    fn lacks(&self, what: &'static str) -> BmcError {
        BmcError::Lacks {
            address: self.client.address.clone(),
            what,
        }
    }

    /// Where iLO keeps the order of the BIOS, as it will be after the next reset.
    fn boot_order(&self, system: &System) -> Result<(Link, BootSettings), BmcError> {
        let bios = system.bios.as_ref().map(|b| b.id.clone());
        let bios = bios.or_else(|| hpe::bios_password::bios(&system.oem));
        let bios = bios.ok_or_else(|| self.lacks("the BIOS"))?;
        let link = bios.below(&["Boot", "Settings", ""]);
        let settings = self.client.get(&link, "the boot order")?;
        Ok((link, settings))
    }

    fn ribcl(&self, request: String, what: &'static str) -> Result<String, BmcError> {
        let reply = self.client.post_text(ribcl::PATH, request, what)?.body;
        let address = self.client.address.clone();
        match ribcl::judge(&reply) {
            Ok(()) => Ok(reply),
            Err(ribcl::Why::Login) => Err(BmcError::Login {
                address,
                user: self.client.admin.user.clone(),
            }),
            Err(ribcl::Why::Refused { status, said }) => Err(BmcError::Ribcl {
                address,
                what,
                status,
                said,
            }),
            Err(ribcl::Why::Garbled) => Err(BmcError::Garbled {
                address,
                what,
                answer: format!("{} bytes that are no reply of RIBCL", reply.len()),
            }),
        }
    }
}

fn systems() -> Link {
    Link::root().below(&["Systems"])
}

impl Bmc for Redfish {
    fn address(&self) -> &str {
        &self.client.address
    }

    fn power(&self) -> Result<Power, BmcError> {
        let (system, _) = self.system()?;
        system.power().ok_or_else(|| BmcError::Garbled {
            address: self.client.address.clone(),
            what: "the power state",
            answer: system.power_state.unwrap_or_else(|| "nothing".to_owned()),
        })
    }

    fn press(&self, button: Button) -> Result<(), BmcError> {
        let (system, _) = self.system()?;
        let reset = system
            .actions
            .reset
            .ok_or_else(|| self.lacks("a way to switch"))?;
        let listed = match (reset.types, reset.info) {
            (types, Some(info)) if types.is_empty() => {
                let info: ActionInfo = self.client.get(&info, "the ways to switch")?;
                info.reset_types()
            }
            (types, _) => types,
        };
        let name = system::reset_type(button, &listed).ok_or_else(|| BmcError::NoButton {
            address: self.client.address.clone(),
            button,
            listed: listed.join(", "),
        })?;
        let what = "a change of power";
        self.client.post(&reset.target, &json!({"ResetType": name}), what)
    }

    fn boot(&self) -> Result<BootState, BmcError> {
        let (system, flavour) = self.system()?;
        let source = system.boot.as_ref().filter(|b| b.can_be_overridden());
        let Some(source) = source else {
            if flavour == Flavour::Standard {
                return Err(self.lacks("a boot override"));
            }
            let reply = self.ribcl(ribcl::question(&self.client.admin), "the boot device")?;
            return ribcl::state(&reply).ok_or_else(|| BmcError::Garbled {
                address: self.client.address.clone(),
                what: "the boot device",
                answer: "a reply of RIBCL without it".to_owned(),
            });
        };
        let state = source.state(flavour);
        if flavour == Flavour::Standard || !state.firmware.decides_device {
            return Ok(state);
        }
        match self.boot_order(&system) {
            Ok((_, settings)) => Ok(settings.state()),
            // Servers that boot by legacy BIOS have no such order.
            Err(BmcError::Rejected { status: 404, .. } | BmcError::Lacks { .. }) => Ok(state),
            Err(error) => Err(error),
        }
    }

    fn set_boot(&self, boot: &Boot) -> Result<(), BmcError> {
        let (system, flavour) = self.system()?;
        let what = "the boot device";
        let unknown = || BmcError::NoDevice {
            address: self.client.address.clone(),
            device: boot.device,
        };
        let Some(source) = system.boot.as_ref().filter(|b| b.can_be_overridden()) else {
            if flavour == Flavour::Standard {
                return Err(self.lacks("a boot override"));
            }
            let order = ribcl::order(&self.client.admin, boot).ok_or_else(unknown)?;
            return self.ribcl(order, what).map(drop);
        };
        // No override at all need not be on the list.
        if boot.device != Device::None && !source.takes(boot.device) {
            return Err(unknown());
        }
        let mut order = *boot;
        if flavour != Flavour::Standard && boot.persistent && boot.device != Device::None {
            let (link, settings) = self.boot_order(&system)?;
            let names = settings.starting_with(boot.device).ok_or_else(unknown)?;
            let body = json!({"PersistentBootConfigOrder": names});
            self.client.patch(&link, &body, "the boot order")?;
            if source.state(flavour).firmware.decides_device {
                return Ok(());
            }
            // An override that stands would hide the order.
            order.device = Device::None;
        }
        self.client
            .patch(self.system_link()?, &source.order(flavour, &order), what)
    }

    fn users(&self) -> Result<Vec<User>, BmcError> {
        let (_, flavour) = self.system()?;
        Accounts::find(&self.client, flavour)?.users()
    }

    fn user(&self, slot: &BmcSlot) -> Result<User, BmcError> {
        let (_, flavour) = self.system()?;
        Accounts::find(&self.client, flavour)?.user(slot)
    }

    fn set_user(&self, slot: &BmcSlot, login: &Login, privilege: Privilege) -> Result<BmcSlot, BmcError> {
        let (_, flavour) = self.system()?;
        Accounts::find(&self.client, flavour)?.set(slot, login, privilege)
    }

    fn disable_user(&self, slot: &BmcSlot) -> Result<(), BmcError> {
        let (_, flavour) = self.system()?;
        let unknown = Secret::random(PASSWORD).map_err(|_| BmcError::Random)?;
        Accounts::find(&self.client, flavour)?.disable(slot, &unknown)
    }

    fn prove(&self, login: &Login, _: Privilege) -> Result<(), BmcError> {
        // The root answers anybody; the systems want a login.
        let read = self.client.get_as::<Collection>(login, &systems(), "the systems");
        read.map(drop)
    }

    fn mac(&self) -> Result<Mac, BmcError> {
        let (system, _) = self.system()?;
        let manager = health::manager(&self.client, &system)?;
        health::mac(&self.client, &manager)?.ok_or_else(|| self.lacks("a MAC address"))
    }

    fn info(&self) -> Result<Info, BmcError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Root {
            redfish_version: String,
        }
        let root: Root = self.client.get(&Link::root(), "the service")?;
        let (system, _) = self.system()?;
        let manager = health::manager(&self.client, &system)?;
        Ok(Info {
            protocol: format!("Redfish {}", root.redfish_version),
            mac: health::mac(&self.client, &manager)?,
            sensors: health::sensors(&self.client, &system)?,
            firmware: manager.firmware_version,
            manufacturer: system.manufacturer,
            model: system.model,
        })
    }

    fn bios(&self) -> Option<&dyn Bios> {
        Some(self)
    }
}

impl Bios for Redfish {
    fn change_password(&self, old: &Secret, new: &Secret) -> Result<(), BmcError> {
        let (system, flavour) = self.system()?;
        bios::change_password(&self.client, flavour, &system, old, new)
    }

    fn settled(&self) -> Result<Settled, BmcError> {
        let (system, _) = self.system()?;
        bios::settled(&self.client, &system)
    }
}
