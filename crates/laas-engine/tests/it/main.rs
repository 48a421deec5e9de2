//! Tests against the engine as it is delivered: its executable, its API, its crate.

mod api;
mod st2;
mod support;
