//! The way through one switch: read, compare, write the difference, read back.

use crate::diff::vlans;
use crate::{Change, Port, PortName, Present, Switch, SwitchError, VlanState, diff};
use std::collections::{BTreeMap, BTreeSet};

/// What a switch has, what it shall have, and what is to be sent.
pub struct Plan<'a> {
    switch: &'a dyn Switch,
    wanted: &'a BTreeMap<PortName, Port>,
    before: Present,
    commands: Vec<String>,
}

/// How it ended.
pub struct Outcome {
    /// The wanted ports, as the switch reads afterwards.
    pub after: BTreeMap<PortName, Port>,
    /// Ports that are not as wanted, and why.
    pub failed: BTreeMap<PortName, SwitchError>,
}

impl<'a> Plan<'a> {
    /// Reads the switch and compares. Nothing is changed yet.
    ///
    /// # Errors
    /// The switch can't be asked.
    pub fn new(switch: &'a dyn Switch, wanted: &'a BTreeMap<PortName, Port>) -> Result<Self, SwitchError> {
        let before = read(switch, wanted)?;
        let changes: Vec<Change> = diff(&before, wanted);
        let commands = switch.commands(&changes);
        Ok(Self {
            switch,
            wanted,
            before,
            commands,
        })
    }

    /// The wanted ports, as they were read.
    pub fn before(&self) -> &BTreeMap<PortName, Port> {
        &self.before.ports
    }

    /// What is to be sent; nothing if the switch is as wanted.
    pub fn commands(&self) -> &[String] {
        &self.commands
    }

    /// What would be there if the switch did what it is told.
    pub fn foresee(&self) -> Outcome {
        let mut after = self.before.clone();
        for (name, port) in self.wanted {
            if let Some(now) = after.ports.get_mut(name) {
                *now = port.clone();
            }
            after
                .vlans
                .extend(vlans(port).map(|vlan| (vlan, VlanState::Active)));
        }
        self.judge(after)
    }

    /// Sends the difference in one call and reads back.
    ///
    /// # Errors
    /// The switch can't be asked or refuses a line; a port that is not as wanted is in the outcome.
    pub fn carry_out(&self) -> Result<Outcome, SwitchError> {
        if self.commands.is_empty() {
            return Ok(self.judge(self.before.clone()));
        }
        tracing::info!(
            switch = self.switch.address(),
            lines = self.commands.len(),
            "configuring"
        );
        self.switch.write(&self.commands)?;
        Ok(self.judge(read(self.switch, self.wanted)?))
    }

    fn judge(&self, present: Present) -> Outcome {
        let switch = || self.switch.address().to_owned();
        let judge = |(name, wanted): (&PortName, &Port)| {
            let port = name.clone();
            let fault = match (present.ports.get(name), present.untouchable.get(name)) {
                (_, Some(why)) => SwitchError::Untouchable {
                    switch: switch(),
                    port,
                    why: why.0.clone(),
                },
                (None, None) => SwitchError::NotShown {
                    switch: switch(),
                    port,
                },
                (Some(found), None) if !found.does(wanted) => SwitchError::Stays {
                    switch: switch(),
                    port,
                    found: found.clone(),
                },
                (Some(_), None) => {
                    let dead = vlans(wanted).find(|v| present.vlans.get(v) != Some(&VlanState::Active));
                    SwitchError::DeadVlan {
                        switch: switch(),
                        port,
                        vlan: dead?,
                    }
                }
            };
            Some((name.clone(), fault))
        };
        Outcome {
            failed: self.wanted.iter().filter_map(judge).collect(),
            after: present.ports,
        }
    }
}

fn read(switch: &dyn Switch, wanted: &BTreeMap<PortName, Port>) -> Result<Present, SwitchError> {
    switch.read(&wanted.keys().cloned().collect::<BTreeSet<_>>())
}
