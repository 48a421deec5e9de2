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
    #[error("FOG knows {count} hosts called `{name}`")]
    HostNotUnique { name: String, count: usize },
    #[error("image {id} (`{name}`) is disabled in FOG")]
    ImageDisabled { id: Id, name: String },
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
            Self::Broken { .. } | Self::Garbled { .. } => Kind::Unreachable,
            Self::Missing { .. } | Self::HostNotUnique { .. } | Self::ImageDisabled { .. } => Kind::Input,
            Self::ApiOff { .. }
            | Self::ApiKey
            | Self::UserKey
            | Self::NoApi { .. }
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
            Self::ImageDisabled { .. } => "enable it in FOG's Image Management",
            Self::Broken { .. } | Self::NotDone { .. } => "look at the error log of FOG's web server",
            Self::Http(_) | Self::Refused { .. } | Self::ImageNotTaken { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
