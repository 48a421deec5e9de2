//! The conductor: from where a workflow stands and what has happened, where it stands now and what to run next.
//!
//! It touches nothing outside the state it is given, so that an event and the requests it leads to can be written down
//! together. The rules are those of Orquesta 1.6, peculiarities included.

mod next;
mod steer;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value as Jinja;
use serde_json::{Value, json};

use super::expression::{CurrentTask, Scope};
use super::spec::Spec;
use super::state::{Phase, Staged, State, TaskRun};
use crate::jinja::Datastore;
use crate::model::Object;
use update::Event;

/// An action that is to run now.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub task: String,
    pub route: usize,
    /// Index among the runs of all tasks, and which try of it this is.
    pub run: usize,
    pub attempt: u64,
    pub item: Option<usize>,
    pub action: String,
    pub input: Object,
    /// Seconds to wait before it starts.
    pub delay: u64,
}

/// A workflow at one moment.
pub struct Conductor<'a> {
    pub spec: &'a Spec,
    pub state: State,
    pub store: Arc<dyn Datastore>,
}

/// Rounds of tasks without an action that one event may set off; more is a loop that never ends.
const MOST_ROUNDS: usize = 1000;

impl<'a> Conductor<'a> {
    /// A workflow that has not begun. `context` holds `st2` and `parent`; input is what the action was given.
    pub fn new(spec: &'a Spec, input: &Object, context: Object, store: Arc<dyn Datastore>) -> Self {
        let mut conductor = Conductor {
            spec,
            state: State {
                status: Phase::Requested,
                ..State::default()
            },
            store,
        };
        let mut vars = context;
        let given =
            |name: &String, default: &Value| input.get(name).cloned().unwrap_or_else(|| default.clone());
        let all = spec
            .input
            .iter()
            .map(|(name, default)| (name, given(name, default)));
        let all = all.chain(spec.vars.iter().map(|(name, value)| (name, value.clone())));
        for (name, value) in all.collect::<Vec<_>>() {
            match conductor.scope_of(&vars, None).evaluate(&value) {
                Ok(value) => _ = vars.insert(name.clone(), value),
                Err(message) => conductor.log_failure(message, None),
            }
        }
        if !conductor.state.errors.is_empty() {
            conductor.state.status = Phase::Failed;
            return conductor;
        }
        conductor.state.contexts.push(vars);
        conductor.state.routes.push(Vec::new());
        for root in spec.roots() {
            conductor.stage(root, 0, vec![0], BTreeMap::new(), true);
        }
        conductor
    }

    /// Starts whatever can start now: returns it and marks it as running.
    pub fn start(&mut self) -> Vec<Request> {
        if self.state.status == Phase::Requested {
            self.state.status = Phase::Running;
        }
        let mut requests = Vec::new();
        for _ in 0..MOST_ROUNDS {
            let tasks = self.next_tasks();
            if tasks.is_empty() {
                return requests;
            }
            for task in &tasks {
                let started = |item: Option<usize>| Event::of(item, Phase::Running, Value::Null);
                if task.item_count == Some(0) {
                    self.update(&task.id, task.route, started(None));
                }
                for (item, _, _) in &task.actions {
                    self.update(&task.id, task.route, started(*item));
                }
            }
            for task in tasks {
                if !task.has_action || task.item_count == Some(0) {
                    let done = Event::of(None, Phase::Succeeded, Value::Null);
                    self.update(&task.id, task.route, done);
                    continue;
                }
                let run = self.state.run_index(&task.id, task.route).unwrap_or_default();
                let attempt = self.state.sequence[run]
                    .retry
                    .as_ref()
                    .map_or(0, |retry| retry.tally);
                for (item, action, input) in task.actions {
                    // With a concurrency only the first ones wait: the others wait for those anyway.
                    let waits = item
                        .zip(task.concurrency)
                        .is_none_or(|(item, concurrency)| (item as u64) < concurrency);
                    requests.push(Request {
                        task: task.id.clone(),
                        route: task.route,
                        run,
                        attempt,
                        item,
                        action,
                        input,
                        delay: if waits { task.delay } else { 0 },
                    });
                }
            }
        }
        self.fail();
        self.log_failure(
            "the workflow goes round in circles without running an action".into(),
            None,
        );
        requests
    }

