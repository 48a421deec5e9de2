//! FOG 1.5 or 1.6: hosts, images and tasks over its REST API, and the
//! network's side of a PXE boot.
//!
//! It was read in the sources (1.5: `packages/web/lib/router/route.class.php`,
//! 1.6: `packages/web/src/Router/Route.php`) what they answer, down to the
//! traps: a `DELETE` that names no task, or one that does not exist, cancels
//! every task; a name sent back is "Already created"; the end of a task is
//! not an answer to anything but a state; 1.6 wakes a host unless it is told
//! not to.

mod boot;
mod files;
mod routes;
mod rows;
mod shapes;
mod shown;
mod state;
mod storage;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;
use tokio::sync::broadcast;

use crate::cabling::{Order, Os, PxeServer};
use crate::faults::{Faults, Kind, Peer};
use files::Files;
use state::{Image, State};
pub use state::{TaskNames, TaskView};

/// The web root of a stock installation.
pub const WEB_ROOT: &str = "/fog";

/// Magic packets that a card may be late to hear.
const MAGIC_PACKETS: usize = 64;

/// Which FOG it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// Before August 2026: no state for what has failed.
    #[default]
    V1_5,
    /// Of September 2026.
    V1_6,
}

/// FOG with its state. A cheap handle.
#[derive(Debug, Clone)]
pub struct Fog {
    state: Arc<Mutex<State>>,
    faults: Faults,
    tokens: Arc<Tokens>,
    files: Arc<Files>,
    magic_packets: broadcast::Sender<String>,
}

/// The two tokens as FOG stores them; the web pages show them in base64.
#[derive(Debug)]
struct Tokens {
    api: String,
    user: String,
    /// What 1.6 takes alone, as it is.
    bearer: String,
}

impl Fog {
    /// A FOG 1.5 with the lab's images, no hosts, and these two tokens.
    pub fn new(api_token: &str, user_token: &str, faults: Faults) -> Self {
        Self::of(Version::V1_5, api_token, user_token, faults)
    }

    /// As [`Fog::new`], of another version.
    pub fn of(version: Version, api_token: &str, user_token: &str, faults: Faults) -> Self {
        let bearer = user_token.replace(|c: char| !c.is_ascii_alphanumeric(), "");
        Self {
            state: Arc::new(Mutex::new(State::new(version))),
            faults,
            tokens: Arc::new(Tokens {
                api: api_token.into(),
                user: user_token.into(),
                bearer: format!("fog_{bearer}"),
            }),
            magic_packets: broadcast::channel(MAGIC_PACKETS).0,
            files: Arc::default(),
        }
    }

    /// The API token that 1.6 has issued to the user.
    pub fn bearer(&self) -> String {
        self.tokens.bearer.clone()
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

    /// Adds an image that has a system in it; answers its id.
    pub fn add_image(&self, name: &str, os: Os) -> u32 {
        self.locked().add_image(name, Some(os))
    }

    /// Puts an image's files into these storage groups only.
    pub fn store_image(&self, image: u32, groups: &[u32]) {
        self.locked().store_image(image, groups);
    }

    /// Enables or disables a storage node. The lab's FOG has one, of id 1, in
    /// the storage group 1; the group 2 is empty.
    pub fn enable_node(&self, node: u32, enabled: bool) {
        self.locked().storage.enable(node, enabled);
    }

    /// Lets a storage node's FTP port answer or not.
    pub fn set_node_online(&self, node: u32, online: bool) {
        let offline = &mut self.locked().storage.offline;
        if online {
            offline.remove(&node);
        } else {
            offline.insert(node);
        }
    }

    /// Lets an image's object say only the name of its storage group.
    pub fn hide_storage_groups(&self, image: u32) {
        if let Some(image) = self.locked().images.get_mut(&image) {
            image.says_groups = false;
        }
    }

    /// What tasks are called from now on.
    pub fn name_tasks(&self, names: TaskNames) {
        self.locked().task_names = names;
    }

    /// Queues a task as somebody does on the web page, `kind` as in [`TaskView::task_type`]; answers its id, or `None` if
    /// FOG refuses it.
    pub fn queue_task(&self, host: &str, kind: u32, name: &str) -> Option<u32> {
        let mut state = self.locked();
        let (key, _) = state
            .hosts
            .iter()
            .find(|(_, known)| rows::text(&known.row, "name") == host)?;
        let key = *key;
        let wanted = rows::row([
            ("taskTypeID", &kind.to_string()),
            ("taskName", name),
            ("wol", "0"),
        ]);
        state.create_task(key, &wanted).ok()?;
        state.tasks.keys().last().copied()
    }

    /// Lets somebody queue a task of this kind right before the next order.
    pub fn race(&self, kind: u32) {
        self.locked().race = Some(kind);
    }

    /// Renames a host as somebody does on the web page.
    pub fn rename_host(&self, host: &str, name: &str) {
        let mut state = self.locked();
        let known = state.hosts.values_mut();
        for host in known.filter(|known| rows::text(&known.row, "name") == host) {
            rows::set(&mut host.row, "name", name);
        }
    }

    /// Writes columns of a task, as plug-ins do, and whoever restores a database.
    pub fn edit_task(&self, task: u32, columns: &[(&str, &str)]) {
        if let Some(task) = self.locked().tasks.get_mut(&task) {
            for (column, value) in columns {
                rows::set(&mut task.row, column, value);
            }
        }
    }

    /// Queues a task a second time, as two orders at once do; answers the second one's id.
    pub fn double_task(&self, task: u32) -> Option<u32> {
        let mut state = self.locked();
        let mut twin = state.tasks.get(&task)?.clone();
        state.last_task += 1;
        let key = state.last_task;
        rows::set(&mut twin.row, "id", key);
        state.tasks.insert(key, twin);
        Some(key)
    }

    /// Cancels a task as somebody does on the web page.
    pub fn cancel_task(&self, task: u32) {
        self.locked().cancel_task(Some(task), &rows::Row::new());
    }

    /// The client on the host stops with an error. 1.5 does not hear of it.
    pub fn client_failed(&self, task: u32) {
        self.locked().client_failed(task);
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

    /// Deletes an image's entry, as its web page does.
    pub fn delete_image(&self, image: u32) {
        self.locked().delete_image(image);
    }

    /// All images as the API shows them.
    pub fn images(&self) -> Vec<Value> {
        let state = self.locked();
        let shown = |image| state.image_json(image);
        state.images.values().map(shown).collect()
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
    fn magic_packets(&self) -> broadcast::Receiver<String> {
        self.magic_packets.subscribe()
    }

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
        let mut order = state.start(task);
        if let Order::Deploy { image, files, .. } = &mut order {
            *files = state.path_of(*image).and_then(|path| self.files.of(&path));
        }
        order
    }

    fn keep(&self, task: u32, root: &Path) -> io::Result<()> {
        self.files.receive(task, root)
    }

    fn wiped(&self, task: u32) {
        self.locked().finish(task);
    }

    fn progress(&self, task: u32, percent: u8) {
        self.locked().progress(task, percent);
    }

    fn finished(&self, task: u32, disk: &Os) {
        let mut state = self.locked();
        if let Some(path) = state.capture(task) {
            if let Err(error) = self.files.move_in(task, &path) {
                // The client tries again for a while and gives up.
                tracing::warn!(%error, path, "the capture was not moved into its image");
                return;
            }
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
