//! Which image is meant: of the ways to name one the most specific counts.

use laas_core::Failure;
use laas_core::inventory::Host;
use laas_fog::{Fog, FogError, Id, Image, Snapshot};
use std::num::NonZeroU16;
use std::str::FromStr;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Wanted {
    /// The image's id in FOG, e.g. 17. Of several ways to name the image the most specific counts: image, then name, then
    /// snapshot, then os; one must be given.
    #[arg(long, value_name = "ID", value_parser = image_id)]
    image: Option<Id>,
    /// The image's exact name in FOG, e.g. ubuntu-22.04.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A snapshot that was captured of a host, e.g. web; without a version its highest complete one.
    #[arg(long, value_name = "NAME")]
    snapshot: Option<Snapshot>,
    /// The version of the snapshot, e.g. 3.
    #[arg(long, value_name = "NUMBER")]
    version: Option<NonZeroU16>,
    /// The image that the host's entry in the inventory names for this operating system, e.g. ubuntu; one of ubuntu,
    /// centos and suse.
    #[arg(long, value_name = "SYSTEM")]
    os: Option<System>,
}

/// A closed set, but no enum in the action's metadata: StackStorm lets a workflow pass no null for one, and the workflows
/// pass on whatever they were given.
#[derive(Clone, Copy, Debug)]
enum System {
    Ubuntu,
    Centos,
    Suse,
}

impl FromStr for System {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ubuntu" => Ok(Self::Ubuntu),
            "centos" => Ok(Self::Centos),
            "suse" => Ok(Self::Suse),
            _ => Err("it is none of ubuntu, centos and suse".to_owned()),
        }
    }
}

/// The one way that counts.
pub enum Choice {
    Id(Id),
    /// Exactly this one.
    Name(String),
    /// This version, or the highest complete one.
    Snapshot(Snapshot, Option<NonZeroU16>),
}

impl Wanted {
    /// # Errors
    /// Nothing is chosen, or the inventory has no image of the system for the host.
    pub fn choice(self, host: &Host) -> Result<Choice, Failure> {
        let failure = match self {
            Self {
                image: Some(image), ..
            } => return Ok(Choice::Id(image)),
            Self { name: Some(name), .. } => return Ok(Choice::Name(name)),
            Self {
                snapshot: Some(snapshot),
                version,
                ..
            } => return Ok(Choice::Snapshot(snapshot, version)),
            Self {
                version: Some(version),
                ..
            } => Failure::input(format!("of which snapshot is version {version} meant?"))
                .hint("give the `snapshot` too"),
            Self { os: Some(system), .. } => return image_of(system, host).map(Choice::Id),
            _ => Failure::input(format!("which image is `{}` to get?", host.name))
                .hint("give one of `image`, `name`, `snapshot` and `os`"),
        };
        Err(failure.host(&host.name))
    }
}

impl Choice {
    /// The image's id, which need not be one of FOG's if it was chosen by its id. `begun` is the image of the deploy
    /// that was begun for the same request: while that is a version of the snapshot, a newer one does not replace it.
    ///
    /// # Errors
    /// FOG has no such image, or can't be asked.
    pub fn resolve(&self, fog: &Fog, begun: Option<Id>) -> Result<Id, Failure> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Name(name) => {
                let images = fog.images()?;
                let image = images.iter().find(|image| image.name == *name);
                Ok(image
                    .ok_or_else(|| FogError::NoSuchName { name: name.clone() })?
                    .id)
            }
            Self::Snapshot(snapshot, version) => of_snapshot(snapshot, *version, &fog.images()?, begun),
        }
    }
}

fn image_of(system: System, host: &Host) -> Result<Id, Failure> {
    let (key, image) = match system {
        System::Ubuntu => ("ubuntu_image", host.ubuntu_image),
        System::Centos => ("centos_image", host.centos_image),
        System::Suse => ("suse_image", host.suse_image),
    };
    image.and_then(Id::new).ok_or_else(|| {
        Failure::input(format!("the inventory has no `{key}` for `{}`", host.name))
            .hint(format!(
                "add `{key}` to the host's entry, or give `image` or `name`"
            ))
            .host(&host.name)
    })
}

fn of_snapshot(
    snapshot: &Snapshot,
    version: Option<NonZeroU16>,
    images: &[Image],
    begun: Option<Id>,
) -> Result<Id, Failure> {
    let versions = snapshot.versions_of(images);
    let (found, wanted) = match version {
        Some(version) => (versions.get(&version), format!("version {version}")),
        None => {
            let mut complete = versions.values().filter(|(name, _)| name.complete);
            let of_begun = complete.clone().find(|(_, image)| Some(image.id) == begun);
            (of_begun.or(complete.next_back()), "complete version".to_owned())
        }
    };
    match found {
        Some((name, image)) if name.complete => Ok(image.id),
        Some((_, image)) => Err(FogError::ImageIncomplete {
            id: image.id,
            name: image.name.clone(),
        }
        .into()),
        None => {
            let present: Vec<_> = versions.values().map(|(name, _)| name.to_string()).collect();
            let hint = match &*present {
                [] => format!("its images are called `{snapshot}_v1`, `{snapshot}_v2` and so on"),
                present => format!("FOG has {}", present.join(", ")),
            };
            let error = format!("FOG has no {wanted} of the snapshot `{snapshot}`");
            Err(Failure::input(error).hint(hint))
        }
    }
}

fn image_id(text: &str) -> Result<Id, String> {
    let id = text.parse().ok().and_then(Id::new);
    id.ok_or_else(|| "an image has a number from 1 on".to_owned())
}