    /// Takes in that an action has ended or, for a sub-workflow, paused or gone on.
    pub fn report(&mut self, task: &str, route: usize, item: Option<usize>, phase: Phase, result: Value) {
        let event = Event::of(item, phase, result);
        self.update(task, route, event);
    }

    /// Takes in that an action could not even be requested: the workflow fails.
    pub fn refuse(&mut self, request: &Request, message: String) {
        self.fail();
        self.log_failure(message, Some((&request.task, request.route, None)));
    }

    /// Renders `output` once the workflow has ended, whichever way.
    pub fn finish(&mut self) {
        if !self.state.status.is_completed() || self.state.output.is_some() {
            return;
        }
        let mut vars = self.final_context();
        let mut output = Object::new();
        for (name, value) in &self.spec.output {
            match self.scope_of(&vars, None).evaluate(value) {
                Ok(value) => {
                    vars.insert(name.clone(), value.clone());
                    output.insert(name.clone(), value);
                }
                Err(message) => {
                    self.log_failure(message, None);
                    if self.state.status != Phase::Canceled {
                        self.state.status = Phase::Failed;
                    }
                }
            }
        }
        if !output.is_empty() {
            self.state.output = Some(output);
        }
    }

    fn final_context(&self) -> Object {
        let mut vars = Object::new();
        for (position, run) in self.state.sequence.iter().filter(|run| run.terminal).enumerate() {
            // The first context is the same for all: only the first run may bring it.
            let contexts: Vec<usize> = run
                .contexts
                .iter()
                .copied()
                .filter(|index| position == 0 || *index != 0)
                .collect();
            super::state::merge(&mut vars, &self.state.merged(&contexts));
        }
        vars
    }

    fn stage(
        &mut self,
        id: &str,
        route: usize,
        contexts: Vec<usize>,
        prev: BTreeMap<String, usize>,
        ready: bool,
    ) {
        self.state.staged.push(Staged {
            id: id.into(),
            route,
            contexts,
            prev,
            ready,
            ..Staged::default()
        });
    }

    fn fail(&mut self) {
        if self.state.status != Phase::Canceled {
            self.state.status = Phase::Failed;
        }
    }

    fn log_failure(&mut self, message: String, place: Option<(&str, usize, Option<String>)>) {
        let mut error = json!({"type": "error", "message": message});
        if let Some((task, route, edge)) = place {
            error["task_id"] = task.into();
            error["route"] = route.into();
            if let Some(edge) = edge {
                error["task_transition_id"] = edge.into();
            }
        }
        self.state.log_error(error);
    }

    fn scope(&self, contexts: &[usize], route: usize, task: Option<CurrentTask>) -> Scope {
        let mut scope = self.scope_of(&self.state.merged(contexts), task);
        scope.statuses = Arc::new(self.statuses(route));
        scope
    }

    fn scope_of(&self, vars: &Object, task: Option<CurrentTask>) -> Scope {
        let statuses = Arc::new(self.statuses(0));
        Scope {
            vars: Jinja::from_serialize(vars),
            task,
            item: None,
            statuses,
            store: self.store.clone(),
        }
    }

    /// The last status of every task, seen from a route: its own runs first, then those before it split off.
    fn statuses(&self, route: usize) -> BTreeMap<String, String> {
        let mut statuses = BTreeMap::new();
        let steps = self.state.routes.get(route);
        let is_before = |other: usize| {
            let earlier = self.state.routes.get(other).zip(steps);
            other == route
                || (other < route
                    && earlier.is_some_and(|(other, own)| other.iter().all(|step| own.contains(step))))
        };
        let mut runs: Vec<&TaskRun> = self
            .state
            .last_runs()
            .filter(|run| is_before(run.route))
            .collect();
        runs.sort_by_key(|run| run.route);
        for run in runs {
            statuses.insert(run.id.clone(), run.status.as_str().to_string());
        }
        statuses
    }
}
