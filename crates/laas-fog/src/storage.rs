//! Where images lie, and whether one can be deployed from there.

use crate::model::{any_text, optional_id, optional_number, truth};
use crate::{Fog, FogError, Id, Image, SnapshotImage};
use serde::{Deserialize, Deserializer};

/// `nfsGroups` in FOG's database.
#[derive(Deserialize)]
struct StorageGroup {
    id: Id,
    #[serde(default, deserialize_with = "any_text")]
    name: String,
}

/// `nfsGroupMembers` in FOG's database.
#[derive(Deserialize)]
struct StorageNode {
    #[serde(default, deserialize_with = "any_text")]
    name: String,
    #[serde(default, deserialize_with = "any_text")]
    ip: String,
    #[serde(default, rename = "storagegroupID", deserialize_with = "optional_id")]
    group: Option<Id>,
    #[serde(default, rename = "isEnabled", deserialize_with = "truth")]
    enabled: bool,
    #[serde(default, rename = "maxClients", deserialize_with = "optional_number")]
    max_clients: Option<u64>,
    /// The one of its group that captures go to.
    #[serde(default, rename = "isMaster", deserialize_with = "truth")]
    master: bool,
    /// Whether FOG could just connect to it within a second: to its FTP port (1.5), or to one of several (1.6). Some builds
    /// leave it out.
    #[serde(default = "online", deserialize_with = "online_unless_said")]
    online: bool,
}

/// `imageGroupAssoc` in FOG's database.
#[derive(Deserialize)]
struct ImageAssociation {
    #[serde(default, rename = "imageID", deserialize_with = "optional_id")]
    image: Option<Id>,
    #[serde(default, rename = "storagegroupID", deserialize_with = "optional_id")]
    group: Option<Id>,
}

impl Fog {
    /// An image, deployable or not, with its storage groups.
    ///
    /// # Errors
    /// FOG has no such image, or can't be asked.
    pub fn image(&self, id: Id) -> Result<Image, FogError> {
        let image: Option<Image> = self.one("image", id)?;
        let mut image = image.ok_or_else(|| FogError::Missing {
            what: format!("image {id}"),
        })?;
        if image.storage_groups.is_empty() {
            image.storage_groups = self.storage_groups(&image)?;
        }
        Ok(image)
    }

    /// Whether FOG would deploy an image, as [`Fog::image`] gives it.
    ///
    /// # Errors
    /// It is disabled, not completely captured, or lies where no storage node serves it; FOG can't be asked.
    pub fn check_deployable(&self, image: &Image) -> Result<(), FogError> {
        let (id, name) = (image.id, image.name.clone());
        if !image.enabled {
            return Err(FogError::ImageDisabled { id, name });
        }
        if SnapshotImage::parse(&name).is_some_and(|snapshot| !snapshot.complete) {
            return Err(FogError::ImageIncomplete { id, name });
        }
        if image.storage_groups.is_empty() {
            return Err(FogError::ImageNowhere { id, name });
        }
        // As `StorageGroup::getOptimalStorageNode` chooses. FOG asks the primary group only, unless its plugin for
        // locations says otherwise: that any group has a node is what can be known from here.
        self.check_nodes(image, |_| true)
    }

    /// Whether FOG could store a capture like this image, as [`Fog::image`] gives it: captures go to a group's master.
    ///
    /// # Errors
    /// No master node of its groups takes one; FOG can't be asked.
    pub fn check_capturable(&self, image: &Image) -> Result<(), FogError> {
        self.check_nodes(image, |node| node.master)
    }

    fn check_nodes(&self, image: &Image, is_meant: impl Fn(&StorageNode) -> bool) -> Result<(), FogError> {
        let nodes: Vec<StorageNode> = self.list("storagenode", &["storagenode"])?;
        let (mut reasons, mut offline) = (Vec::new(), false);
        for group in &image.storage_groups {
            let members = nodes.iter().filter(|node| node.group == Some(*group));
            let mut meant = members.filter(|node| is_meant(node)).peekable();
            if meant.peek().is_none() {
                reasons.push(format!("storage group {group} has no node for it"));
            }
            for node in meant {
                let Some(reason) = node.unusable() else {
                    return Ok(());
                };
                offline |= node.enabled && !node.online;
                reasons.push(format!("storage node `{}` {reason}", node.name));
            }
        }
        Err(FogError::NoStorageNode {
            id: image.id,
            name: image.name.clone(),
            reasons: reasons.join(", "),
            offline,
        })
    }

    /// What an image's own object leaves out, in 1.6 and in some answers of 1.5. Without any group FOG takes the first.
    fn storage_groups(&self, image: &Image) -> Result<Vec<Id>, FogError> {
        let associations: Vec<ImageAssociation> = self.list("imageassociation", &["imageassociation"])?;
        let of_image = associations.into_iter().filter(|a| a.image == Some(image.id));
        let groups: Vec<Id> = of_image.filter_map(|a| a.group).collect();
        if !groups.is_empty() {
            return Ok(groups);
        }
        let all: Vec<StorageGroup> = self.list("storagegroup", &["storagegroup"])?;
        let named = all.iter().find(|group| group.name == image.storage_group_name);
        let group = named.or_else(|| all.iter().min_by_key(|group| group.id));
        Ok(group.map(|group| group.id).into_iter().collect())
    }
}

impl StorageNode {
    /// Why FOG would not let it serve an image; `None` if it would.
    fn unusable(&self) -> Option<String> {
        if !self.enabled {
            Some("is disabled".to_owned())
        } else if self.max_clients.unwrap_or_default() == 0 {
            Some("takes no clients".to_owned())
        } else if !self.online {
            Some(format!(
                "is offline: FOG can't connect to {} within a second (FOG 1.5: to its FTP port, 21)",
                self.ip
            ))
        } else {
            None
        }
    }
}

fn online() -> bool {
    true
}

fn online_unless_said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let said = Option::<serde_json::Value>::deserialize(deserializer)?;
    said.map_or(Ok(true), |said| truth(said).map_err(serde::de::Error::custom))
}
