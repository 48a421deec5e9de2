//! An embedded stand-in for StackStorm on one machine: it loads a pack as it is, runs its actions and Orquesta
//! workflows, fires its rules, and keeps everything in one SQLite file.

pub mod command_line;
pub mod engine;
mod jinja;
pub mod model;
pub mod orquesta;
pub mod pack;
mod process;
pub mod python;
pub mod store;
