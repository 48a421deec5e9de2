//! Server-sent events, by which `st2 execution tail` follows what runs.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use laas_engine::engine::Change;
use laas_engine::model::{Execution, Timestamp};
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::query::Params;
use super::{ApiError, SharedApp, executions};

/// Every change of an execution from now on; with `end_execution_id` until that one has ended.
pub async fn stream(
    State(app): State<SharedApp>,
    params: Params,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let mut follower = Follower {
        changes: app.engine.changes(),
        last: params.get("end_execution_id").cloned(),
        pending: VecDeque::new(),
        ended: false,
        app,
    };
    // It may have ended between the client's look at it and the subscription.
    follower.check_last().await?;
    let events = stream::unfold(follower, async |mut follower| {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Follower {
    app: SharedApp,
    changes: Receiver<Change>,
    last: Option<String>,
    pending: VecDeque<Event>,
    ended: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            let looked = match self.changes.recv().await {
                Ok(change) => match self.app.engine.store().execution(&change.execution).await {
                    Ok(Some(execution)) => {
                        self.push(&execution);
                        Ok(())
                    }
                    Ok(None) => Ok(()),
                    Err(error) => Err(ApiError::from(error)),
                },
                // What was lost may have been the end.
                Err(RecvError::Lagged(_)) => self.check_last().await,
                Err(RecvError::Closed) => return None,
            };
            if looked.is_err() {
                return None;
            }
        }
    }

    async fn check_last(&mut self) -> Result<(), ApiError> {
        let Some(id) = &self.last else { return Ok(()) };
        if let Some(execution) = self.app.engine.store().execution(id).await?
            && execution.status.is_final()
        {
            self.push(&execution);
        }
        Ok(())
    }

    fn push(&mut self, execution: &Execution) {
        if execution.status.is_final() && !execution.is_workflow {
            for (output_type, data) in executions::written(execution) {
                self.pending.extend(event(
                    "st2.execution.output__create",
                    &json!({
                        "execution_id": execution.id,
                        "action_ref": execution.action,
                        "output_type": output_type,
                        "timestamp": execution.end.unwrap_or_else(Timestamp::now),
                        "data": data,
                    }),
                ));
            }
        }
        self.pending.extend(event(
            "st2.execution__update",
            &executions::render(&self.app, execution),
        ));
        self.ended |= execution.status.is_final() && self.last.as_ref() == Some(&execution.id);
    }
}

fn event(name: &str, data: &serde_json::Value) -> Option<Event> {
    Event::default().event(name).json_data(data).ok()
}
