//! The ground floor of the pack: what every client and every action stands on.
//!
//! Only this crate knows that a datastore and an engine exist. It knows no outside system.

pub mod action;
pub mod child;
pub mod config;
pub mod datastore;
pub mod engine;
pub mod env_vars;
pub mod failure;
pub mod heartbeat;
pub mod http;
pub mod inventory;
pub mod json_arg;
pub mod keys;
pub mod ledger;
pub mod lock;
pub mod names;
pub mod parallel;
pub mod scratch;
pub mod secret;
pub mod ssh_key;
pub mod st2_client;
pub mod wait;

pub use failure::{Classify, Failure, Kind};
pub use names::{HostName, Mac, VlanId};
pub use secret::Secret;
