//! How a BMC fails, and what to do about it.

use crate::{BootState, Button, Device, Power};
use laas_core::child::ChildError;
use laas_core::http::HttpError;
use laas_core::names::BmcSlot;
use laas_core::wait::Ended;
use laas_core::{Classify, Kind};

#[derive(Debug, thiserror::Error)]
pub enum BmcError {
    #[error("the BMC `{address}` can't be asked")]
    Tool { address: String, source: ChildError },
    #[error("the BMC `{address}` does not answer")]
    Silent { address: String },
    #[error("the BMC `{address}` refuses the login of `{user}`")]
    Login { address: String, user: String },
    #[error("the BMC `{address}` does not know cipher suite {cipher}")]
    Cipher { address: String, cipher: u8 },
    #[error("the BMC `{address}` refuses `{what}` (completion code 0x{code:02x}): {said}")]
    Refused {
        address: String,
        what: &'static str,
        code: u8,
        said: String,
    },
    #[error("`ipmitool` failed at `{what}` on the BMC `{address}` and gave no reason")]
    Failed { address: String, what: &'static str },
    #[error("the BMC `{address}` answered `{what}` with `{answer}`")]
    Garbled {
        address: String,
        what: &'static str,
        answer: String,
    },
    #[error("the BMC `{address}` took `{button}` and the host is still {found} after {seconds} s")]
    PowerStays {
        address: String,
        button: Button,
        found: Power,
        seconds: u64,
    },
    #[error("the BMC `{address}` was waited for")]
    Waiting { address: String, source: Ended },
    #[error("the host is off and can't be reset by the BMC `{address}`")]
    ResetOfOff { address: String },
    #[error("the BMC `{address}` took the boot device and still says `{found}`")]
    BootStays { address: String, found: BootState },
    #[error("the BMC `{address}` took the account `{user}` in slot {slot} and still says otherwise: {found}")]
    UserStays {
        address: String,
        user: String,
        slot: BmcSlot,
        found: String,
    },
    #[error("the BMC `{address}` took the account `{user}` away and still lets it in")]
    StillOpens { address: String, user: String },
    #[error("the tenants' account can't be `{user}`: slot {slot} of the BMC `{address}` is {what}")]
    Slot {
        address: String,
        user: String,
        slot: BmcSlot,
        what: &'static str,
    },
    #[error("the BMC `{address}` has no free slot for `{user}`")]
    Full { address: String, user: String },
    #[error("`{user}` and its password must be printable ASCII of at most 16 and 20 characters")]
    Unfit { user: String },
    #[error("the account can't have slot `{slot}` of the BMC `{address}`, whose slots are numbers")]
    NoNumber { address: String, slot: BmcSlot },
    #[error("the operating system gives no random numbers")]
    Random,
    #[error("can't ask the BMC `{address}`")]
    Http { address: String, source: HttpError },
    #[error("the BMC `{address}` refuses {what} (HTTP {status}): {}", reasons(messages))]
    Rejected {
        address: String,
        what: &'static str,
        status: u16,
        /// Ids of Redfish's message registries.
        messages: Vec<String>,
    },
    #[error("the BMC `{address}` sends us elsewhere for {what} (HTTP {status})")]
    Elsewhere {
        address: String,
        what: &'static str,
        status: u16,
    },
    #[error("the BMC `{address}` refuses {what} (RIBCL status 0x{status:04x}): {said}")]
    Ribcl {
        address: String,
        what: &'static str,
        status: u32,
        said: String,
    },
    #[error("the BMC `{address}` has not {what}")]
    Lacks { address: String, what: &'static str },
    #[error("the BMC `{address}` has {count} systems, and a host has one")]
    Systems { address: String, count: usize },
    #[error("the BMC `{address}` has no `{button}` for this host, only: {listed}")]
    NoButton {
        address: String,
        button: Button,
        listed: String,
    },
    #[error("the BMC `{address}` can't be told to boot from `{device:?}`")]
    NoDevice { address: String, device: Device },
}

impl Classify for BmcError {
    fn kind(&self) -> Kind {
        match self {
            Self::Tool { source, .. } => source.kind(),
            Self::Silent { .. } | Self::Garbled { .. } | Self::Failed { .. } => Kind::Unreachable,
            Self::Http { source, .. } => source.kind(),
            // Busy: too many requests, an error of its own, or a host that is just starting, whose settings iLO keeps
            // shut until it has.
            Self::Rejected { status, messages, .. }
                if matches!(status, 429 | 500 | 502..=504) || is_starting(messages) =>
            {
                Kind::Unreachable
            }
            // IPMI 2.0, table 5-2: busy, timeout, and three kinds of "being updated or initialised".
            Self::Refused {
                code: 0xc0 | 0xc3 | 0xd0..=0xd2,
                ..
            } => Kind::Unreachable,
            Self::Waiting {
                source: Ended::Cancelled,
                ..
            } => Kind::Cancelled,
            Self::Waiting { .. } => Kind::Unreachable,
            Self::Login { .. }
            | Self::Cipher { .. }
            | Self::Refused { .. }
            | Self::Rejected { .. }
            | Self::Elsewhere { .. }
            | Self::Ribcl { .. }
            | Self::Lacks { .. }
            | Self::NoButton { .. }
            | Self::NoDevice { .. }
            | Self::PowerStays { .. }
            | Self::ResetOfOff { .. }
            | Self::BootStays { .. }
            | Self::StillOpens { .. }
            | Self::UserStays { .. } => Kind::Refused,
            Self::Slot { .. }
            | Self::NoNumber { .. }
            | Self::Full { .. }
            | Self::Unfit { .. }
            | Self::Systems { .. }
            | Self::Random => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Tool { source, .. } => return source.hint(),
            Self::Silent { .. } => {
                "check `bmc.address` and `bmc.port`, and that IPMI over LAN is enabled on the BMC"
            }
            Self::Login { .. } => "compare `bmc.user` and the key that `bmc.password_key` names with the BMC",
            Self::Cipher { .. } => "set `bmc.cipher` of the host to 3 or 17",
            Self::Refused { code: 0xd4, .. } => {
                "the account in `bmc.user` must be an administrator of the BMC"
            }
            Self::PowerStays {
                button: Button::Soft, ..
            } => "the system did not shut down in time: `--force` switches it off hard",
            Self::PowerStays { .. } => "look at the host; if it is only slow, raise `timing.power`",
            Self::ResetOfOff { .. } => "use `cycle`, which leaves the host on in any case",
            Self::BootStays { .. } | Self::UserStays { .. } | Self::StillOpens { .. } => {
                "a restart of the BMC often helps (`mc reset cold`)"
            }
            Self::NoNumber { .. } => "correct `bmc.user_slot`, e.g. 4",
            Self::Slot { .. } => "correct `bmc.user_slot`, or clear the slot on the BMC",
            Self::Full { .. } => "clear a slot on the BMC, or set `bmc.user_slot`",
            Self::Http {
                source: HttpError::Connect { .. },
                ..
            } => {
                "check `bmc.address` and `bmc.port`; a certificate that no authority of the system signed must be \
                 named in `bmc.tls`"
            }
            Self::Http { source, .. } => return source.hint(),
            Self::Rejected { status: 403, .. } => {
                "the account in `bmc.user` must be an administrator of the BMC"
            }
            Self::Rejected { messages, .. } if is_starting(messages) => {
                "the host is just starting: wait until it has started"
            }
            Self::Elsewhere { .. } => {
                "`bmc.address` and `bmc.port` must be those of the BMC itself; credentials follow no redirection"
            }
            Self::Systems { .. } => {
                "a BMC of several hosts can't be driven: name the host's own in `bmc.address`"
            }
            Self::Lacks { .. } => "update the BMC's firmware, or set `bmc.driver` of the host to `ipmi`",
            Self::NoButton { .. } | Self::NoDevice { .. } => {
                "use another command, or update the BMC's firmware"
            }
            Self::Rejected { .. } | Self::Ribcl { .. } => return None,
            Self::Garbled { .. }
            | Self::Failed { .. }
            | Self::Refused { .. }
            | Self::Waiting { .. }
            | Self::Random
            | Self::Unfit { .. } => {
                return None;
            }
        };
        Some(hint.to_owned())
    }
}

/// The messages that say that the host is between power on and the end of its start.
fn is_starting(messages: &[String]) -> bool {
    messages
        .iter()
        .any(|m| m.ends_with("UnableToModifyDuringSystemPOST"))
}

fn reasons(messages: &[String]) -> String {
    match messages.is_empty() {
        true => "it gives no reason".to_owned(),
        false => messages.join(", "),
    }
}
