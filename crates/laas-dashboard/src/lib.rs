//! The booking dashboard: what its jobs ask for, its HTTP API, and what is to be done for a job.
//!
//! The facts about the API are those of the dashboard of December 2019, the newest with all five kinds of task at
//! work; where that of 2022 differs, both are understood.

pub mod carried;
pub mod client;
pub mod job;
pub mod plan;
pub mod software;

pub use carried::{Carried, Lists, carried};
pub use client::{BmcAccess, Dashboard, DashboardError, List};
pub use job::{Job, Task, Vlan, Work, digest, is_over, powered};
pub use plan::{Known, Other, Plan, Situation, TaskRef, plan};
