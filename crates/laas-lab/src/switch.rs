//! What the lab's switches have in common, whoever made them.

use axum::Router;

use crate::eos::Eos;
use crate::nxos::{Counters, Nxos};

/// A switch of the lab, seen from its console.
pub trait LabSwitch: Send + Sync {
    /// Its API.
    fn router(&self) -> Router;
    /// Calls, lines and saves so far.
    fn counters(&self) -> Counters;
    /// How it calls its port with this number.
    fn port_name(&self, port: u16) -> String;
    /// The port's section of the running configuration.
    fn port_section(&self, port: u16) -> String;
    /// The whole running configuration.
    fn running(&self) -> String;
    /// Whether a restart would change nothing.
    fn is_saved(&self) -> bool;
    /// Restarts it: what was not saved is gone.
    fn reload(&self);
    /// What a person types in configuration mode.
    ///
    /// # Errors
    /// The first line that is refused.
    fn type_in(&self, lines: &[&str]) -> Result<(), String>;
}

/// The methods of the same names.
macro_rules! lab_switch {
    ($($kind:ident),*) => {$(
        impl LabSwitch for $kind {
            fn router(&self) -> Router {
                $kind::router(self)
            }

            fn counters(&self) -> Counters {
                $kind::counters(self)
            }

            fn port_name(&self, port: u16) -> String {
                $kind::port_name(port)
            }

            fn port_section(&self, port: u16) -> String {
                $kind::port_section(self, port)
            }

            fn running(&self) -> String {
                $kind::running(self)
            }

            fn is_saved(&self) -> bool {
                $kind::is_saved(self)
            }

            fn reload(&self) {
                $kind::reload(self);
            }

            fn type_in(&self, lines: &[&str]) -> Result<(), String> {
                $kind::type_in(self, lines)
            }
        }
    )*};
}

lab_switch!(Nxos, Eos);
