//! How a switch fails, and what to do about it.

use crate::{Port, PortName};
use laas_core::http::HttpError;
use laas_core::wait::Ended;
use laas_core::{Classify, Kind, VlanId};

#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    #[error("the switch `{switch}` can't be asked")]
    Http { switch: String, source: HttpError },
    #[error("the switch `{switch}` refuses our login (HTTP {status})")]
    Login { switch: String, status: u16 },
    #[error("the switch `{switch}` had no session free for us")]
    Busy { switch: String, source: Ended },
    #[error("the switch `{switch}` finds a request of {lines} lines too large")]
    TooLarge { switch: String, lines: usize },
    #[error("the switch `{switch}` refuses `{command}`{}: {said}", on.as_ref().map_or(String::new(), |p| format!(" (`{p}`)")))]
    Refused {
        switch: String,
        command: String,
        on: Option<String>,
        said: String,
    },
    #[error("the switch `{switch}` answered `{command}` (HTTP {status}) with {what}")]
    Garbled {
        switch: String,
        command: String,
        status: u16,
        what: &'static str,
    },
    #[error("the switch `{switch}` gives no port `{port}` to a booking: {why}")]
    Untouchable {
        switch: String,
        port: PortName,
        why: String,
    },
    #[error("port `{port}` of the switch `{switch}` is not to be set like that: {why}")]
    Protected {
        switch: String,
        port: PortName,
        why: String,
    },
    #[error("the switch `{switch}` took the configuration of `{port}` and still says `{found}`")]
    Stays {
        switch: String,
        port: PortName,
        found: Port,
    },
    #[error("VLAN {vlan} on port `{port}` is not active on the switch `{switch}`")]
    DeadVlan {
        switch: String,
        port: PortName,
        vlan: VlanId,
    },
    #[error("the switch `{switch}` did not save its configuration: `{said}`")]
    NotSaved { switch: String, said: String },
    #[error("there is no driver `{driver}` for the switch `{switch}`")]
    Driver { switch: String, driver: String },
}

impl SwitchError {
    /// With the switch's words on one line.
    pub(crate) fn not_saved(switch: &str, said: &str) -> Self {
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        Self::NotSaved {
            switch: switch.to_owned(),
            said: said.chars().take(160).collect(),
        }
    }
}

impl Classify for SwitchError {
    fn kind(&self) -> Kind {
        match self {
            Self::Http { source, .. } => source.kind(),
            Self::Busy {
                source: Ended::Cancelled,
                ..
            } => Kind::Cancelled,
            Self::Busy { .. } | Self::Garbled { .. } | Self::NotSaved { .. } => Kind::Unreachable,
            Self::Driver { .. } | Self::Protected { .. } => Kind::Input,
            Self::Login { .. }
            | Self::TooLarge { .. }
            | Self::Refused { .. }
            | Self::Untouchable { .. }
            | Self::Stays { .. }
            | Self::DeadVlan { .. } => Kind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Http { switch, .. } => {
                format!(
                    "check that its API is enabled (NX-OS: `feature nxapi`, EOS: `management api http-commands`) and \
                     `url` of the key `switch_{switch}`"
                )
            }
            Self::Login { switch, .. } => format!("compare user and password of the key `switch_{switch}`"),
            Self::Busy { .. } => {
                "somebody else keeps the sessions of its API: wait, or end theirs".to_owned()
            }
            Self::TooLarge { .. } => "book fewer hosts of one switch at once".to_owned(),
            Self::Untouchable { .. } => {
                "compare `switch` and `port` of the interface in the inventory".to_owned()
            }
            Self::Driver { switch, .. } => {
                format!("set `driver` of the key `switch_{switch}` to `nxos` or `eos`")
            }
            Self::Protected { .. } => "compare `networks` of the configuration".to_owned(),
            Self::NotSaved { .. } => {
                "look at the switch's boot flash; the configuration is active until it restarts".to_owned()
            }
            Self::Refused { .. } | Self::Garbled { .. } | Self::Stays { .. } | Self::DeadVlan { .. } => {
                return None;
            }
        })
    }
}
