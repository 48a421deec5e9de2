//! Where HPE's iLO is not as DMTF's specification says. A difference is a file, with its source.

pub mod account;
pub mod bios_password;
mod boot_mode;
pub mod boot_order;
pub mod ribcl;

use serde_json::Value;

/// Whose service it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Standard,
    /// HP's servers of generation 8 and 9.
    Ilo4,
    /// HPE's servers since generation 10; iLO 6 and 7 differ in nothing that matters here.
    Ilo5,
}

impl Flavour {
    /// iLO 4 has its additions in `Oem.Hp`, later ones in `Oem.Hpe` (HPE, ilo-rest-api-docs, "iLO 5 changelog").
    pub fn of(oem: &Value) -> Self {
        if oem.get("Hpe").is_some() {
            Self::Ilo5
        } else if oem.get("Hp").is_some() {
            Self::Ilo4
        } else {
            Self::Standard
        }
    }

    /// The name of HPE's additions.
    pub fn oem(self) -> Option<&'static str> {
        match self {
            Self::Standard => None,
            Self::Ilo4 => Some("Hp"),
            Self::Ilo5 => Some("Hpe"),
        }
    }
}
