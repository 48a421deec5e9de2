//! Images made, renamed and deleted. What FOG's list says afterwards decides, never what it answers.

use super::Fog;
use crate::{FogError, Id, Image};
use serde_json::json;

/// An image with nothing in it yet.
#[derive(Clone, Debug)]
pub struct NewImage<'a> {
    pub name: &'a str,
    /// The directory of its files on the storage nodes. FOG deletes whatever is there when it moves a capture in, so
    /// that no other image may have the same one.
    pub path: &'a str,
    /// What it is known by until its id is known.
    pub description: &'a str,
    /// It gets this one's type, system, partitions, compression, format and storage groups.
    pub like: &'a Image,
}

impl Fog {
    /// `None` if FOG has no such image. It may be disabled.
    ///
    /// # Errors
    /// FOG can't be asked.
    pub fn find_image(&self, id: Id) -> Result<Option<Image>, FogError> {
        self.one("image", id)
    }

    /// Makes an image and finds it in FOG's list.
    ///
    /// # Errors
    /// FOG refuses or makes something else. After an error that is worth a retry the image may have been made
    /// nevertheless.
    pub fn create_image(&self, new: &NewImage) -> Result<Image, FogError> {
        let like = new.like;
        let groups: Vec<u64> = like.storage_groups.iter().map(|id| id.get()).collect();
        let body = json!({
            "name": new.name,
            "path": new.path,
            "description": new.description,
            "imageTypeID": like.kind.map(Id::get),
            "osID": like.os.map(Id::get),
            "imagePartitionTypeID": like.partitions.map(Id::get),
            "compress": like.compress,
            "format": like.format,
            "toReplicate": 1,
            "isEnabled": 1,
            "storagegroups": groups,
        });
        let posted = self.send("POST", self.http.post(&["image"]).json(&body));
        // FOG has been seen to answer 500 after making what was asked for.
        let mut images = self.images()?;
        images.retain(|i| i.name == new.name && i.description == new.description);
        match images.pop() {
            Some(image) if image.path == new.path && image.kind == like.kind && image.os == like.os => {
                Ok(image)
            }
            Some(image) => Err(FogError::NotDone {
                what: format!("make image {} (`{}`) as it was asked to", image.id, image.name),
            }),
            None => {
                posted?;
                Err(FogError::NotDone {
                    what: format!("make the image `{}`", new.name),
                })
            }
        }
    }

    /// Renames an image and reads its name back.
    ///
    /// # Errors
    /// FOG refuses, as for a name that another image has, or says another name afterwards.
    pub fn rename_image(&self, id: Id, name: &str) -> Result<(), FogError> {
        let request = self
            .http
            .put(&["image", &id.to_string()])
            .json(&json!({ "name": name }));
        let put = self.send("PUT", request);
        let now = self.find_image(id)?;
        if now.is_some_and(|i| i.name == name) {
            return Ok(());
        }
        put?;
        Err(FogError::NotDone {
            what: format!("rename image {id} to `{name}`"),
        })
    }

    /// Deletes an image's entry, and sees it gone. FOG keeps the files, and takes the image from the hosts that have it.
    ///
    /// # Errors
    /// FOG refuses, or still has it afterwards.
    pub fn delete_image(&self, id: Id) -> Result<(), FogError> {
        // Only ever with an id, which can't be zero.
        let deleted = self.send("DELETE", self.http.delete(&["image", &id.to_string()]));
        if self.find_image(id)?.is_none() {
            return Ok(());
        }
        deleted?;
        Err(FogError::NotDone {
            what: format!("delete image {id}"),
        })
    }
}
