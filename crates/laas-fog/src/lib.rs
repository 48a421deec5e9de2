//! FOG, the imaging server: hosts, images and tasks over its REST API.
//!
//! For FOG 1.5 and 1.6, told apart by what they answer: the shape of a list, where an image's storage groups stand.
//! The facts come from FOGProject's `packages/web/lib/router/route.class.php` (1.5) and
//! `packages/web/src/Router/Route.php` (1.6).

mod client;
mod error;
mod model;
mod snapshot;
mod storage;

pub use client::{Fog, NewImage};
pub use error::FogError;
pub use model::{Host, Id, Image, State, Task, TaskType};
pub use snapshot::{Snapshot, SnapshotError, SnapshotImage};
