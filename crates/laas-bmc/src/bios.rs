//! The password that keeps tenants out of a host's firmware setup.

use crate::BmcError;
use laas_core::Secret;

/// A BMC that can change settings of the host's firmware. They are pending until the host starts next.
pub trait Bios {
    /// Asks for another administrator password; an empty one is none. That the BMC takes it says nothing: the old
    /// password is looked at when the host starts.
    ///
    /// # Errors
    /// The BMC can't be asked or refuses.
    fn change_password(&self, old: &Secret, new: &Secret) -> Result<(), BmcError>;

    /// What came of the settings that the firmware took last.
    ///
    /// # Errors
    /// The BMC can't be asked, or does not say.
    fn settled(&self) -> Result<Settled, BmcError>;
}

/// What the firmware said when it last took settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Another one each time that settings are taken.
    pub mark: String,
    /// Whether it says that it took them.
    pub took: bool,
    /// What it says against them, as message ids.
    pub refusals: Vec<String>,
}

impl Settled {
    pub fn is_success(&self) -> bool {
        self.took && self.refusals.is_empty()
    }
}
