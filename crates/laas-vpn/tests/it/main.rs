//! Against a real slapd on loopback, and servers that are none.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod directory;
mod slapd;
