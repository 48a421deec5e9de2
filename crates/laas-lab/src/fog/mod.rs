//! FOG 1.5: hosts, images and tasks over its REST API, and the network's side
//! of a PXE boot.
//!
//! It was read in the 1.5 source (`packages/web/lib/router/route.class.php`)
//! what it answers, down to the traps: a `DELETE` that names no task, or one
//! that does not exist, cancels every task; a name sent back is "Already
//! created"; the end of a task is not an answer to anything but a state.

mod routes;
mod rows;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::cabling::{Order, Os, PxeServer};
use crate::faults::{Faults, Kind, Peer};
pub use state::TaskView;
use state::{Image, State};

/// The web root of a stock installation.
pub const WEB_ROOT: &str = "/fog";

/// FOG with its state. A cheap handle.
#[derive(Debug, Clone)]
pub struct Fog {
    state: Arc<Mutex<State>>,
    faults: Faults,
    tokens: Arc<Tokens>,
}

/// The two tokens as FOG stores them; the web pages show them in base64.
#[derive(Debug)]
struct Tokens {
    api: String,
    user: String,
}

impl Fog {
    /// A FOG with the lab's images, no hosts, and these two tokens.
    pub fn new(api_token: &str, user_token: &str, faults: Faults) -> Self {
        Self {
            state: Arc::default(),
            faults,
            tokens: Arc::new(Tokens {
                api: api_token.into(),
                user: user_token.into(),
            }),
        }
    }

    /// The global token as the configuration page shows it.
    pub fn shown_api_token(&self) -> String {
        BASE64_STANDARD.encode(&self.tokens.api)
    }

    /// The user's token as the user page shows it.
    pub fn shown_user_token(&self) -> String {
        BASE64_STANDARD.encode(&self.tokens.user)
    }

    /// The API, below [`WEB_ROOT`].
    pub fn router(&self) -> Router {
        routes::router(self.clone())
    }

    /// Registers a host; answers its id.
    pub fn add_host(&self, name: &str, macs: impl IntoIterator<Item = String>, image: u32) -> u32 {
        self.locked().add_host(name, macs.into_iter().collect(), image)
    }

    /// Switches the API off or on, as the configuration page does.
    pub fn enable_api(&self, enabled: bool) {
        self.locked().api_enabled = enabled;
    }

    /// Every task that was ever made, the oldest first.
    pub fn tasks(&self) -> Vec<TaskView> {
        self.locked().views()
    }

    /// The image set for the host; `None` if there is no such host.
    pub fn host_image(&self, name: &str) -> Option<u32> {
        self.locked().host_image(name)
    }

    /// The operating system in an image; `None` if nothing was captured yet.
    pub fn image_os(&self, image: u32) -> Option<Os> {
        self.locked()
            .images
            .get(&image)
            .and_then(|image| image.os.clone())
    }

    /// Every request so far, as `PUT /fog/host/1`.
    pub fn requests(&self) -> Vec<String> {
        self.locked().requests.clone()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PxeServer for Fog {
    fn boot(&self, mac: &str) -> Order {
        let mut state = self.locked();
        let Some(task) = state.task_for(mac) else {
            return Order::Disk;
        };
        if self
            .faults
            .take_if(&Peer::Fog, |kind| kind == Kind::LieDone)
            .is_some()
        {
            state.finish(task);
            return Order::Disk;
        }
        state.start(task)
    }

    fn progress(&self, task: u32, percent: u8) {
        self.locked().progress(task, percent);
    }

    fn finished(&self, task: u32, disk: &Os) {
        let mut state = self.locked();
        if state.is_capture(task) {
            state.store_capture(task, disk);
        }
        state.finish(task);
    }
}

/// The images of the lab: those of the default bookings, one that is switched
/// off, and one of another distribution.
fn stock_images() -> impl Iterator<Item = Image> {
    [
        (17, "ubuntu-18.04", "ubuntu", "18.04", true),
        (21, "opensuse-15.1", "opensuse-leap", "15.1", true),
        (22, "ubuntu-20.04", "ubuntu", "20.04", true),
        (23, "centos-6", "centos", "6", false),
        (24, "debian-10", "debian", "10", true),
        (25, "centos-7", "centos", "7", true),
    ]
    .into_iter()
    .map(|(id, name, os, version, enabled)| {
        Image::new(
            id,
            name,
            Some(Os {
                id: os.into(),
                version: version.into(),
            }),
            enabled,
        )
    })
}
