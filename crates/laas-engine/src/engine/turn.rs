//! One change and everything that follows from it, as one transaction.

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::params::Live;
use super::{Change, Inner, Start};
use crate::model::*;
use crate::orquesta::state::Phase;
use crate::pack::Action;
use crate::store::{self, StoreError, StoredExecution};

pub type Result<T> = std::result::Result<T, StoreError>;

/// A transaction of the engine.
pub struct Turn<'a> {
    pub connection: &'a Connection,
    pub inner: &'a Arc<Inner>,
    pub effects: Effects,
}

/// What is to be done once the transaction is committed.
#[derive(Default)]
pub struct Effects {
    pub changes: Vec<Change>,
    pub start: Vec<Start>,
    pub stop: Vec<String>,
    pub ended: Vec<String>,
}

/// Where an execution comes from.
#[derive(Default)]
pub struct Origin {
    pub context: Object,
    pub parent: Option<String>,
    pub workflow_execution: Option<String>,
    pub task_execution: Option<String>,
    /// `None`: it begins a trace of its own.
    pub trace: Option<String>,
    /// Kind and id.
    pub caused_by: Option<(String, String)>,
    pub not_before: Option<Timestamp>,
}

impl Turn<'_> {
    pub fn load(&self, id: &str) -> Result<StoredExecution> {
        store::load(self.connection, id)?.ok_or_else(|| StoreError(format!("the execution `{id}` is gone")))
    }

    /// Writes down a new execution, to be started.
    pub fn create(&mut self, action: &Action, live: Live, origin: Origin) -> Result<StoredExecution> {
        let now = Timestamp::now();
        let id = new_id();
        let trace = match origin.trace {
            Some(trace) => trace,
            None => match origin
                .context
                .get("trace_context")
                .and_then(|context| context["id_"].as_str())
            {
                Some(trace) => trace.to_string(),
                None => store::trace_of_tag(self.connection, &format!("execution-{id}"))?,
            },
        };
        let item = TraceItem {
            kind: TraceKind::Execution,
            object_id: id.clone(),
            reference: action.reference.clone(),
            updated: now,
            caused_by: origin.caused_by,
        };
        store::add_to_trace(self.connection, &trace, &item)?;
        let stored = StoredExecution {
            execution: Execution {
                id,
                liveaction_id: new_id(),
                action: action.reference.clone(),
                is_workflow: action.is_workflow(),
                status: Status::Requested,
                start: now,
                end: None,
                parameters: live.parameters,
                context: origin.context,
                result: None,
                log: vec![LogEntry {
                    timestamp: now,
                    status: Status::Requested,
                }],
                parent: origin.parent,
                workflow_execution: origin.workflow_execution,
                task_execution: origin.task_execution,
                children: Vec::new(),
                trace: Some(trace),
                runner_pid: 0,
            },
            deferred: live.deferred,
            not_before: origin.not_before,
        };
        stored.save(self.connection)?;
        self.changed(&stored);
        self.effects.start.push(Start::of(&stored));
        Ok(stored)
    }

    /// Writes down a new status.
    pub fn set_status(&mut self, stored: &mut StoredExecution, status: Status) -> Result<()> {
        stored.advance(status);
        stored.save(self.connection)?;
        self.changed(stored);
        Ok(())
    }

    /// Writes down the end of an execution and moves the workflow it is a step of.
    pub fn end(&mut self, stored: &mut StoredExecution, status: Status, result: Option<Value>) -> Result<()> {
        if result.is_some() {
            stored.execution.result = result;
        }
        self.set_status(stored, status)?;
        store::drop_tokens_of(self.connection, &stored.execution.id)?;
        self.effects.ended.push(stored.execution.id.clone());
        self.tell_workflow(stored)
    }

    /// Stops an execution and what it has asked for.
    pub fn cancel(&mut self, id: &str, user: &str) -> Result<()> {
        let mut stored = self.load(id)?;
        let status = stored.execution.status;
        if status.is_final() || status == Status::Canceling {
            return Ok(());
        }
        stored
            .execution
            .context
            .insert("cancelled_by".into(), user.into());
        stored.execution.result = Some(json!({"message": "Action canceled by user.", "user": user}));
        let is_lost = self.inner.lost().contains(id);
        if is_lost || matches!(status, Status::Requested | Status::Scheduled | Status::Delayed) {
            return self.end(&mut stored, Status::Canceled, None);
        }
        self.set_status(&mut stored, Status::Canceling)?;
        if !stored.execution.is_workflow {
            self.effects.stop.push(id.to_string());
            return Ok(());
        }
        // First, so that nothing new is asked for while the steps end one by one.
        self.steer(id, Phase::Canceled)?;
        for child in store::children(self.connection, id)? {
            // StackStorm waits for a step that runs, whoever is at it.
            let is_lost = self.inner.lost().contains(&child);
            if !is_lost {
                self.cancel(&child, user)?;
            }
        }
        Ok(())
    }

    /// Takes up an execution that an earlier engine did not finish.
    pub fn take_up(&mut self, mut stored: StoredExecution) -> Result<()> {
        match stored.execution.status {
            // A workflow moves by its steps.
            Status::Running | Status::Canceling if stored.execution.is_workflow => Ok(()),
            Status::Canceling => self.end(&mut stored, Status::Canceled, None),
            Status::Requested | Status::Scheduled | Status::Delayed | Status::Running => {
                store::drop_tokens_of(self.connection, &stored.execution.id)?;
                if stored.execution.status != Status::Requested {
                    self.set_status(&mut stored, Status::Requested)?;
                }
                self.effects.start.push(Start::of(&stored));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn changed(&mut self, stored: &StoredExecution) {
        self.effects.changes.push(Change {
            execution: stored.execution.id.clone(),
            status: stored.execution.status,
        });
    }
}
