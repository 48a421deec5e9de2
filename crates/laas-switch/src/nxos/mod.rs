//! Cisco NX-OS over NX-API.

mod api;
mod parse;

use crate::cli::{self, Dialect};
use crate::{Change, Mode, PortName, Present, Switch, SwitchError, Vlan};
use api::{Api, Item, Type};
use laas_core::{VlanId, inventory};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SHOW_VLANS: &str = "show vlan brief";
/// All of it in one command: what the other interfaces use must be known as well, and of the defaults only this tells
/// for certain. What is configured counts, not what is up at the moment.
const SHOW_CONFIG: &str = "show running-config";
/// With this line, switch ports are shut down unless they say otherwise.
const SHUT_BY_DEFAULT: &str = "system default switchport shutdown";
const SHOW_UNSAVED: &str = "show running-config diff";
const SAVE: &str = "copy running-config startup-config";

const DIALECT: Dialect = Dialect {
    plain: Mode::Routed,
    shut: false,
    revive: &["state active", "no shutdown"],
};

/// One Nexus.
#[derive(Debug)]
pub struct Nxos(Api);

impl Nxos {
    /// # Errors
    /// The address or the certificate authorities are unusable. Nothing is sent.
    pub fn new(address: &str, entry: &inventory::Switch, call: Duration) -> Result<Self, SwitchError> {
        Api::new(address, entry, call).map(Self)
    }

    fn vlans(&self) -> Result<BTreeMap<VlanId, Vlan>, SwitchError> {
        let structured = self.0.call(Type::Show, &[SHOW_VLANS.to_owned()])?;
        let vlans = match structured.first() {
            // Old releases have no JSON for some commands.
            Some(Item { code, .. }) if code == "501" => parse::vlans_of_text(&self.text(SHOW_VLANS)?),
            item => parse::vlans(self.0.body(item, SHOW_VLANS)?),
        };
        vlans.ok_or_else(|| self.0.garbled(SHOW_VLANS, "no table of VLANs"))
    }

    /// What a person would see.
    fn text(&self, command: &str) -> Result<String, SwitchError> {
        let items = self.0.call(Type::ShowText, &[command.to_owned()])?;
        let body = self.0.body(items.first(), command)?;
        let text = body.as_str().ok_or_else(|| self.0.garbled(command, "no text"))?;
        Ok(text.to_owned())
    }
}

impl Switch for Nxos {
    fn address(&self) -> &str {
        self.0.address()
    }

    fn read(&self, ports: &BTreeSet<PortName>) -> Result<Present, SwitchError> {
        let vlans = self.vlans()?;
        let config = self.text(SHOW_CONFIG)?;
        let dialect = Dialect {
            shut: config.lines().any(|line| line.trim() == SHUT_BY_DEFAULT),
            ..DIALECT
        };
        let ports = cli::ports(&config, ports, dialect)
            .ok_or_else(|| self.0.garbled(SHOW_CONFIG, "no interfaces"))?;
        Ok(Present {
            vlans,
            ports: ports.ports,
            untouchable: ports.untouchable,
            elsewhere: ports.elsewhere,
        })
    }

    fn commands(&self, changes: &[Change]) -> Vec<String> {
        cli::commands(changes, DIALECT)
    }

    fn write(&self, commands: &[String]) -> Result<(), SwitchError> {
        let items = self.0.call(Type::Configure, commands)?;
        match items.iter().position(Item::failed) {
            None => Ok(()),
            Some(place) => Err(SwitchError::Refused {
                switch: self.address().to_owned(),
                command: commands.get(place).cloned().unwrap_or_default(),
                on: cli::opened_by(commands, place).map(str::to_owned),
                said: items[place].said(),
            }),
        }
    }

    fn save(&self) -> Result<(), SwitchError> {
        let items = self.0.call(Type::Save, &[SAVE.to_owned()])?;
        let body = self.0.body(items.first(), SAVE)?;
        let said = body.as_str().unwrap_or_default();
        // A refusal comes as a success with other words; some releases say nothing.
        if said.trim().is_empty() || said.contains("Copy complete") || said.contains("100%") {
            return Ok(());
        }
        Err(SwitchError::not_saved(self.address(), said))
    }

    fn is_saved(&self) -> Result<bool, SwitchError> {
        // Beside what differs there are a heading and the legend of the marks.
        let differs = |line: &str| {
            let line = line.trim_end();
            !(line.trim().is_empty()
                || line.starts_with('!')
                || matches!(line, "*** Startup-config" | "--- Running-config"))
        };
        Ok(!self.text(SHOW_UNSAVED)?.lines().any(differs))
    }
}
