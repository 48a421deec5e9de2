//! A host over SSH: its login, files, keys, hostname and network configuration.

pub mod agent;
mod algorithms;
pub mod authorized_keys;
pub mod job;
pub mod network;
pub mod openssh;
pub mod password;
pub mod probe;
pub mod ssh;
pub mod system;
pub mod update;

pub use ssh::{HostKey, HostKeyPolicy, Login, Session, SshError};
