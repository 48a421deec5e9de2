//! How FOG fails, and what to do about it.

use crate::Id;
use laas_core::http::HttpError;
use laas_core::{Classify, Kind};

#[derive(Debug, thiserror::Error)]
pub enum FogError {
    #[error("FOG can't be asked")]
    Http(#[from] HttpError),
    #[error("FOG's API is switched off: `{url}` redirects")]
    ApiOff { url: String },
    #[error("FOG refuses the API key (HTTP 403)")]
    ApiKey,
    #[error("FOG refuses the user key (HTTP 401)")]
    UserKey,
    #[error("there is no FOG API at `{url}` (HTTP {status})")]
    NoApi { url: String, status: u16 },
    #[error("FOG has no `{what}`")]
    Missing { what: String },
    #[error("FOG refused `{method} {url}` (HTTP {status}): {said}")]
    Refused {
        method: &'static str,
        url: String,
        status: u16,
        said: String,
    },
    #[error("FOG broke down at `{method} {url}` (HTTP {status})")]
    Broken {
        method: &'static str,
        url: String,
        status: u16,
    },
    /// The body is not quoted: FOG 1.5 puts passwords into its hosts.
    #[error("`{url}` answered {bytes} bytes of {content_type} that are not what FOG answers")]
    Garbled {
        url: String,
        content_type: String,
        bytes: usize,
    },
    /// The message itself is not quoted: it may hold what the script was at work on.
    #[error("PHP printed a message of its own into the answer to `{url}`")]
    PhpMessage { url: String },
    #[error("FOG knows {count} hosts called `{name}`")]
    HostNotUnique { name: String, count: usize },
    #[error("FOG's list `{what}` has changed {walks} times while it was read")]
    Restless { what: String, walks: usize },
    #[error("FOG's list `{what}` says after {read} objects that there is more, and not where")]
    Endless { what: String, read: usize },
    #[error("FOG has no image called `{name}`")]
    NoSuchName { name: String },
    #[error("image {id} (`{name}`) is disabled in FOG")]
    ImageDisabled { id: Id, name: String },
    #[error("image {id} (`{name}`) is a capture that was not completed")]
    ImageIncomplete { id: Id, name: String },
    #[error("image {id} (`{name}`) is in no storage group of FOG")]
    ImageNowhere { id: Id, name: String },
    #[error("FOG has no node to serve image {id} (`{name}`): {reasons}")]
    NoStorageNode {
        id: Id,
        name: String,
        reasons: String,
        /// Whether one of them may just have been slow to answer FOG.
        offline: bool,
    },
    #[error("FOG says yes and did not {what}")]
    NotDone { what: String },
    #[error("FOG took image {wanted} for `{host}` and still says {}", found.map_or("none".to_owned(), |i| i.to_string()))]
    ImageNotTaken {
        host: String,
        wanted: Id,
        found: Option<Id>,
    },
}

impl Classify for FogError {
    fn kind(&self) -> Kind {
        match self {
            Self::Http(source) => source.kind(),
            Self::NoStorageNode { offline: true, .. } => Kind::Unreachable,
            Self::Broken { .. } | Self::Garbled { .. } | Self::PhpMessage { .. } | Self::Restless { .. } => {
                Kind::Unreachable
            }
            Self::Missing { .. }
            | Self::HostNotUnique { .. }
            | Self::NoSuchName { .. }
            | Self::ImageDisabled { .. }
            | Self::ImageIncomplete { .. }
            | Self::ImageNowhere { .. }
            | Self::NoStorageNode { .. } => Kind::Input,
            Self::ApiOff { .. }
            | Self::ApiKey
            | Self::UserKey
            | Self::NoApi { .. }
            | Self::Endless { .. }
            | Self::Refused { .. }
            | Self::NotDone { .. }
            | Self::ImageNotTaken { .. } => Kind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::ApiOff { .. } => "enable it in FOG Configuration → FOG Settings → API System",
            Self::ApiKey => "compare `fog.api_key` with FOG Configuration → FOG Settings → API System",
            Self::UserKey => {
                "compare `fog.user_key` with User Management → the user → API Settings, and enable the user's API there"
            }
            Self::NoApi { .. } | Self::Garbled { .. } => {
                "`fog.address` must be FOG's web root, like `http://10.0.0.5/fog`"
            }
            Self::Missing { .. } => "register it in FOG, or correct the inventory or the number",
            Self::HostNotUnique { count: 0, .. } => {
                "register the host in FOG, or correct `fog_name` in the inventory; the spelling must be the same"
            }
            Self::HostNotUnique { .. } => "rename all but one in FOG's Host Management",
            Self::NoSuchName { .. } => "look at FOG's Image Management; the spelling must be the same",
            Self::ImageDisabled { .. } => "enable it in FOG's Image Management",
            Self::ImageIncomplete { .. } => "capture it again; it is never deployed under this name",
            Self::ImageNowhere { .. } => "give it a storage group in FOG's Image Management",
            Self::NoStorageNode { .. } => {
                "in FOG's Storage Management enable a node of the image's group with at least one client, and see that FTP runs on it; or move the image"
            }
            Self::Endless { .. } => "update FOG: it is a build of 1.6 from before its lists had pages",
            Self::PhpMessage { .. } => {
                "read it in the error log of FOG's web server, mend its cause, and set `display_errors = Off` in its php.ini"
            }
            Self::Broken { .. } | Self::NotDone { .. } => "look at the error log of FOG's web server",
            Self::Http(_) | Self::Restless { .. } | Self::Refused { .. } | Self::ImageNotTaken { .. } => {
                return None;
            }
        };
        Some(hint.to_owned())
    }
}
