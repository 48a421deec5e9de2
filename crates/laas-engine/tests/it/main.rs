//! Tests against the engine as it is delivered: its executable, its API, its crate.

mod api;
mod crash;
mod orquesta;
mod st2;
mod support;
