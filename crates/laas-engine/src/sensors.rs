//! Runs the packs' sensors as children and keeps them running.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use laas_engine::engine::Engine;
use laas_engine::model::{Timestamp, TokenKind};
use laas_engine::pack::Sensor;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The user in whose name sensors call, as StackStorm names it.
const SENSOR_USER: &str = "sensors_container";

/// StackStorm's lifetime of a sensor's token; it is not renewed, a sensor ends itself and is started with a new one.
const TOKEN_TTL_SECONDS: f64 = 24.0 * 60.0 * 60.0;

/// StackStorm's `SENSOR_MAX_RESPAWN_COUNTS`, `SENSOR_SUCCESSFUL_START_THRESHOLD` and `SENSOR_RESPAWN_DELAY`. It gives a
/// sensor up after so many respawns; here the pauses grow from then on, as nobody may be there to start it again.
const QUICK_RESPAWNS: u32 = 2;
const STARTED_AFTER: Duration = Duration::from_secs(10);
const RESPAWN_DELAY: Duration = Duration::from_millis(2500);
const LONGEST_RESPAWN_DELAY: Duration = Duration::from_secs(60);

/// The sensors that run.
pub struct Sensors {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// A sensor cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    #[error(
        "the sensor `{sensor}` needs the executable `{path}`; build the pack first, or start without `--sensors`"
    )]
    NoExecutable { sensor: String, path: PathBuf },
    #[error("cannot use the database")]
    Store(#[from] laas_engine::store::StoreError),
    #[error("cannot read the pack's configuration: {0}")]
    Config(String),
    #[error("cannot start `{path}`")]
    Spawn { path: PathBuf, source: std::io::Error },
}

impl Sensors {
    /// Starts every enabled sensor of every pack.
    pub async fn start(engine: &Engine) -> Result<Sensors, SensorError> {
        let (stop, _) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for sensor in engine.packs().sensors.values() {
            let enabled = engine.store().rule_enabled(&sensor.uid()).await?;
            if !enabled.unwrap_or(sensor.enabled) {
                continue;
            }
            let path = executable(engine, sensor)?;
            let runner = Runner {
                engine: engine.clone(),
                sensor: sensor.clone(),
                path,
                stop: stop.subscribe(),
            };
            tasks.spawn(runner.run());
        }
        Ok(Sensors { tasks, stop })
    }

    /// Ends them all: SIGTERM, and SIGKILL for those that do not end in time.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Before a sensor is started again that has failed so often already soon after its start.
fn respawn_delay(respawns: u32) -> Duration {
    let slower = 2_u32.saturating_pow(respawns.saturating_sub(QUICK_RESPAWNS - 1));
    RESPAWN_DELAY.saturating_mul(slower).min(LONGEST_RESPAWN_DELAY)
}

/// The sensor's Python class only replaces itself by the executable of the same name, so that is what is run.
fn executable(engine: &Engine, sensor: &Sensor) -> Result<PathBuf, SensorError> {
    let stem = Path::new(&sensor.metadata_file).file_stem().unwrap_or_default();
    let pack = engine
        .packs()
        .packs
        .get(&sensor.pack)
        .map(|pack| pack.path.clone())
        .unwrap_or_default();
    let path = pack.join("actions/bin").join(stem);
    match path.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => Ok(path),
        _ => Err(SensorError::NoExecutable {
            sensor: sensor.reference.clone(),
            path,
        }),
    }
}

struct Runner {
    engine: Engine,
    sensor: Sensor,
    path: PathBuf,
    stop: watch::Receiver<bool>,
}

impl Runner {
    async fn run(mut self) {
        let sensor = self.sensor.reference.clone();
        let mut respawns = 0;
        loop {
            let started = Instant::now();
            match self.run_once().await {
                Ok(None) => return,
                Ok(Some(status)) if status.success() => {
                    tracing::info!(sensor, "the sensor has ended");
                    return;
                }
                Ok(Some(status)) => tracing::warn!(sensor, %status, "the sensor has failed"),
                Err(error) => tracing::error!(
                    sensor,
                    error = &error as &dyn std::error::Error,
                    "the sensor has failed"
                ),
            }
            if started.elapsed() >= STARTED_AFTER {
                respawns = 0;
            }
            let pause = respawn_delay(respawns);
            respawns = respawns.saturating_add(1);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// How it ended, `None` when it was stopped.
    async fn run_once(&mut self) -> Result<Option<ExitStatus>, SensorError> {
        let mut child = self.spawn().await?;
        let failed = |source| SensorError::Spawn {
            path: self.path.clone(),
            source,
        };
        tokio::select! {
            status = child.wait() => return Ok(Some(status.map_err(failed)?)),
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
        if let Some(pid) = child.id() {
            // SAFETY: the child has not been waited for, so the id is still its own.
            unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
        }
        if tokio::time::timeout(self.engine.options().kill_grace, child.wait())
            .await
            .is_err()
        {
            child.kill().await.map_err(failed)?;
        }
        Ok(None)
    }

    async fn spawn(&self) -> Result<Child, SensorError> {
        let expires = Timestamp::now().plus_seconds(TOKEN_TTL_SECONDS);
        let store = self.engine.store();
        let (token, _) = store
            .issue_token(SENSOR_USER, TokenKind::Token, Some(expires), None)
            .await?;
        let config = self
            .engine
            .config(&self.sensor.pack)
            .await
            .map_err(|e| SensorError::Config(e.to_string()))?;
        let environment = BTreeMap::from([
            ("ST2_API_URL".to_string(), self.engine.options().api_url.clone()),
            ("ST2_AUTH_TOKEN".to_string(), token),
            (
                format!("{}_CONFIG", self.sensor.pack.to_uppercase()),
                serde_json::Value::Object(config).to_string(),
            ),
        ]);
        let mut command = Command::new(&self.path);
        command.envs(environment).stdin(Stdio::null()).kill_on_drop(true);
        let failed = |source| SensorError::Spawn {
            path: self.path.clone(),
            source,
        };
        // The engine's own stdout carries one line, for whoever waits for it.
        command.stdout(std::io::stderr().as_fd().try_clone_to_owned().map_err(failed)?);
        // SAFETY: prctl is safe to call between fork and exec.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        command.spawn().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_that_keeps_failing_is_started_less_and_less_often_but_always() {
        let pauses: Vec<_> = (0..8).map(|n| respawn_delay(n).as_millis()).collect();
        assert_eq!(pauses, [2500, 2500, 5000, 10_000, 20_000, 40_000, 60_000, 60_000]);
        assert_eq!(respawn_delay(u32::MAX), LONGEST_RESPAWN_DELAY);
    }
}
