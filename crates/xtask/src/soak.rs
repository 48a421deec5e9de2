//! The tests' lab, booked at random for as long as one likes.

use crate::succeed;
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Labs that two cores can bear at the same time.
const AT_A_TIME: usize = 3;
const TEST: &str = "at_random::whatever_happens_nobody_is_left_in_and_nothing_untrue_is_said";

/// Runs the lab's random test with other seeds than its own.
///
/// # Errors
/// A promise was broken: the test has said which, and with which seed.
pub fn run(root: &Path, runs: u64, steps: u32, seed: Option<u64>) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let seeds: Vec<u64> = match seed {
        Some(seed) => vec![seed],
        None => (now..now + runs).collect(),
    };
    succeed(Command::new("scripts/stage-pack.sh").arg("dev").current_dir(root))?;
    let engine = ["build", "--quiet", "--locked", "--package", "laas-engine"];
    succeed(Command::new(env!("CARGO")).args(engine).current_dir(root))?;
    for some in seeds.chunks(AT_A_TIME) {
        let some: Vec<_> = some.iter().map(u64::to_string).collect();
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["test", "--locked", "--package", "laas-lab", "--test", "it", "--"])
            .args(["--exact", TEST, "--nocapture"])
            .env("LAAS_SEEDS", some.join(" "))
            .env("LAAS_STEPS", steps.to_string())
            .current_dir(root);
        succeed(&mut cargo)?;
    }
    Ok(())
}
