//! An embedded stand-in for StackStorm on one machine: it loads a pack as it is, runs its actions and Orquesta
//! workflows, fires its rules, and keeps everything in one SQLite file.

pub mod engine;
pub mod model;
pub mod pack;
pub mod store;
