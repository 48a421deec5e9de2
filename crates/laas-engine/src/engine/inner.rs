//! What every handle on the engine shares.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::turn::{Effects, Turn};
use super::{Cipher, Inner, RequestError, params};
use crate::jinja::Datastore;
use crate::model::*;
use crate::store::{Durability, Store, StoreError, StoredExecution};

impl Inner {
    /// Takes up what an earlier process left.
    pub(super) async fn recover(self: &Arc<Self>) -> Result<(), StoreError> {
        let unfinished = self.store.read(crate::store::unfinished)?;
        let was_running = |stored: &&StoredExecution| {
            !stored.execution.is_workflow
                && matches!(stored.execution.status, Status::Running | Status::Canceling)
        };
        for stored in unfinished
            .iter()
            .filter(|stored| stored.execution.status == Status::Running)
        {
            let limit = self
                .limit(&stored.execution.action)
                .filter(|_| stored.execution.is_workflow);
            if let Some(Ok(place)) = limit.map(|limit| limit.try_acquire_owned()) {
                self.held().insert(stored.execution.id.clone(), place);
            }
        }
        let leftovers: Vec<String> = unfinished
            .iter()
            .filter(was_running)
            .map(|stored| stored.execution.id.clone())
            .collect();
        if !leftovers.is_empty() {
            tracing::warn!(
                executions = leftovers.len(),
                "takes up what an earlier engine was running"
            );
        }
        tokio::task::spawn_blocking(move || crate::process::kill_leftovers(&leftovers))
            .await
            .map_err(|error| StoreError(error.to_string()))?;
        self.turn(move |turn| {
            for stored in unfinished {
                turn.take_up(stored)?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn known(&self, id: &str) -> Result<Execution, RequestError> {
        let found = self.store.execution(id).await?;
        found.ok_or_else(|| RequestError::NotFound(format!("Unable to identify resource with id \"{id}\".")))
    }

    /// Renders and checks parameters; the error is the API's.
    pub(super) fn accept(
        &self,
        action: &crate::pack::Action,
        given: &Object,
        context: &Object,
        more: Object,
    ) -> Result<params::Live, String> {
        if !action.enabled {
            return Err(format!(
                "Unable to execute. Action \"{}\" is disabled.",
                action.reference
            ));
        }
        let context = self.params_context(action, context, more)?;
        let live = params::accept(action, given, &context)?;
        if action.is_workflow() && !live.deferred.is_empty() {
            let names = live.deferred.join(", ");
            return Err(format!(
                "A workflow may not be given a secret, because it would be stored: {names}"
            ));
        }
        Ok(live)
    }

    pub(super) fn params_context(
        &self,
        action: &crate::pack::Action,
        context: &Object,
        more: Object,
    ) -> Result<params::Context, String> {
        let user = context.get("user").and_then(Value::as_str).unwrap_or_default();
        let config = match self.packs().packs.get(&action.pack) {
            Some(pack) => Value::Object(crate::pack::config::resolve(pack, user, &self.datastore)?),
            None => Value::Null,
        };
        Ok(params::Context {
            config,
            action_context: context.clone(),
            more,
            store: self.datastore.clone(),
        })
    }

    /// Runs `work` as one transaction and then does what it has led to, whether or not anybody still waits for this.
    pub(super) async fn turn<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Turn<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let (inner, after) = (self.clone(), self.clone());
        self.store.write_then(
            Durability::Process,
            move |connection| {
                let mut turn = Turn {
                    connection,
                    inner: &inner,
                    effects: Effects::default(),
                };
                let done = work(&mut turn)?;
                Ok((done, turn.effects))
            },
            move |result| {
                let result = result.map(|(done, effects)| {
                    after.apply(effects);
                    done
                });
                _ = answer.send(result);
            },
        )?;
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError("it is closed".into())))
    }

    pub(super) fn apply(&self, effects: Effects) {
        for id in effects.ended {
            self.held().remove(&id);
            self.lost().remove(&id);
        }
        for id in effects.stop {
            if let Some(stop) = self.running().remove(&id) {
                // It may have ended by itself just now.
                _ = stop.send(());
            }
        }
        for start in effects.start {
            // Nobody listens when the engine is being closed; the next one takes it up.
            _ = self.queue.send(start);
        }
        for change in effects.changes {
            // Nobody may be waiting.
            _ = self.changes.send(change);
        }
    }

    pub(super) fn running(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lost(&self) -> MutexGuard<'_, HashSet<String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn held(&self) -> MutexGuard<'_, HashMap<String, OwnedSemaphorePermit>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of the store as templates see them.
pub struct StoredKeys {
    pub store: Store,
    pub cipher: Arc<dyn Cipher>,
}

impl Datastore for StoredKeys {
    fn get(&self, scope: &str, name: &str) -> Result<Option<String>, String> {
        let found = self
            .store
            .read(|connection| crate::store::key(connection, scope, name));
        found
            .map(|key| key.map(|key| key.value))
            .map_err(|error| error.to_string())
    }

    fn decrypt(&self, cipher: &str) -> Result<String, String> {
        self.cipher.decrypt(cipher).map_err(|error| error.to_string())
    }
}
