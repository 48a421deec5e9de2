#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod client;
mod hostile;
mod job;
mod plan;
