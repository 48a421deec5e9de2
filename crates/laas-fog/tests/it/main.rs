//! The client against FOG's answers, good and bad.

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used)]

mod canned;
mod client;
mod versions;
