//! iLO refuses an order whose mode is named: HTTP 400 if `BootSourceOverrideMode` is sent, even with the value that it
//! has (issue 3509 of Ansible's community.general). The mode is a setting of the BIOS there.

use super::Flavour;

impl Flavour {
    pub fn takes_boot_mode(self) -> bool {
        self == Self::Standard
    }
}
