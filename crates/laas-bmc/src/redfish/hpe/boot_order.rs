//! A device for every boot is not an override on iLO but the order of the BIOS, `PersistentBootConfigOrder`: it is
//! written to the settings of `…/Bios/Boot` and applied by the next reset (HPE, ilo-rest-api-docs, "Changing the boot
//! order"; OpenStack's proliantutils, `BIOSBootSettings`). Its entries are names such as `NIC.LOM.1.1.IPv4` or
//! `HD.EmbRAID.1.2`, whose first word is the kind of device.

use crate::{BootState, Device};
use serde::Deserialize;

/// `HpeServerBootSettings`, `HpServerBootSettings` in iLO 4.
#[derive(Debug, Deserialize)]
pub struct BootSettings {
    #[serde(rename = "PersistentBootConfigOrder")]
    order: Vec<String>,
}

impl BootSettings {
    /// The order with the first entry of this kind in front; `None` if there is none of it.
    pub fn starting_with(&self, device: Device) -> Option<Vec<String>> {
        let kind = |name: &str| kind(name) == Some(device);
        let first = self.order.iter().find(|n| kind(n) && is_ipv4(n));
        let first = first.or_else(|| self.order.iter().find(|n| kind(n)))?;
        let others = self.order.iter().filter(|n| *n != first);
        Some([first].into_iter().chain(others).cloned().collect())
    }

    /// What the host boots from when nothing overrides it.
    pub fn state(&self) -> BootState {
        let first = self.order.first().and_then(|n| kind(n));
        BootState::by_firmware(first.unwrap_or(Device::Other))
    }
}

/// A network card has an entry for each protocol; images come by PXE over IPv4.
fn is_ipv4(name: &str) -> bool {
    !name.starts_with("NIC.") || name.ends_with(".IPv4")
}

fn kind(name: &str) -> Option<Device> {
    match name.split_once('.')?.0 {
        "NIC" => Some(Device::Pxe),
        "HD" => Some(Device::Disk),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_its_kind_comes_first() {
        let names = [
            "HD.Emb.1.2",
            "NIC.LOM.1.1.Httpv4",
            "NIC.LOM.1.1.IPv4",
            "Generic.USB.1.1",
            "NIC.LOM.1.1.IPv6",
        ];
        let settings = BootSettings {
            order: names.map(str::to_owned).to_vec(),
        };
        assert_eq!(settings.state().device, Device::Disk);
        let pxe = settings.starting_with(Device::Pxe).unwrap();
        assert_eq!(pxe, [names[2], names[0], names[1], names[3], names[4]]);
        let pxe = BootSettings { order: pxe };
        assert_eq!(pxe.state().device, Device::Pxe);
        assert_eq!(pxe.starting_with(Device::Disk).unwrap()[0], names[0]);
        assert_eq!(pxe.starting_with(Device::Bios), None);
    }
}
