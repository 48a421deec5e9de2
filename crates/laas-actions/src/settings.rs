//! What workflows need of the configuration, which they can't see themselves: they get it from `plan_job` in a booking,
//! and from `preflight` by hand.

use laas_core::config::{Config, ReleasedDisk};
use serde::Serialize;

#[derive(Serialize)]
pub struct Settings {
    concurrency: u64,
    retries: u64,
    retry_delay: u64,
    /// What becomes of the disks of hosts that are given back.
    disk: ReleasedDisk,
    /// Whether hosts can be agents of a Jenkins.
    jenkins: bool,
}

impl Settings {
    pub fn of(config: &Config) -> Self {
        Self {
            concurrency: config.timing.concurrency,
            retries: config.timing.retries,
            retry_delay: config.timing.retry_delay,
            disk: config.release.disk,
            // One that can't be used is told of by `jenkins_agent`.
            jenkins: !matches!(config.jenkins(), Ok(None)),
        }
    }
}
