//! Cisco NX-OS over NX-API.

mod api;
mod parse;
mod render;

use crate::{Change, PortName, Present, Switch, SwitchError, Untouchable, VlanState};
use api::{Api, Item, Type};
use laas_core::{VlanId, inventory};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SHOW_VLANS: &str = "show vlan brief";
const SAVE: &str = "copy running-config startup-config";

/// One Nexus.
#[derive(Debug)]
pub struct Nxos(Api);

impl Nxos {
    /// # Errors
    /// The address or the certificate authorities are unusable. Nothing is sent.
    pub fn new(address: &str, entry: &inventory::Switch, call: Duration) -> Result<Self, SwitchError> {
        Api::new(address, entry, call).map(Self)
    }

    fn vlans(&self) -> Result<BTreeMap<VlanId, VlanState>, SwitchError> {
        let structured = self.0.call(Type::Show, &[SHOW_VLANS.to_owned()])?;
        let vlans = match structured.first() {
            // Old releases have no JSON for some commands.
            Some(Item { code, .. }) if code == "501" => {
                let items = self.0.call(Type::ShowText, &[SHOW_VLANS.to_owned()])?;
                let text = self.0.body(items.first(), SHOW_VLANS)?;
                text.as_str().and_then(parse::vlans_of_text)
            }
            item => parse::vlans(self.0.body(item, SHOW_VLANS)?),
        };
        vlans.ok_or_else(|| self.0.garbled(SHOW_VLANS, "no table of VLANs"))
    }
}

impl Switch for Nxos {
    fn address(&self) -> &str {
        self.0.address()
    }

    fn read(&self, ports: &BTreeSet<PortName>) -> Result<Present, SwitchError> {
        let mut present = Present {
            vlans: self.vlans()?,
            ..Present::default()
        };
        let names: Vec<&PortName> = ports.iter().collect();
        let mut rest = names.as_slice();
        while !rest.is_empty() {
            let names = &rest[..rest.len().min(api::MAX_SHOWS)];
            // What is configured, not what is up at the moment.
            let show = |name: &&PortName| format!("show running-config interface {name}");
            let commands: Vec<String> = names.iter().map(show).collect();
            let items = self.0.call(Type::ShowText, &commands)?;
            for ((name, command), item) in names.iter().zip(&commands).zip(&items) {
                let name = PortName::clone(name);
                if item.failed() {
                    present.untouchable.insert(name, Untouchable(item.said()));
                    continue;
                }
                let section = item.body.as_str().and_then(|text| parse::port(text, &name));
                match section.ok_or_else(|| self.0.garbled(command, "no section of the port"))? {
                    Ok(port) => drop(present.ports.insert(name, port)),
                    Err(why) => drop(present.untouchable.insert(name, why)),
                }
            }
            // Where the switch stopped at a port that it does not have, the others are asked for again.
            rest = &rest[items.len()..];
        }
        Ok(present)
    }

    fn commands(&self, changes: &[Change]) -> Vec<String> {
        render::commands(changes)
    }

    fn write(&self, commands: &[String]) -> Result<(), SwitchError> {
        let items = self.0.call(Type::Configure, commands)?;
        match items.iter().position(Item::failed) {
            None => Ok(()),
            Some(place) => Err(SwitchError::Refused {
                switch: self.address().to_owned(),
                command: commands.get(place).cloned().unwrap_or_default(),
                on: render::opened_by(commands, place).map(str::to_owned),
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
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        Err(SwitchError::NotSaved {
            switch: self.address().to_owned(),
            said: said.chars().take(160).collect(),
        })
    }
}
