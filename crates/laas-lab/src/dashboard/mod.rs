//! The booking dashboard of 2019: its lab-facing HTTP API, and what its administrators and users do to it, as methods.
//!
//! It behaves as the Django application was observed to, traps included: HTML errors, posts that are ignored with 200,
//! task statuses that nothing checks, and notifications that fail after the save.

mod booking;
mod form;
mod http;
mod operate;
mod spec;
mod state;
mod task;
mod view;
mod xdf;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;

pub use operate::CaptureBooking;
pub use spec::{BookedHost, BookingSpec, HostSpec, OpnfvSpec, Refused, Role, UserSpec, Vlan};
pub use task::TaskType;
pub use view::{BmcAccount, HostState, JobState, Mail, PageRow, PageStatus, Post, TaskState};

use state::State;

/// A running dashboard; clones share its state.
#[derive(Clone)]
pub struct Dashboard {
    state: Arc<Mutex<State>>,
}

impl Dashboard {
    /// An empty dashboard that knows the lab `name` with its API `token`, and `others` as (name, token).
    pub fn new(name: &str, token: &str, others: &[(&str, &str)]) -> Self {
        let labs = [(name, token)].into_iter().chain(others.iter().copied());
        Self {
            state: Arc::new(Mutex::new(State::new(labs))),
        }
    }

    /// The HTTP face: everything below `/api/labs/`, and the page that deletes a booking.
    pub fn router(&self) -> Router {
        Router::new().fallback(http::serve).with_state(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the lock leaves the state readable for the others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
