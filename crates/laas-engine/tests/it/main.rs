//! Tests against the engine as it is delivered: its executable, its API, its crate.

#![allow(
    clippy::unwrap_used,
    reason = "Clippy knows the tests themselves, not what they call"
)]

mod api;
mod api_life;
mod crash;
mod orquesta;
mod setup;
mod st2;
mod support;
#[path = "../../../../tests/venv.rs"]
mod venv;
