//! Where images lie, and whether one can be deployed from there.

use crate::model::{optional_id, optional_number, truth};
use crate::{Fog, FogError, Id, Image, SnapshotImage};
use serde::Deserialize;

/// `nfsGroups` in FOG's database.
#[derive(Deserialize)]
struct StorageGroup {
    id: Id,
}

/// `nfsGroupMembers` in FOG's database.
#[derive(Deserialize)]
struct StorageNode {
    #[serde(default, rename = "storagegroupID", deserialize_with = "optional_id")]
    group: Option<Id>,
    #[serde(default, rename = "isEnabled", deserialize_with = "truth")]
    enabled: bool,
    #[serde(default, rename = "maxClients", deserialize_with = "optional_number")]
    most_clients: Option<u64>,
    /// What FOG has just seen of it; 1.5 does not say it.
    #[serde(default = "online", deserialize_with = "truth")]
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
            image.storage_groups = self.storage_groups(id)?;
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
        let nodes: Vec<StorageNode> = self.list("storagenode", &["storagenode"])?;
        let serves = |node: &StorageNode| {
            node.enabled
                && node.online
                && node.most_clients.is_some_and(|most| most > 0)
                && node
                    .group
                    .is_some_and(|group| image.storage_groups.contains(&group))
        };
        if !nodes.iter().any(serves) {
            let groups: Vec<_> = image.storage_groups.iter().map(Id::to_string).collect();
            let groups = groups.join(", ");
            return Err(FogError::NoStorageNode { id, name, groups });
        }
        Ok(())
    }

    /// What 1.6 does not say of an image itself. Without any association FOG takes the first group.
    fn storage_groups(&self, image: Id) -> Result<Vec<Id>, FogError> {
        let associations: Vec<ImageAssociation> = self.list("imageassociation", &["imageassociation"])?;
        let of_image = associations.into_iter().filter(|a| a.image == Some(image));
        let groups: Vec<Id> = of_image.filter_map(|a| a.group).collect();
        if !groups.is_empty() {
            return Ok(groups);
        }
        let all: Vec<StorageGroup> = self.list("storagegroup", &["storagegroup"])?;
        Ok(all.into_iter().map(|group| group.id).min().into_iter().collect())
    }
}

fn online() -> bool {
    true
}
