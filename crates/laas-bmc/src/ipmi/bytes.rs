//! The bytes of requests and answers, after the IPMI 2.0 specification. Nothing here talks to anyone.

use crate::{Boot, BootState, Button, Device, Firmware, Power, Privilege};
use laas_core::Mac;

/// Bytes of a user's name, and of a password in the form that IPMI 1.5 has too.
const TEXT: usize = 16;
/// Bytes of a password in the form that came with IPMI 2.0.
const LONG: usize = 20;
/// "The channel that this request comes by", table 22-29.
const THIS_CHANNEL: u8 = 0x0e;

/// A request: network function, command, data.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The specification's name for it, for messages.
    pub name: &'static str,
    bytes: Vec<u8>,
}

impl Request {
    fn new(name: &'static str, function: u8, command: u8, data: &[u8]) -> Self {
        Self {
            name,
            bytes: [&[function, command], data].concat(),
        }
    }

    /// As `ipmitool raw` takes them.
    pub fn words(&self) -> Vec<String> {
        self.bytes.iter().map(|b| format!("0x{b:02x}")).collect()
    }
}

/// Section 28.2.
pub fn get_chassis_status() -> Request {
    Request::new("Get Chassis Status", 0x00, 0x01, &[])
}

pub fn power(data: &[u8]) -> Option<Power> {
    let on = data.first()? & 0x01 != 0;
    (data.len() >= 3).then_some(if on { Power::On } else { Power::Off })
}

/// Section 28.3.
pub fn chassis_control(button: Button) -> Request {
    let control = match button {
        Button::Off => 0,
        Button::On => 1,
        Button::Reset => 3,
        Button::Soft => 5,
    };
    Request::new("Chassis Control", 0x00, 0x02, &[control])
}

/// Section 28.12, parameter 5.
pub fn set_boot_flags(boot: &Boot) -> Request {
    let flags = 0x80 | if boot.persistent { 0x40 } else { 0 } | if boot.uefi { 0x20 } else { 0 };
    let device = match boot.device {
        Device::None | Device::Other => 0x00,
        Device::Pxe => 0x04,
        Device::Disk => 0x08,
        Device::Bios => 0x18,
    };
    Request::new(
        "Set System Boot Options",
        0x00,
        0x08,
        &[0x05, flags, device, 0, 0, 0],
    )
}

/// Parameter 3, bit 3: the flags stay valid although no chassis control follows within 60 seconds.
pub fn keep_boot_flags() -> Request {
    Request::new("Set System Boot Options", 0x00, 0x08, &[0x03, 0x08])
}

/// Section 28.13.
pub fn get_boot_flags() -> Request {
    Request::new("Get System Boot Options", 0x00, 0x09, &[0x05, 0x00, 0x00])
}

/// Version, parameter (bit 7: invalid or locked), flags, device, and what does not matter here.
pub fn boot(data: &[u8]) -> Option<BootState> {
    let [_version, parameter, flags, device, ..] = *data else {
        return None;
    };
    if parameter & 0x7f != 0x05 {
        return None;
    }
    let device = match device & 0x3c {
        0x00 => Device::None,
        0x04 => Device::Pxe,
        0x08 => Device::Disk,
        0x18 => Device::Bios,
        _ => Device::Other,
    };
    let flag = |bit| flags & bit != 0;
    Some(BootState {
        device,
        valid: flag(0x80),
        persistent: flag(0x40),
        uefi: flag(0x20),
        firmware: Firmware::default(),
    })
}

/// Section 20.1.
pub fn get_device_id() -> Request {
    Request::new("Get Device ID", 0x06, 0x01, &[])
}

/// The firmware's version and the IPMI version. The minor number of the first is two digits in BCD, the second has its
/// digits swapped.
pub fn versions(data: &[u8]) -> Option<(String, String)> {
    let [_id, _revision, major, minor, ipmi, ..] = *data else {
        return None;
    };
    let firmware = format!("{}.{minor:02x}", major & 0x7f);
    Some((firmware, format!("{}.{}", ipmi & 0x0f, ipmi >> 4)))
}

/// Section 34.1, of the device that describes the machine; refused if there is none.
pub fn get_fru_area() -> Request {
    Request::new("Get FRU Inventory Area Info", 0x0a, 0x10, &[0x00])
}

/// Section 33.9.
pub fn get_sdr_repository() -> Request {
    Request::new("Get SDR Repository Info", 0x0a, 0x20, &[])
}

/// How many records it has.
pub fn sdr_records(data: &[u8]) -> Option<u16> {
    let [_version, low, high, ..] = *data else {
        return None;
    };
    Some(u16::from_le_bytes([low, high]))
}

/// Section 22.24.
pub fn get_channel_info() -> Request {
    Request::new("Get Channel Info", 0x06, 0x42, &[THIS_CHANNEL])
}

