//! From an execution that is due to its end.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::params::{Live, complete};
use super::{Inner, Start};
use crate::model::*;
use crate::process::{self, EXECUTION_VARIABLE, Launch, Outcome};
use crate::store::{self, StoreError, StoredExecution};

/// Starts what comes in, in its order, as slots get free; ends with the engine.
pub async fn start_what_is_due(inner: Weak<Inner>, mut starts: mpsc::UnboundedReceiver<Start>) {
    while let Some(mut start) = starts.recv().await {
        let Some(engine) = inner.upgrade() else { return };
        if let Some(due) = start.not_before.take() {
            let wait = due.seconds_since(Timestamp::now()).max(0.0);
            let queue = engine.queue.downgrade();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs_f64(wait)).await;
                if let Some(queue) = queue.upgrade() {
                    // Nobody listens when the engine is being closed; the next one takes it up.
                    _ = queue.send(start);
                }
            });
            continue;
        }
        if engine.limit(&start.action).is_some() {
            tokio::spawn(start_under_policy(engine, start));
        } else if start.is_workflow {
            begin_workflow(&engine, &start.id, None).await;
        } else {
            // Slots are given in the order they are asked for. Who waits for one does not keep a closed engine alive.
            let (slots, inner) = (engine.slots.clone(), inner.clone());
            tokio::spawn(async move {
                let Ok(slot) = slots.acquire_owned().await else {
                    return;
                };
                if let Some(engine) = inner.upgrade() {
                    Box::pin(run(engine, start.id, slot)).await;
                }
            });
        }
    }
}

async fn start_under_policy(engine: Arc<Inner>, start: Start) {
    let Some(limit) = engine.limit(&start.action) else {
        return;
    };
    let place = match limit.clone().try_acquire_owned() {
        Ok(place) => place,
        Err(_) => {
            let id = start.id.clone();
            let delayed = engine.turn(move |turn| {
                let mut stored = turn.load(&id)?;
                let waits = stored.execution.status == Status::Requested;
                if waits {
                    turn.set_status(&mut stored, Status::Delayed)
                } else {
                    Ok(())
                }
            });
            if let Err(error) = delayed.await {
                tracing::error!(%error, execution = start.id, "cannot note a delay");
            }
            let Ok(place) = limit.acquire_owned().await else {
                return;
            };
            place
        }
    };
    if start.is_workflow {
        begin_workflow(&engine, &start.id, Some(place)).await;
        return;
    }
    let Ok(slot) = engine.slots.clone().acquire_owned().await else {
        return;
    };
    run(engine, start.id, slot).await;
    drop(place);
}

async fn begin_workflow(engine: &Arc<Inner>, id: &str, place: Option<OwnedSemaphorePermit>) {
    if let Some(place) = place {
        engine.held().insert(id.to_string(), place);
    }
    let begun = id.to_string();
    let has_ended = persist(engine, id, move |engine| {
        let id = begun.clone();
        async move {
            engine
                .turn(move |turn| {
                    turn.begin_workflow(&id)?;
                    Ok(turn.load(&id)?.execution.status.is_final())
                })
                .await
        }
    });
    if has_ended.await {
        engine.held().remove(id);
    }
}

