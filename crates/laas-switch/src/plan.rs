//! The way through one switch: read, compare, write the difference, read back.

use crate::{Change, Pool, Port, PortName, Present, Switch, SwitchError, Vlan, VlanSet, VlanState, diff};
use std::collections::{BTreeMap, BTreeSet};

/// What a switch has, what it shall have, and what is to be sent.
pub struct Plan<'a> {
    switch: &'a dyn Switch,
    wanted: &'a BTreeMap<PortName, Port>,
    pool: &'a Pool,
    before: Present,
    changes: Vec<Change>,
    commands: Vec<String>,
}

/// How it ended.
#[derive(Debug)]
pub struct Outcome {
    /// The wanted ports, as the switch reads afterwards.
    pub after: BTreeMap<PortName, Port>,
    /// Ports that are not as wanted, and why.
    pub failed: BTreeMap<PortName, SwitchError>,
    /// VLANs of ours that nobody uses and that the switch keeps all the same.
    pub kept: VlanSet,
}

/// The write failed.
#[derive(Debug)]
pub struct Unfinished {
    pub error: SwitchError,
    /// The ports that are as wanted now and were not before; `None` if the switch could not be asked.
    pub written: Option<BTreeSet<PortName>>,
}

impl<'a> Plan<'a> {
    /// Reads the switch and compares. Nothing is changed yet.
    ///
    /// # Errors
    /// The switch can't be asked.
    pub fn new(
        switch: &'a dyn Switch,
        wanted: &'a BTreeMap<PortName, Port>,
        pool: &'a Pool,
    ) -> Result<Self, SwitchError> {
        let before = read(switch, wanted)?;
        let changes: Vec<Change> = diff(&before, wanted, pool);
        let commands = switch.commands(&changes);
        Ok(Self {
            switch,
            wanted,
            pool,
            before,
            changes,
            commands,
        })
    }

    /// What was read.
    pub fn before(&self) -> &Present {
        &self.before
    }

    /// What is to be sent; nothing if the switch is as wanted.
    pub fn commands(&self) -> &[String] {
        &self.commands
    }

    /// What would be there if the switch did what it is told.
    pub fn foresee(&self) -> Outcome {
        let mut after = self.before.clone();
        for change in &self.changes {
            match change {
                Change::AddVlan(vlan) | Change::ActivateVlan(vlan) => {
                    let made = Vlan::new(*vlan, &Vlan::name(*vlan), true);
                    after.vlans.entry(*vlan).or_insert(made).state = VlanState::Active;
                }
                Change::RemoveVlan(vlan) => drop(after.vlans.remove(vlan)),
                Change::Port { port, .. } => {
                    let wanted = &self.wanted[port];
                    after.ports.entry(port.clone()).and_modify(|now| {
                        let shutdown = now.shutdown && !now.is_dead_for(wanted);
                        *now = Port {
                            shutdown,
                            ..wanted.clone()
                        };
                    });
                }
            }
        }
        self.judge(after)
    }

    /// Sends the difference in one call and reads back.
    ///
    /// # Errors
    /// The switch can't be asked or refuses a line; a port that is not as wanted is in the outcome.
    pub fn carry_out(&self) -> Result<Outcome, Unfinished> {
        if self.commands.is_empty() {
            return Ok(self.judge(self.before.clone()));
        }
        tracing::info!(
            switch = self.switch.address(),
            lines = self.commands.len(),
            "configuring"
        );
        let written = self.switch.write(&self.commands);
        let after = read(self.switch, self.wanted).map(|present| self.judge(present));
        match (written, after) {
            (Ok(()), Ok(outcome)) => Ok(outcome),
            (Ok(()), Err(error)) => Err(Unfinished { error, written: None }),
            // Only its answer was lost.
            (Err(_), Ok(outcome)) if outcome.failed.is_empty() && outcome.kept.is_empty() => Ok(outcome),
            (Err(error), after) => {
                let written = after.ok().map(|outcome| {
                    let changed = |name: &&PortName| self.before.ports.get(*name) != outcome.after.get(*name);
                    let done = self
                        .wanted
                        .keys()
                        .filter(|name| !outcome.failed.contains_key(*name));
                    done.filter(changed).cloned().collect()
                });
                Err(Unfinished { error, written })
            }
        }
    }

    fn judge(&self, present: Present) -> Outcome {
        let switch = || self.switch.address().to_owned();
        let judge = |(name, wanted): (&PortName, &Port)| {
            let port = name.clone();
            let protected = self.pool.objection(name, wanted);
            let fault = match (present.ports.get(name), present.untouchable.get(name)) {
                _ if protected.is_some() => SwitchError::Protected {
                    switch: switch(),
                    port,
                    why: protected.unwrap_or_default(),
                },
                (None, why) => SwitchError::Untouchable {
                    switch: switch(),
                    port,
                    why: why.map_or("the switch did not show it", |why| &why.0).to_owned(),
                },
                (Some(found), _) if !found.does(wanted) => SwitchError::Stays {
                    switch: switch(),
                    port,
                    found: found.clone(),
                },
                (Some(_), _) => SwitchError::DeadVlan {
                    switch: switch(),
                    port,
                    vlan: wanted.vlans().find(|vlan| !present.is_active(*vlan))?,
                },
            };
            Some((name.clone(), fault))
        };
        let failed = self.wanted.iter().filter_map(judge).collect();
        let removed = self.changes.iter().filter_map(|change| match change {
            Change::RemoveVlan(vlan) => Some(*vlan),
            _ => None,
        });
        Outcome {
            failed,
            kept: removed.filter(|vlan| present.vlans.contains_key(vlan)).collect(),
            after: present.ports,
        }
    }
}

fn read(switch: &dyn Switch, wanted: &BTreeMap<PortName, Port>) -> Result<Present, SwitchError> {
    switch.read(&wanted.keys().cloned().collect())
}
