//! An Arista switch: eAPI over HTTP, a running and a startup configuration, and configuration sessions.
//!
//! As read in ansible's `arista.eos`, pyeapi, napalm and Arista's guides: a request runs until a command fails, a
//! session that is not committed stays, and there is room for few of them.

mod api;
mod cli;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;

use crate::cabling::Cabling;
use crate::nxos::Counters;
use crate::nxos::config::{Config, Flavour};

/// A switch with its state. A cheap handle.
#[derive(Debug, Clone)]
pub struct Eos(Arc<Switch>);

#[derive(Debug)]
struct Switch {
    address: Ipv4Addr,
    user: String,
    password: String,
    call_time: Duration,
    cabling: Cabling,
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
struct State {
    running: Config,
    startup: Config,
    sessions: BTreeMap<String, Session>,
    /// What `enable` asks for, if it asks.
    enable_password: Option<String>,
    counters: Counters,
}

/// A configuration session. Its lines count when it is committed.
#[derive(Debug, Clone, Default)]
struct Session {
    lines: Vec<String>,
    completed: bool,
}

impl Eos {
    /// A switch with ports `Ethernet1` to `Ethernet<ports>`, in the state in which a previous tenant left it.
    /// `call_time` is how long it takes over a call.
    pub fn new(
        address: Ipv4Addr,
        ports: u16,
        (user, password): (&str, &str),
        cabling: Cabling,
        call_time: Duration,
    ) -> Self {
        let running = Config::left_over(Flavour::Eos, ports);
        cabling.replace(address, running.carried());
        let state = State {
            startup: running.clone(),
            running,
            sessions: BTreeMap::new(),
            enable_password: None,
            counters: Counters::default(),
        };
        Self(Arc::new(Switch {
            address,
            user: user.into(),
            password: password.into(),
            call_time,
            cabling,
            state: Mutex::new(state),
        }))
    }

    /// The API: `POST /command-api`.
    pub fn router(&self) -> Router {
        api::router(self.clone())
    }

    /// From now on `enable` asks for this password.
    pub fn set_enable_password(&self, password: &str) {
        self.locked().enable_password = Some(password.into());
    }

    /// Calls, lines and saves so far.
    pub fn counters(&self) -> Counters {
        self.locked().counters.clone()
    }

    /// How the switch calls a port.
    pub fn port_name(port: u16) -> String {
        Flavour::Eos.port_name(port)
    }

    /// The whole running configuration.
    pub fn running(&self) -> String {
        cli::whole(&self.locked().running)
    }

    /// The section of the running configuration for `Ethernet<port>`.
    pub fn port_section(&self, port: u16) -> String {
        self.locked().running.port_section(port)
    }

    /// The sessions that nobody has committed.
    pub fn pending_sessions(&self) -> Vec<String> {
        let state = self.locked();
        let pending = state.sessions.iter().filter(|(_, session)| !session.completed);
        pending.map(|(name, _)| name.clone()).collect()
    }

    /// Whether a restart would change nothing: the startup configuration is the running one.
    pub fn is_saved(&self) -> bool {
        let state = self.locked();
        state.running == state.startup
    }

    /// Restarts the switch: what was not saved is gone, and so are the sessions.
    pub fn reload(&self) {
        let mut state = self.locked();
        state.running = state.startup.clone();
        state.sessions.clear();
        self.publish(&state.running);
    }

    /// What a person types at the console, in the running configuration and without a session.
    ///
    /// # Errors
    /// The first line that is refused.
    pub fn type_in(&self, lines: &[&str]) -> Result<(), String> {
        let mut state = self.locked();
        let mut shell = cli::Shell::configuring();
        for line in lines {
            shell
                .run(&mut state, line, None)
                .map_err(|error| format!("`{line}`: {error}"))?;
        }
        self.publish(&state.running);
        Ok(())
    }

    fn publish(&self, running: &Config) {
        self.0.cabling.replace(self.0.address, running.carried());
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
