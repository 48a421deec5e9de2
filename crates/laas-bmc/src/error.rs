//! How a BMC fails, and what to do about it.

use crate::{BootState, Button, Power};
use laas_core::child::ChildError;
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
    #[error("the tenants' account can't be `{user}`: slot {slot} of the BMC `{address}` is {what}")]
    Slot {
        address: String,
        user: String,
        slot: BmcSlot,
        what: &'static str,
    },
    #[error("the BMC `{address}` has no free slot for `{user}`")]
    Full { address: String, user: String },
    #[error("`{user}` and its password must be printable ASCII of at most 16 characters")]
    Unfit { user: String },
    #[error("the account can't have slot `{slot}` of the BMC `{address}`, whose slots are numbers")]
    NoNumber { address: String, slot: BmcSlot },
    #[error("the operating system gives no random numbers")]
    Random,
    #[error("the BMC `{address}` can't be driven by `redfish` yet")]
    Driver { address: String },
}

impl Classify for BmcError {
    fn kind(&self) -> Kind {
        match self {
            Self::Tool { source, .. } => source.kind(),
            Self::Silent { .. } | Self::Garbled { .. } | Self::Failed { .. } => Kind::Unreachable,
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
            | Self::PowerStays { .. }
            | Self::ResetOfOff { .. }
            | Self::BootStays { .. }
            | Self::UserStays { .. } => Kind::Refused,
            Self::Slot { .. }
            | Self::NoNumber { .. }
            | Self::Full { .. }
            | Self::Unfit { .. }
            | Self::Random
            | Self::Driver { .. } => Kind::Input,
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
            Self::BootStays { .. } | Self::UserStays { .. } => {
                "a restart of the BMC often helps (`mc reset cold`)"
            }
            Self::NoNumber { .. } => "correct `bmc.user_slot`, e.g. 4",
            Self::Slot { .. } => "correct `bmc.user_slot`, or clear the slot on the BMC",
            Self::Full { .. } => "clear a slot on the BMC, or set `bmc.user_slot`",
            Self::Driver { .. } => "set `bmc.driver` of the host to `ipmi`",
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