/// Tries until the database takes it: what has happened outside cannot be undone, and must not be forgotten.
async fn persist<T, F: Future<Output = Result<T, StoreError>>>(
    engine: &Arc<Inner>,
    id: &str,
    attempt: impl Fn(Arc<Inner>) -> F,
) -> T {
    loop {
        match attempt(engine.clone()).await {
            Ok(done) => return done,
            Err(error) => {
                tracing::error!(%error, execution = id, "cannot write a change down; tries again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Runs one action to its end.
async fn run(engine: Arc<Inner>, id: String, _slot: OwnedSemaphorePermit) {
    if engine.closing.load(Ordering::SeqCst) {
        return;
    }
    let stored = match engine.store.read(|connection| store::load(connection, &id)) {
        Ok(Some(stored)) if is_due(&stored) => stored,
        Ok(_) => return,
        Err(error) => {
            tracing::error!(%error, execution = id, "cannot read an execution; the next start takes it up");
            return;
        }
    };
    // Known before the execution is `running`, so that whoever cancels it from then on finds what to stop.
    let (stop, stopped) = oneshot::channel();
    engine.running().insert(id.clone(), stop);
    let outcome = match prepare(&engine, &stored) {
        Ok((launch, token_text, token)) => {
            let begun = begin(&engine, &id, token_text, token).await;
            if begun {
                Some(process::run(launch, stopped).await)
            } else {
                None
            }
        }
        Err(message) => Some(process::failure(&message)),
    };
    engine.running().remove(&id);
    let Some(outcome) = outcome else { return };
    // What a closing engine has stopped has not ended: it runs again.
    if engine.closing.load(Ordering::SeqCst) {
        return;
    }
    let ended = id.clone();
    persist(&engine, &id, move |engine| {
        finish(engine, ended.clone(), outcome.clone())
    })
    .await;
}

fn is_due(stored: &StoredExecution) -> bool {
    matches!(stored.execution.status, Status::Requested | Status::Delayed)
}

/// Everything the process gets. Nothing of this is written down but the token's hash.
fn prepare(engine: &Arc<Inner>, stored: &StoredExecution) -> Result<(Launch, String, Token), String> {
    let execution = &stored.execution;
    let packs = engine.packs();
    let action = packs.actions.get(&execution.action);
    let action = action.ok_or_else(|| format!("Action \"{}\" cannot be found.", execution.action))?;
    let context = engine.params_context(action, &execution.context, Object::new())?;
    let live = Live {
        parameters: execution.parameters.clone(),
        deferred: stored.deferred.clone(),
    };
    let done = complete(action, &live, &context)?;
    let timeout = done
        .runner
        .get("timeout")
        .and_then(Value::as_f64)
        .filter(|seconds| *seconds > 0.0)
        .unwrap_or(60.0);
    let directory = done
        .runner
        .get("cwd")
        .and_then(Value::as_str)
        .filter(|directory| !directory.is_empty());
    let (text, token) = store::new_token(execution.user(), TokenKind::Token, None, Some(&execution.id))
        .map_err(|error| error.to_string())?;
    let mut environment = process::environment(done.runner.get("env").unwrap_or(&Value::Null))?;
    environment.insert("ST2_ACTION_PACK_NAME".into(), action.pack.clone());
    environment.insert(EXECUTION_VARIABLE.into(), execution.id.clone());
    environment.insert("ST2_ACTION_API_URL".into(), engine.options.api_url.clone());
    environment.insert("ST2_ACTION_AUTH_TOKEN".into(), text.clone());
    let launch = Launch {
        path: action.path.clone(),
        arguments: done.action,
        environment,
        directory: directory.map(Into::into),
        timeout: Duration::from_secs_f64(timeout),
        grace: engine.options.kill_grace,
    };
    Ok((launch, text, token))
}

/// Writes down that it runs; false when it has been cancelled meanwhile.
async fn begin(engine: &Arc<Inner>, id: &str, text: String, token: Token) -> bool {
    let id = id.to_string();
    let begun = engine.turn(move |turn| {
        let mut stored = turn.load(&id)?;
        if !is_due(&stored) {
            return Ok(false);
        }
        stored.execution.runner_pid = std::process::id();
        stored.advance(Status::Scheduled);
        turn.set_status(&mut stored, Status::Running)?;
        store::put_token(turn.connection, &text, &token)?;
        Ok(true)
    });
    begun.await.unwrap_or_else(|error| {
        tracing::error!(%error, "cannot start an execution; the next start takes it up");
        false
    })
}

async fn finish(engine: Arc<Inner>, id: String, outcome: Outcome) -> Result<(), StoreError> {
    engine
        .turn(move |turn| {
            let mut stored = turn.load(&id)?;
            match stored.execution.status {
                Status::Canceling => turn.end(&mut stored, Status::Canceled, None),
                status if status.is_final() => Ok(()),
                _ if outcome.goes_unnoticed(turn.inner.options.unnoticed.as_deref()) => {
                    turn.inner.lost().insert(id);
                    Ok(())
                }
                _ => turn.end(&mut stored, outcome.status, Some(outcome.result)),
            }
        })
        .await
}
