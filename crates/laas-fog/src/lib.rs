//! FOG, the imaging server: hosts, images and tasks over its REST API.
//!
//! Written for FOG 1.5; the lists of 1.6 are read as well. The facts come from FOGProject's
//! `packages/web/lib/router/route.class.php`.

mod client;
mod error;
mod model;
mod snapshot;

pub use client::{Fog, NewImage};
pub use error::FogError;
pub use model::{Host, Id, Image, State, Task, TaskType};
pub use snapshot::{Snapshot, SnapshotError, SnapshotImage};
