//! What a turn does with workflows: begins them, moves them, brings their executions to where they stand.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::params::{Live, complete};
use super::turn::{Origin, Result, Turn};
use crate::model::*;
use crate::orquesta::conductor::{Conductor, Request};
use crate::orquesta::spec::Spec;
use crate::orquesta::state::Phase;
use crate::store::{self, StoreError, StoredExecution, WorkflowRecord};

impl Turn<'_> {
    /// Begins a workflow: its record, and the requests of its first steps.
    pub fn begin_workflow(&mut self, id: &str) -> Result<()> {
        let mut stored = self.load(id)?;
        if !matches!(stored.execution.status, Status::Requested | Status::Delayed) {
            return Ok(());
        }
        stored.execution.runner_pid = std::process::id();
        let rerun = stored
            .execution
            .context
            .get("re-run")
            .cloned()
            .unwrap_or_default();
        let record = if rerun["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty()) {
            self.continued_workflow(&stored, &rerun)
        } else {
            self.new_workflow(&stored)
        };
        self.set_status(&mut stored, Status::Scheduled)?;
        let record = match record {
            Ok(record) => record,
            Err(message) => {
                let result = json!({"errors": [{"message": message}], "output": null});
                return self.end(&mut stored, Status::Failed, Some(result));
            }
        };
        stored
            .execution
            .workflow_execution
            .get_or_insert_with(|| record.id.clone());
        stored
            .execution
            .context
            .insert("workflow_execution".into(), record.id.as_str().into());
        stored.execution.result = Some(json!({"output": null}));
        self.set_status(&mut stored, Status::Running)?;
        self.advance(record, |_| {})
    }

    fn new_workflow(&mut self, stored: &StoredExecution) -> std::result::Result<WorkflowRecord, String> {
        let execution = &stored.execution;
        let packs = self.inner.packs();
        let action = packs.actions.get(&execution.action);
        let action = action.ok_or_else(|| format!("Unable to find action \"{}\".", execution.action))?;
        let workflow = action.workflow.as_ref().ok_or("the action is no workflow")?;
        let context = self
            .inner
            .params_context(action, &execution.context, Object::new())?;
        let live = Live {
            parameters: execution.parameters.clone(),
            deferred: stored.deferred.clone(),
        };
        let input = complete(action, &live, &context)?.action;
        let id = new_id();
        let st2 = json!({
            "action_execution_id": execution.id,
            "api_url": self.inner.options.api_url,
            "user": execution.user(),
            "pack": action.pack,
            "action": action.reference,
            "runner": action.runner_type,
            "workflow_execution_id": id,
        });
        let context = Object::from_iter([
            ("st2".to_string(), st2),
            ("parent".to_string(), Value::Object(execution.context.clone())),
        ]);
        WorkflowRecord::keep_spec(self.connection, &workflow.digest, &workflow.text)
            .map_err(|error| error.to_string())?;
        let conductor = Conductor::new(&workflow.spec, &input, context, self.inner.datastore.clone());
        let state = conductor.state;
        Ok(WorkflowRecord {
            id,
            execution: execution.id.clone(),
            spec: workflow.digest.clone(),
            state,
        })
    }

    /// The workflow of an earlier execution, which this one goes on with.
    fn continued_workflow(
        &mut self,
        stored: &StoredExecution,
        rerun: &Value,
    ) -> std::result::Result<WorkflowRecord, String> {
        let lost = |error: StoreError| error.to_string();
        let first = rerun["ref"].as_str().unwrap_or_default();
        let first = store::load(self.connection, first).map_err(lost)?;
        let id = first.and_then(|first| {
            first
                .execution
                .context
                .get("workflow_execution")?
                .as_str()
                .map(str::to_string)
        });
        let id =
            id.ok_or("Unable to rerun workflow execution because workflow_execution_id is not provided.")?;
        let record = WorkflowRecord::load(self.connection, &id).map_err(lost)?;
        let mut record = record.ok_or_else(|| {
            format!("Unable to rerun workflow execution \"{id}\" because it does not exist.")
        })?;
        let names = |key: &str| -> Vec<String> {
            rerun[key]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str().map(str::to_string))
                .collect()
        };
        let spec = self.spec(&record.spec).map_err(lost)?;
        let mut conductor = Conductor {
            spec: &spec,
            state: record.state,
            store: self.inner.datastore.clone(),
        };
        // As in StackStorm, output and errors of the first run stay, whatever the second one brings.
        let (output, errors) = (conductor.state.output.clone(), conductor.state.errors.clone());
        conductor.rerun(&names("tasks"), &names("reset"))?;
        record.state = conductor.state;
        (record.state.output, record.state.errors) = (output, errors);
        record.execution = stored.execution.id.clone();
        Ok(record)
    }

    /// Pauses, resumes or cancels a workflow, and those below it.
    pub fn steer(&mut self, id: &str, wanted: Phase) -> Result<()> {
        let stored = self.load(id)?;
        if stored.execution.status.is_final() {
            return Ok(());
        }
        let Some(record) = self.workflow_of(&stored.execution)? else {
            // It has not begun, so there is nothing to pause.
            return Ok(());
        };
        self.advance(record, |conductor| conductor.steer(wanted))?;
        if wanted == Phase::Canceled {
            return Ok(());
        }
        for child in store::children(self.connection, id)? {
            let child = self.load(&child)?.execution;
            if child.is_workflow && !child.status.is_final() {
                self.steer(&child.id, wanted)?;
            }
        }
        Ok(())
    }

    /// Tells the workflow that a step of it has ended or, being a workflow itself, paused or gone on.
    pub(super) fn tell_workflow(&mut self, step: &StoredExecution) -> Result<()> {
        let execution = &step.execution;
        let Some(place) = execution
            .context
            .get("orquesta")
            .filter(|_| execution.parent.is_some())
        else {
            return Ok(());
        };
        let phase = match execution.status {
            Status::Succeeded => Phase::Succeeded,
            Status::Failed | Status::Timeout | Status::Abandoned => Phase::Failed,
            Status::Canceled => Phase::Canceled,
            Status::Paused => Phase::Paused,
            _ => Phase::Running,
        };
        let id = place["workflow_execution_id"].as_str().unwrap_or_default();
        let Some(record) = WorkflowRecord::load(self.connection, id)? else {
            return Ok(());
        };
        let task = place["task_id"].as_str().unwrap_or_default();
        let number = |key: &str| place[key].as_u64().map(|number| number as usize);
        let (route, item) = (number("task_route").unwrap_or_default(), number("item_id"));
        let result = execution.result.clone().unwrap_or_default();
        self.advance(record, |conductor| {
            conductor.report(task, route, item, phase, result)
        })
    }

    /// Lets something happen to a workflow, requests what follows, and writes all of it down.
    fn advance(
        &mut self,
        mut record: WorkflowRecord,
        happens: impl FnOnce(&mut Conductor<'_>),
    ) -> Result<()> {
        let spec = self.spec(&record.spec)?;
        let mut conductor = Conductor {
            spec: &spec,
            state: record.state,
            store: self.inner.datastore.clone(),
        };
        happens(&mut conductor);
        let owner = self.load(&record.execution)?;
        for request in conductor.start() {
            if let Err(message) = self.request_step(&record.id, &owner, &request)? {
                conductor.refuse(&request, message);
                break;
            }
        }
        conductor.finish();
        record.state = conductor.state;
        record.save(self.connection)?;
        self.reflect(&record)
    }

    /// The inner error is the workflow's: the step cannot be requested.
    fn request_step(
        &mut self,
        workflow: &str,
        owner: &StoredExecution,
        request: &Request,
    ) -> Result<std::result::Result<(), String>> {
        let Some(action) = self.inner.packs().actions.get(&request.action).cloned() else {
            let message = format!(
                "InvalidActionReferencedException: Unable to find action \"{}\".",
                request.action
            );
            return Ok(Err(message));
        };
        let (user, pack) = (owner.execution.user(), owner.execution.context.get("pack"));
        // One record per task and try, shared by its items.
        let task_execution = id_of(&format!("{workflow}:{}:{}", request.run, request.attempt));
        let mut place = json!({
            "workflow_execution_id": workflow,
            "task_execution_id": task_execution,
            "task_name": request.task,
            "task_id": request.task,
            "task_route": request.route,
        });
        if let Some(item) = request.item {
            place["item_id"] = item.into();
        }
        let parent = json!({"execution_id": owner.execution.id, "user": user, "pack": pack});
        let context = Object::from_iter([
            ("pack".to_string(), action.pack.as_str().into()),
            ("user".to_string(), user.into()),
            ("parent".to_string(), parent),
            ("orquesta".to_string(), place),
        ]);
        let live = match self
            .inner
            .accept(&action, &request.input, &context, Object::new())
        {
            Ok(live) => live,
            Err(message) => return Ok(Err(format!("ParamException: {message}"))),
        };
        let origin = Origin {
            context,
            parent: Some(owner.execution.id.clone()),
            workflow_execution: Some(workflow.to_string()),
            task_execution: Some(task_execution),
            trace: owner.execution.trace.clone(),
            caused_by: Some(("action_execution".into(), owner.execution.id.clone())),
            not_before: (request.delay > 0).then(|| Timestamp::now().plus_seconds(request.delay as f64)),
        };
        self.create(&action, live, origin)?;
        Ok(Ok(()))
    }

    /// Brings the execution of a workflow to where the workflow stands.
    fn reflect(&mut self, record: &WorkflowRecord) -> Result<()> {
        let mut stored = self.load(&record.execution)?;
        let status = match record.state.status {
            Phase::Succeeded => Status::Succeeded,
            Phase::Failed => Status::Failed,
            Phase::Canceled => Status::Canceled,
            Phase::Canceling => Status::Canceling,
            Phase::Pausing => Status::Pausing,
            Phase::Paused => Status::Paused,
            _ => Status::Running,
        };
        let result = record.state.status.is_completed().then(|| {
            let mut result = json!({"output": record.state.output});
            if record.state.status == Phase::Failed {
                result["errors"] = record.state.errors.clone().into();
            }
            result
        });
        let before = stored.execution.status;
        if before.is_final() {
            // Steps that ran on after the workflow had failed may add their errors.
            if result.is_some() && result != stored.execution.result && before != Status::Canceled {
                stored.execution.result = result;
                stored.save(self.connection)?;
            }
            return Ok(());
        }
        if status.is_final() {
            return self.end(&mut stored, status, result);
        }
        if status == before {
            return Ok(());
        }
        // A workflow that is being cancelled waits for its steps, whatever the conductor thinks of those left.
        if before == Status::Canceling {
            return Ok(());
        }
        self.set_status(&mut stored, status)?;
        let tells = status == Status::Paused || before == Status::Paused;
        if tells {
            self.tell_workflow(&stored)
        } else {
            Ok(())
        }
    }

    fn workflow_of(&self, execution: &Execution) -> Result<Option<WorkflowRecord>> {
        match execution
            .context
            .get("workflow_execution")
            .and_then(Value::as_str)
        {
            Some(id) => WorkflowRecord::load(self.connection, id),
            None => Ok(None),
        }
    }

    /// The definition a workflow was begun with.
    fn spec(&self, digest: &str) -> Result<Arc<Spec>> {
        let specs = || self.inner.specs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spec) = specs().get(digest) {
            return Ok(spec.clone());
        }
        let text = WorkflowRecord::spec_text(self.connection, digest)?;
        let text =
            text.ok_or_else(|| StoreError(format!("the definition `{digest}` of a workflow is gone")))?;
        let spec = Spec::parse(&text)
            .map_err(|_| StoreError(format!("the definition `{digest}` is not readable any more")))?;
        let spec = Arc::new(spec);
        specs().insert(digest.to_string(), spec.clone());
        Ok(spec)
    }
}
