//! The firmware: settings that were asked for while the machine ran are taken
//! when it starts next, and not before.

use super::Device;

/// The boot devices that it knows, by HPE's names.
const CARD: &str = "NIC.LOM.1.1.IPv4";
const DISK: &str = "HD.EmbRAID.1.2";

/// What settings came to when they were taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Message ids without the name of their registry.
    pub messages: Vec<&'static str>,
    /// Counts the times that settings were taken.
    pub count: u32,
}

impl Default for Taken {
    fn default() -> Self {
        Self {
            messages: vec!["Success"],
            count: 0,
        }
    }
}

#[derive(Debug)]
pub struct Bios {
    /// The administrator's; empty if there is none.
    pub password: String,
    pub order: Vec<String>,
    /// The old password as it was said, and the new one.
    pub asked_password: Option<(String, String)>,
    pub asked_order: Option<Vec<String>>,
    /// Somebody's change of something else, for which the firmware has a
    /// message of its own.
    pub asked_other: Option<&'static str>,
    pub taken: Taken,
}

impl Default for Bios {
    fn default() -> Self {
        let names = [DISK, CARD, "Generic.USB.1.1", "NIC.LOM.1.1.IPv6"];
        Self {
            password: String::new(),
            order: names.map(str::to_owned).to_vec(),
            asked_password: None,
            asked_order: None,
            asked_other: None,
            taken: Taken::default(),
        }
    }
}

impl Bios {
    /// The machine starts: takes what was asked for.
    pub fn start(&mut self) {
        let mut messages = Vec::new();
        let asked = self.asked_password.is_some() || self.asked_other.is_some();
        messages.extend(self.asked_other.take());
        match self.asked_password.take() {
            Some((old, _)) if old != self.password => messages.push("PropertyValueIncorrect"),
            Some((_, new)) => {
                self.password = new;
                messages.push("Success");
            }
            None => {}
        }
        if let Some(order) = self.asked_order.take() {
            self.order = order;
        }
        if asked {
            self.taken = Taken {
                messages,
                count: self.taken.count + 1,
            };
        }
    }

    /// Where a start looks that nothing overrides.
    pub fn device(&self) -> Device {
        match self.order.first() {
            Some(first) if first.starts_with("NIC.") => Device::Pxe,
            _ => Device::Disk,
        }
    }

    /// The order as it will be after the next start.
    pub fn next_order(&self) -> &[String] {
        self.asked_order.as_ref().unwrap_or(&self.order)
    }
}
