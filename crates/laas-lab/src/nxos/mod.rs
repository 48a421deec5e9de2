//! A Nexus switch: NX-API over HTTP, a running and a startup configuration.
//!
//! As read in ansible's `cisco.nxos`, pynxos and Cisco's programmability
//! guides: the outer HTTP status says little, one output is an object and
//! several are a list, and a second call at the same time is turned away.

mod api;
pub(crate) mod config;
mod show;
pub mod vlan_set;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use serde::Serialize;

use crate::cabling::Cabling;
use config::{Config, Context, Flavour};

/// A switch with its state. A cheap handle.
#[derive(Debug, Clone)]
pub struct Nxos(Arc<Switch>);

#[derive(Debug)]
struct Switch {
    address: Ipv4Addr,
    user: String,
    password: String,
    call_time: Duration,
    busy: AtomicBool,
    cabling: Cabling,
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
struct State {
    running: Config,
    startup: Config,
    counters: Counters,
}

/// What was asked of a switch since it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Calls that were let in.
    pub calls: u32,
    /// Calls turned away because another one was under way.
    pub turned_away: u32,
    /// Every line of configuration that was taken, in order.
    pub lines: Vec<String>,
    /// How often the running configuration was saved.
    pub saves: u32,
}

impl Nxos {
    /// A switch with ports `Ethernet1/1` to `Ethernet1/<ports>`, in the state
    /// in which a previous tenant left it. `call_time` is how long it takes
    /// over a call.
    pub fn new(
        address: Ipv4Addr,
        ports: u16,
        (user, password): (&str, &str),
        cabling: Cabling,
        call_time: Duration,
    ) -> Self {
        let running = Config::left_over(Flavour::Nxos, ports);
        cabling.replace(address, running.carried());
        let state = State {
            startup: running.clone(),
            running,
            counters: Counters::default(),
        };
        Self(Arc::new(Switch {
            address,
            user: user.into(),
            password: password.into(),
            call_time,
            busy: AtomicBool::new(false),
            cabling,
            state: Mutex::new(state),
        }))
    }

    /// The API: `POST /ins`.
    pub fn router(&self) -> Router {
        api::router(self.clone())
    }

    /// Calls, lines and saves so far.
    pub fn counters(&self) -> Counters {
        self.locked().counters.clone()
    }

    /// How the switch calls a port.
    pub fn port_name(port: u16) -> String {
        Flavour::Nxos.port_name(port)
    }

    /// The whole running configuration.
    pub fn running(&self) -> String {
        show::whole(&self.locked().running)
    }

    /// What a person types at the console.
    ///
    /// # Errors
    /// The first line that is refused.
    pub fn type_in(&self, lines: &[&str]) -> Result<(), String> {
        let mut state = self.locked();
        let mut context = Context::default();
        for line in lines {
            let typed = state.running.apply(&mut context, line);
            typed.map_err(|error| format!("`{line}`: {error:?}"))?;
        }
        self.publish(&state.running);
        Ok(())
    }

    /// The section of the running configuration for `Ethernet1/<port>`.
    pub fn port_section(&self, port: u16) -> String {
        self.locked().running.port_section(port)
    }

    /// Whether a restart would change nothing: the startup configuration is the running one.
    pub fn is_saved(&self) -> bool {
        let state = self.locked();
        state.running == state.startup
    }

    /// Restarts the switch: what was not saved is gone.
    pub fn reload(&self) {
        let mut state = self.locked();
        state.running = state.startup.clone();
        self.publish(&state.running);
    }

    fn publish(&self, running: &Config) {
        self.0.cabling.replace(self.0.address, running.carried());
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the only session; `None` if it is taken.
    fn session(&self) -> Option<Session<'_>> {
        let taken = self.0.busy.swap(true, Ordering::SeqCst);
        (!taken).then_some(Session(&self.0.busy))
    }
}

/// The one call under way; its end, also by the client's going away, lets the
/// next one in.
struct Session<'a>(&'a AtomicBool);

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
