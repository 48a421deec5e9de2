//! A BMC of a script, for what a real one does too seldom.

use crate::{Bmc, BmcError, Boot, BootState, Button, Info, Login, Power, Privilege, User};
use laas_core::Mac;
use laas_core::names::BmcSlot;
use std::cell::RefCell;
use std::collections::VecDeque;

#[derive(Default)]
pub struct Fake {
    /// What it answers when asked for the power; the last one for ever. `None` is silence.
    pub looks: RefCell<VecDeque<Option<Power>>>,
    /// Whether the answers to buttons come through.
    pub presses: RefCell<VecDeque<Option<()>>>,
    pub pressed: RefCell<Vec<Button>>,
    pub users: RefCell<Vec<User>>,
    /// What it does to an account that it is told to disable.
    pub disables: Option<fn(&mut User)>,
    pub password: String,
    /// Whether logins are not answered.
    pub is_mute: bool,
}

fn silent() -> BmcError {
    BmcError::Silent {
        address: "bmc".to_owned(),
    }
}

impl Bmc for Fake {
    fn address(&self) -> &str {
        "bmc"
    }

    fn power(&self) -> Result<Power, BmcError> {
        let mut looks = self.looks.borrow_mut();
        let look = if looks.len() > 1 {
            looks.pop_front()
        } else {
            looks.front().copied()
        };
        look.flatten().ok_or_else(silent)
    }

    fn press(&self, button: Button) -> Result<(), BmcError> {
        self.pressed.borrow_mut().push(button);
        self.presses
            .borrow_mut()
            .pop_front()
            .unwrap_or(Some(()))
            .ok_or_else(silent)
    }

    fn boot(&self) -> Result<BootState, BmcError> {
        Err(silent())
    }

    fn set_boot(&self, _: &Boot) -> Result<(), BmcError> {
        Err(silent())
    }

    fn users(&self) -> Result<Vec<User>, BmcError> {
        Ok(self.users.borrow().clone())
    }

    fn set_user(&self, slot: &BmcSlot, _: &Login, _: Privilege) -> Result<BmcSlot, BmcError> {
        Ok(slot.clone())
    }

    fn user(&self, slot: &BmcSlot) -> Result<User, BmcError> {
        let free = User {
            slot: slot.clone(),
            name: String::new(),
            privilege: None,
            enabled: None,
            access: false,
        };
        let users = self.users.borrow();
        let found = users.iter().find(|u| u.slot == *slot);
        Ok(found.cloned().unwrap_or(free))
    }

    fn disable_user(&self, slot: &BmcSlot) -> Result<(), BmcError> {
        let mut users = self.users.borrow_mut();
        if let (Some(disables), Some(user)) = (self.disables, users.iter_mut().find(|u| u.slot == *slot)) {
            disables(user);
        }
        Ok(())
    }

    fn prove(&self, login: &Login, _: Privilege) -> Result<(), BmcError> {
        if self.is_mute {
            return Err(silent());
        }
        if login.password.expose() == self.password {
            return Ok(());
        }
        Err(BmcError::Login {
            address: "bmc".to_owned(),
            user: login.user.clone(),
        })
    }

    fn mac(&self) -> Result<Mac, BmcError> {
        Err(silent())
    }

    fn info(&self) -> Result<Info, BmcError> {
        Err(silent())
    }
}
