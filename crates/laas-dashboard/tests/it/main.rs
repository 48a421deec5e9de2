#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod client;
mod hostile;
#[path = "../../../../tests/hostile.rs"]
mod hostile_values;
mod job;
mod plan;
