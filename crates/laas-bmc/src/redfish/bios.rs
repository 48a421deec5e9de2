//! The BIOS's administrator password, and what came of a change.
//!
//! A change is pending until the firmware starts next, and only then the old password is looked at: that the BMC took
//! it says nothing. The end stands in the `@Redfish.Settings` of the BIOS (DSP0266, "Settings resource"), with a time.

use super::client::Client;
use super::hpe::{self, Flavour};
use super::link::Link;
use super::message;
use super::system::{Reference, System};
use crate::BmcError;
use crate::bios::Settled;
use laas_core::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

const WHAT: &str = "the BIOS";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Bios {
    #[serde(rename = "@Redfish.Settings")]
    settings: Option<Settings>,
    /// iLO 4's spelling.
    #[serde(rename = "SettingsResult")]
    result: Option<Settings>,
    #[serde(rename = "Actions")]
    actions: Actions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Settings {
    settings_object: Option<Reference>,
    messages: Value,
    time: Option<String>,
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Actions {
    #[serde(rename = "#Bios.ChangePassword")]
    change_password: Option<Action>,
}

#[derive(Debug, Deserialize)]
struct Action {
    target: Link,
}

/// # Errors
/// The BMC can't be asked, refuses, or knows no such change.
pub fn change_password(
    client: &Client,
    flavour: Flavour,
    system: &System,
    old: &Secret,
    new: &Secret,
) -> Result<(), BmcError> {
    let (link, bios) = read(client, system)?;
    let settings = bios.settings.and_then(|s| s.settings_object);
    let settings = settings.map_or_else(|| link.below(&["Settings"]), |s| s.id);
    if flavour == Flavour::Ilo4 {
        let change = hpe::bios_password::change(old, new);
        return client.patch(&settings, &change, "a new BIOS password");
    }
    let action = match bios.actions.change_password {
        Some(action) => Some(action),
        // iLO 5 has it at the pending settings.
        None => client.get::<Bios>(&settings, WHAT)?.actions.change_password,
    };
    let action = action.ok_or_else(|| lacks(client, "a change of the BIOS password"))?;
    let change = json!({
        "PasswordName": if flavour == Flavour::Standard { "AdministratorPassword" } else { "Administrator" },
        "OldPassword": old.expose(),
        "NewPassword": new.expose(),
    });
    client.post(&action.target, &change, "a new BIOS password")
}

/// # Errors
/// The BMC can't be asked, or does not say what comes of settings.
pub fn settled(client: &Client, system: &System) -> Result<Settled, BmcError> {
    let (_, bios) = read(client, system)?;
    let result = bios.settings.filter(|s| s.time.is_some() || s.etag.is_some());
    let result = result.or(bios.result);
    let result = result.ok_or_else(|| lacks(client, "the end of a change of the BIOS"))?;
    let (time, etag) = (result.time.unwrap_or_default(), result.etag.unwrap_or_default());
    Ok(Settled {
        mark: format!("{time} {etag}"),
        refusals: message::ids_of(&result.messages)
            .into_iter()
            .filter(|id| !message::is_success(id))
            .collect(),
        took: message::ids_of(&result.messages)
            .iter()
            .any(|id| message::is_success(id)),
    })
}

fn read(client: &Client, system: &System) -> Result<(Link, Bios), BmcError> {
    let standard = system.bios.as_ref().map(|b| b.id.clone());
    let link = standard.or_else(|| hpe::bios_password::bios(&system.oem));
    let link = link.ok_or_else(|| lacks(client, "the BIOS"))?;
    let bios = client.get(&link, WHAT)?;
    Ok((link, bios))
}

fn lacks(client: &Client, what: &'static str) -> BmcError {
    BmcError::Lacks {
        address: client.address.clone(),
        what,
    }
}
