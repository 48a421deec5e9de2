//! iLO 4 knows no action for the BIOS's passwords: they are attributes of its pending settings, written with the old
//! one (HPE's python-redfish-utility, `setbiospassword`). Its link to the BIOS and the end of the last change stand
//! elsewhere, too: `Oem.Hp.Links.BIOS` and `SettingsResult` (OpenStack's proliantutils, samples of iLO 4).

use crate::redfish::link::Link;
use laas_core::Secret;
use serde_json::{Value, json};

/// The link to the BIOS in iLO 4's system.
pub fn bios(oem: &Value) -> Option<Link> {
    Link::parse(oem["Hp"]["Links"]["BIOS"]["@odata.id"].as_str()?)
}

/// What is to be written to the pending settings.
pub fn change(old: &Secret, new: &Secret) -> Value {
    json!({"AdminPassword": new.expose(), "OldAdminPassword": old.expose()})
}