/// Section 22.28; `None` if the name does not fit.
pub fn set_user_name(slot: u8, name: &str) -> Option<Request> {
    let data = [&[slot][..], &padded::<TEXT>(name)?].concat();
    Some(Request::new("Set User Name", 0x06, 0x45, &data))
}

/// A slot without a name is a free one.
pub fn clear_user_name(slot: u8) -> Request {
    let data = [&[slot][..], &[0; TEXT]].concat();
    Request::new("Set User Name", 0x06, 0x45, &data)
}

/// Section 22.29.
pub fn get_user_name(slot: u8) -> Request {
    Request::new("Get User Name", 0x06, 0x46, &[slot])
}

/// Up to the first zero. A BMC may answer fewer bytes than there is room for.
pub fn user_name(data: &[u8]) -> Option<String> {
    let name = data.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Section 22.30; `None` if the password does not fit. A long one has the slot's highest bit set, and more bytes.
pub fn set_user_password(slot: u8, password: &str) -> Option<Request> {
    let data = match padded::<TEXT>(password) {
        Some(bytes) => [&[slot, 0x02][..], &bytes].concat(),
        None => [&[slot | 0x80, 0x02][..], &padded::<LONG>(password)?].concat(),
    };
    Some(Request::new("Set User Password", 0x06, 0x47, &data))
}

pub fn enable_user(slot: u8) -> Request {
    Request::new("Enable User", 0x06, 0x47, &[slot, 0x01])
}

pub fn disable_user(slot: u8) -> Request {
    Request::new("Disable User", 0x06, 0x47, &[slot, 0x00])
}

/// Section 22.26: takes all rights on this channel.
pub fn no_user_access(slot: u8, channel: u8) -> Request {
    Request::new(
        "Set User Access",
        0x06,
        0x43,
        &[0x80 | (channel & 0x0f), slot, 0x0f, 0x00],
    )
}

/// Section 22.27.
pub fn get_user_access(slot: u8, channel: u8) -> Request {
    Request::new("Get User Access", 0x06, 0x44, &[channel & 0x0f, slot])
}

/// What an account may do, whether it is enabled and whether it may come in by the channel, as [`crate::User`] has it.
pub fn user_access(data: &[u8]) -> Option<(Option<Privilege>, Option<bool>, bool)> {
    let [_most, enabled, _fixed, access, ..] = *data else {
        return None;
    };
    let privilege = match access & 0x0f {
        2 => Some(Privilege::User),
        3 => Some(Privilege::Operator),
        4 => Some(Privilege::Administrator),
        _ => None,
    };
    // Zero means that the BMC does not say, as those older than the errata that brought this do.
    let enabled = match enabled >> 6 {
        1 => Some(true),
        2 => Some(false),
        _ => None,
    };
    Some((privilege, enabled, access & 0x10 != 0))
}

/// Section 22.26: changes the rights on this channel, with link authentication and IPMI messaging allowed.
pub fn set_user_access(slot: u8, channel: u8, privilege: Privilege) -> Request {
    let limit = match privilege {
        Privilege::User => 2,
        Privilege::Operator => 3,
        Privilege::Administrator => 4,
    };
    let rights = 0x80 | 0x20 | 0x10 | (channel & 0x0f);
    Request::new("Set User Access", 0x06, 0x43, &[rights, slot, limit, 0x00])
}

/// Section 23.2, parameter 5.
pub fn get_lan_mac(channel: u8) -> Request {
    Request::new("Get LAN Configuration", 0x0c, 0x02, &[channel, 0x05, 0x00, 0x00])
}

pub fn mac(data: &[u8]) -> Option<Mac> {
    let [_version, mac @ ..] = data else {
        return None;
    };
    let text: Vec<_> = mac.iter().map(|b| format!("{b:02x}")).collect();
    text.join(":").parse().ok()
}

fn padded<const ROOM: usize>(text: &str) -> Option<[u8; ROOM]> {
    let fits = !text.is_empty() && text.len() <= ROOM && text.chars().all(|c| c.is_ascii_graphic());
    let mut bytes = [0; ROOM];
    bytes
        .get_mut(..text.len())
        .filter(|_| fits)?
        .copy_from_slice(text.as_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_flags_are_the_specifications() {
        for (device, persistent, uefi, flags, code) in [
            (Device::Pxe, false, true, 0xa0, 0x04),
            (Device::Pxe, true, true, 0xe0, 0x04),
            (Device::Pxe, false, false, 0x80, 0x04),
            (Device::Pxe, true, false, 0xc0, 0x04),
            (Device::Disk, false, true, 0xa0, 0x08),
            (Device::Bios, false, false, 0x80, 0x18),
            (Device::None, false, false, 0x80, 0x00),
        ] {
            let order = Boot {
                device,
                persistent,
                uefi,
            };
            assert_eq!(
                set_boot_flags(&order).bytes,
                [0x00, 0x08, 0x05, flags, code, 0, 0, 0],
                "{order:?}"
            );
            let state = boot(&[0x01, 0x05, flags, code, 0, 0, 0]).unwrap();
            assert_eq!(state, BootState::from(order));
            assert!(state.obeys(&order));
            // What ipmi_sim and some boards answer: the device alone.
            assert!(boot(&[0x01, 0x05, 0x00, code, 0, 0, 0]).unwrap().obeys(&order));
            assert!(!boot(&[0x01, 0x05, flags, 0x14, 0, 0, 0]).unwrap().obeys(&order));
            assert!(
                !boot(&[0x01, 0x05, flags ^ 0x40, code, 0, 0, 0])
                    .unwrap()
                    .obeys(&order)
            );
        }
    }

    #[test]
    fn short_and_foreign_answers_are_none() {
        for cut in [&[][..], &[1], &[1, 5], &[1, 5, 0xa0], &[1, 6, 0xa0, 4, 0, 0, 0]] {
            assert_eq!(boot(cut), None, "{cut:?}");
        }
        assert_eq!(power(&[1]), None);
        assert_eq!(power(&[0x61, 0, 0, 0]), Some(Power::On));
        assert_eq!(power(&[0x60, 0, 0, 0]), Some(Power::Off));
        assert_eq!(mac(&[0x11, 2, 0, 0, 0, 0]), None);
        assert_eq!(
            mac(&[0x11, 2, 0, 0, 0, 0, 0x10]).unwrap().as_str(),
            "02:00:00:00:00:10"
        );
    }

    #[test]
    fn a_bmc_says_what_it_is() {
        // Captured from ipmi_sim, and made up after an iLO 4.
        for (data, expected) in [
            ([0x00, 0x83, 0x09, 0x08, 0x02], Some(("9.08", "2.0"))),
            ([0x13, 0x01, 0x82, 0x55, 0x02], Some(("2.55", "2.0"))),
            ([0x20, 0x01, 0x01, 0x10, 0x51], Some(("1.10", "1.5"))),
        ] {
            let found = versions(&data);
            let found = found.as_ref().map(|(f, i)| (f.as_str(), i.as_str()));
            assert_eq!(found, expected);
        }
        assert_eq!(versions(&[0, 0, 9, 8]), None);
        assert_eq!(sdr_records(&[0x51, 0x04, 0x01]), Some(0x104));
        assert_eq!(sdr_records(&[0x51, 0x04]), None);
    }

    #[test]
    fn accounts_are_the_specifications() {
        let name = set_user_name(4, "opnfv").unwrap();
        assert_eq!(
            name.words()[..8].join(" "),
            "0x06 0x45 0x04 0x6f 0x70 0x6e 0x66 0x76"
        );
        assert_eq!(name.bytes.len(), 2 + 1 + 16);
        for (password, slot, bytes) in [(1, 0x04, 16), (16, 0x04, 16), (17, 0x84, 20), (20, 0x84, 20)] {
            let request = set_user_password(4, &"x".repeat(password)).unwrap();
            assert_eq!(request.bytes[..5], [0x06, 0x47, slot, 2, b'x'], "{password}");
            assert_eq!(request.bytes.len(), 4 + bytes, "{password}");
        }
        assert_eq!(
            set_user_access(4, 1, Privilege::Operator).bytes,
            [0x06, 0x43, 0xb1, 4, 3, 0]
        );
        assert_eq!(enable_user(4).bytes, [0x06, 0x47, 4, 1]);
        assert_eq!(disable_user(4).bytes, [0x06, 0x47, 4, 0]);
        assert_eq!(no_user_access(4, 1).bytes, [0x06, 0x43, 0x81, 4, 0x0f, 0]);
        assert_eq!(clear_user_name(4).bytes[..4], [0x06, 0x45, 4, 0]);
        assert_eq!(user_name(b"opnfv\0\0\0").unwrap(), "opnfv");
        assert_eq!(user_name(&[]).unwrap(), "");
        for (data, privilege, enabled, access) in [
            (
                [0x3f, 0x43, 1, 0x34],
                Some(Privilege::Administrator),
                Some(true),
                true,
            ),
            (
                [0x0a, 0x83, 1, 0x33],
                Some(Privilege::Operator),
                Some(false),
                true,
            ),
            ([0x3f, 0x03, 1, 0x0f], None, None, false),
        ] {
            assert_eq!(user_access(&data), Some((privilege, enabled, access)));
        }
        assert!(user_access(&[0x3f, 0x43, 1]).is_none());
        for unfit in ["", "x y", "ä", &"x".repeat(21), "a\nb"] {
            assert_eq!(set_user_password(4, unfit), None, "{unfit:?}");
        }
        assert_eq!(set_user_name(4, &"x".repeat(17)), None);
    }
}
