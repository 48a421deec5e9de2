//! What the lab consists of, and the same told to the pack: `hosts.json`,
//! secret keys and configuration.

use crate::cabling::{Socket, switch_address};

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The MAC address, lower case with colons.
    pub mac: String,
    /// The PCI address.
    pub bus: String,
    /// The name that the operating system gives it.
    pub name: String,
    /// Where its cable ends.
    pub socket: Socket,
}

/// A host of the lab, as it stands in the rack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSpec {
    /// Its number, from 1; addresses follow from it.
    pub number: u8,
    /// `pod1` and so on: the name in the dashboard, in FOG and of its BMC.
    pub name: String,
    /// The cards; the first one boots from the network.
    pub nics: Vec<Nic>,
}

impl HostSpec {
    /// The host with this number, three cards on the first switch.
    pub fn numbered(number: u8) -> Self {
        let cards = 3;
        let nic = |card: u8| Nic {
            mac: format!("02:00:00:00:{number:02x}:{card:02x}"),
            bus: format!("0000:{:02x}:00.0", card),
            name: format!("eno{card}"),
            socket: Socket {
                switch: switch_address(1),
                port: format!(
                    "Ethernet1/{}",
                    u16::from(number - 1) * u16::from(cards) + u16::from(card)
                ),
            },
        };
        Self {
            number,
            name: format!("pod{number}"),
            nics: (1..=cards).map(nic).collect(),
        }
    }
}
