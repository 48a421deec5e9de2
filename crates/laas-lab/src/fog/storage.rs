//! Where images lie: groups of storage nodes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::rows::{Row, id, row, set, text};
use super::state::Refusal;

/// The groups and their nodes.
#[derive(Debug, Clone)]
pub struct Storage {
    pub groups: BTreeMap<u32, Row>,
    pub nodes: BTreeMap<u32, Row>,
    /// The nodes whose FTP port does not answer. FOG takes tasks all the same.
    pub offline: BTreeSet<u32>,
}

impl Default for Storage {
    /// A stock installation and a second group that nobody has given a node.
    fn default() -> Self {
        let group = |id: &str, name: &str| row([("id", id), ("name", name), ("description", "")]);
        let node = row([
            ("id", "1"),
            ("name", "DefaultMember"),
            ("description", "Auto generated"),
            ("isMaster", "1"),
            ("storagegroupID", "1"),
            ("isEnabled", "1"),
            ("path", "/images/"),
            ("ip", "127.0.0.1"),
            ("maxClients", "10"),
            ("user", "fogproject"),
            ("pass", "a password of the lab's FOG"),
            ("webroot", "/fog"),
        ]);
        Self {
            groups: BTreeMap::from([(1, group("1", "default")), (2, group("2", "archive"))]),
            nodes: BTreeMap::from([(1, node)]),
            offline: BTreeSet::new(),
        }
    }
}

impl Storage {
    pub fn enable(&mut self, node: u32, enabled: bool) {
        if let Some(node) = self.nodes.get_mut(&node) {
            set(node, "isEnabled", u8::from(enabled));
        }
    }

    /// The group that FOG takes for an image without one.
    pub fn first_group(&self) -> u32 {
        self.groups.keys().next().copied().unwrap_or_default()
    }

    /// The node that serves an image of this group, or takes one.
    pub fn node_for(&self, group: u32, capture: bool) -> Result<u32, Refusal> {
        let usable = |node: &&Row| {
            id(node, "storagegroupID") == group
                && text(node, "isEnabled") == "1"
                && id(node, "maxClients") > 0
        };
        let node = self
            .nodes
            .values()
            .filter(usable)
            .find(|node| !capture || text(node, "isMaster") == "1");
        node.map(|node| id(node, "id")).ok_or(Refusal::Error(if capture {
            "No master nodes available"
        } else {
            "No nodes available"
        }))
    }

    /// A node with what FOG finds out about it. 1.6 never tells its password.
    pub fn node_json(&self, node: &Row, with_password: bool) -> Value {
        let mut shown = node.clone();
        if !with_password {
            shown.remove("pass");
        }
        let online = !self.offline.contains(&id(node, "id"));
        shown.insert("online".into(), online.into());
        let group = self.groups.get(&id(node, "storagegroupID"));
        shown.insert(
            "storagegroup".into(),
            group.map_or_else(|| json!({}), |group| group.clone().into()),
        );
        shown.into()
    }
}
