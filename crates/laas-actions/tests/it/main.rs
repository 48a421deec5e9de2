//! The actions' real executables against real daemons and the lab's peers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod dashboard;
mod fog_image;
mod pack;
mod vpn_user;
