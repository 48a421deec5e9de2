//! `laas-engine serve`: from the command line to a listening engine, and its orderly end.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use laas_engine::command_line::ServeArgs;
use laas_engine::engine::{Engine, Options};
use laas_engine::model::TokenKind;
use laas_engine::store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::{self, App};
use crate::auth::Users;
use crate::crypto::DatastoreCipher;
use crate::sensors::Sensors;
use crate::state::StateDir;

/// How long an action has between SIGTERM and SIGKILL.
const KILL_GRACE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT.
pub fn run(args: ServeArgs) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(args))
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let state = StateDir::open(args.state)?;
    let users = Users::of(state.path());
    if !anybody_can_call(&state, &users).await? {
        let hint = format!("laas-engine key create --state {}", state.path().display());
        anyhow::ensure!(
            args.listen.ip().is_loopback(),
            "refusing to listen on `{}` while there is neither an API key nor a user; first run `{hint}`",
            args.listen
        );
        tracing::warn!("nobody can call yet; run `{hint}`");
    }
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on `{}`", args.listen))?;
    let address = listener.local_addr()?;
    // From here on a signal no longer kills.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let engine = Engine::open(Options {
        pack_dirs: args.packs,
        config_dir: args.config_dir,
        database: state.database(),
        api_url: format!("http://{}/v1", reachable(address)),
        cipher: Arc::new(DatastoreCipher::open(&state.datastore_key())?),
        max_processes: args.max_processes.into(),
        kill_grace: KILL_GRACE,
        unnoticed: args.unnoticed,
    })
    .await?;
    let app = Arc::new(App {
        engine: engine.clone(),
        users,
        hostname: hostname(),
    });
    let server = tokio::spawn(axum::serve(listener, api::router(app)).into_future());
    let stopped = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("stopping");
    };
    let served = run_until(stopped, &engine, address, args.sensors).await;
    // Actions that end may still want to call.
    engine.shutdown().await;
    server.abort();
    served
}

async fn run_until(
    stopped: impl Future<Output = ()>,
    engine: &Engine,
    address: SocketAddr,
    with_sensors: bool,
) -> anyhow::Result<()> {
    let mut registrations = engine.registrations();
    let mut sensors = if with_sensors {
        Some(Sensors::start(engine).await?)
    } else {
        None
    };
    let mut stdout = std::io::stdout();
    writeln!(stdout, "laas-engine listens on http://{address}").and_then(|()| stdout.flush())?;
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            // StackStorm, too, starts the sensors of packs anew that are registered.
            _ = registrations.changed(), if with_sensors => {
                if let Some(sensors) = sensors.take() {
                    sensors.stop().await;
                }
                sensors = Sensors::start(engine)
                    .await
                    .inspect_err(|error| {
                        let error = error as &dyn std::error::Error;
                        tracing::error!(error, "no sensor runs until the packs are registered again");
                    })
                    .ok();
            }
        }
    }
    if let Some(sensors) = sensors {
        sensors.stop().await;
    }
    Ok(())
}

async fn anybody_can_call(state: &StateDir, users: &Users) -> anyhow::Result<bool> {
    let store = Store::open_beside(&state.database())?;
    Ok(!users.is_empty()? || !store.tokens(TokenKind::ApiKey).await?.is_empty())
}

/// Where this machine's own processes reach what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_call_back_on_an_address_they_can_reach() {
        let cases = [
            ("127.0.0.1:9101", "127.0.0.1:9101"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("192.0.2.1:3", "192.0.2.1:3"),
        ];
        for (listen, expected) in cases {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        }
    }
}
