//! The conductor: from where a workflow stands and what has happened, where it stands now and what to run next.
//!
//! It touches nothing outside the state it is given, so that an event and the requests it leads to can be written down
//! together. The rules are those of Orquesta 1.6, peculiarities included.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use minijinja::Value as Jinja;
use serde_json::{Value, json};

use super::expression::{CurrentTask, Scope};
use super::spec::{COMMANDS, Edge, Items, Spec, Task};
use super::state::{Inbound, Item, Phase, RetryState, Staged, State, TaskRun, run_key};
use crate::jinja::{self, Datastore};
use crate::model::Object;

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

enum Event {
    Action {
        phase: Phase,
        result: Value,
    },
    Item {
        item: usize,
        phase: Phase,
        result: Value,
    },
    Retry,
}

/// A task that can start, rendered.
struct Next {
    id: String,
    route: usize,
    actions: Vec<(Option<usize>, String, Object)>,
    item_count: Option<usize>,
    concurrency: Option<u64>,
    delay: u64,
    has_action: bool,
}

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
                let started = |item: Option<usize>| match item {
                    None => Event::Action {
                        phase: Phase::Running,
                        result: Value::Null,
                    },
                    Some(item) => Event::Item {
                        item,
                        phase: Phase::Running,
                        result: Value::Null,
                    },
                };
                if task.item_count == Some(0) {
                    self.update(&task.id, task.route, started(None));
                }
                for (item, _, _) in &task.actions {
                    self.update(&task.id, task.route, started(*item));
                }
            }
            for task in tasks {
                if !task.has_action || task.item_count == Some(0) {
                    let done = Event::Action {
                        phase: Phase::Succeeded,
                        result: Value::Null,
                    };
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
        let event = match item {
            None => Event::Action { phase, result },
            Some(item) => Event::Item { item, phase, result },
        };
        self.update(task, route, event);
    }

    /// Takes in that an action could not even be requested: the workflow fails.
    pub fn refuse(&mut self, request: &Request, message: String) {
        self.fail();
        self.log_failure(message, Some((&request.task, request.route, None)));
    }

    /// Asks for the workflow to be canceled, paused or resumed.
    pub fn steer(&mut self, wanted: Phase) {
        for run in self.active_runs_with_items() {
            let staged = self
                .state
                .staged(&self.state.sequence[run].id, self.state.sequence[run].route);
            let items: &[Item] = staged
                .and_then(|staged| staged.items.as_deref())
                .unwrap_or_default();
            let active = items.iter().any(|item| item.status.is_active());
            let complete = items.iter().all(|item| item.status.is_completed());
            let status = match (wanted, active) {
                _ if complete => continue,
                (Phase::Canceled, true) => Phase::Canceling,
                (Phase::Canceled, false) => Phase::Canceled,
                (Phase::Paused, true) => Phase::Pausing,
                (Phase::Paused, false) => Phase::Paused,
                _ => continue,
            };
            let run = &mut self.state.sequence[run];
            // What is being canceled cannot be paused.
            if run.status != Phase::Canceling {
                run.status = status;
            }
        }
        let active = self.state.has_active_tasks();
        let current = self.state.status;
        self.state.status = match wanted {
            _ if current.is_completed() => current,
            Phase::Canceled if active => Phase::Canceling,
            Phase::Canceled => Phase::Canceled,
            Phase::Paused if current == Phase::Canceling => current,
            Phase::Paused if active => Phase::Pausing,
            Phase::Paused => Phase::Paused,
            Phase::Resuming if current == Phase::Paused => {
                let nothing_left = !active
                    && self.state.ready().next().is_none()
                    && !self.state.has_last_run_in(&[Phase::Paused]);
                if nothing_left {
                    Phase::Succeeded
                } else {
                    Phase::Resuming
                }
            }
            Phase::Resuming if current == Phase::Pausing => Phase::Resuming,
            _ => current,
        };
    }

    fn active_runs_with_items(&self) -> Vec<usize> {
        let has_items = |run: &TaskRun| {
            run.status.is_active()
                && self
                    .state
                    .staged(&run.id, run.route)
                    .is_some_and(|staged| staged.items.is_some())
        };
        let last: Vec<usize> = self.state.tasks.values().copied().collect();
        last.into_iter()
            .filter(|index| has_items(&self.state.sequence[*index]))
            .collect()
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

    /// Lets a workflow that has ended run `tasks` and what follows them once more; empty: whatever it failed at.
    /// Items that succeeded stay as they are unless their task is among `reset`.
    pub fn rerun(&mut self, tasks: &[String], reset: &[String]) -> Result<(), String> {
        if !self.state.status.is_completed() {
            return Err("Unable to rerun workflow execution because it is not in a completed state.".into());
        }
        let unknown: Vec<&str> = tasks
            .iter()
            .map(String::as_str)
            .filter(|task| !self.state.last_runs().any(|run| run.id == *task))
            .collect();
        if !unknown.is_empty() {
            let names = unknown.join(",");
            return Err(format!(
                "Unable to rerun workflow because one or more tasks is not found: {names}"
            ));
        }
        let mut candidates: Vec<(String, usize)> = if tasks.is_empty() {
            let failed = self
                .state
                .sequence
                .iter()
                .filter(|run| run.terminal && run.status == Phase::Failed);
            failed.map(|run| (run.id.clone(), run.route)).collect()
        } else {
            let chosen = self.state.last_runs().filter(|run| tasks.contains(&run.id));
            chosen.map(|run| (run.id.clone(), run.route)).collect()
        };
        candidates.sort();
        candidates.dedup();
        // What another candidate leads to comes again by itself.
        let follows: Vec<bool> = candidates
            .iter()
            .map(|candidate| self.follows_another(candidate, &candidates))
            .collect();
        let candidates = candidates
            .into_iter()
            .zip(follows)
            .filter(|(_, follows)| !follows);
        for ((task, route), _) in candidates.collect::<Vec<_>>() {
            self.rerun_task(&task, route, reset.contains(&task));
        }
        for run in &mut self.state.sequence {
            if run.next.values().any(|taken| *taken) {
                run.terminal = false;
            }
        }
        self.state.output = None;
        self.state.status = Phase::Resuming;
        Ok(())
    }

    fn follows_another(&self, candidate: &(String, usize), candidates: &[(String, usize)]) -> bool {
        let index = |(task, route): &(String, usize)| self.state.run_index(task, *route);
        let starts: Vec<usize> = candidates
            .iter()
            .filter(|other| *other != candidate)
            .filter_map(index)
            .collect();
        let mut queue: VecDeque<usize> = index(candidate).into_iter().collect();
        let mut seen = Vec::new();
        while let Some(run) = queue.pop_front() {
            for before in self.state.sequence[run].prev.values() {
                if starts.contains(before) {
                    return true;
                }
                if !seen.contains(before) {
                    seen.push(*before);
                    queue.push_back(*before);
                }
            }
        }
        false
    }

    fn rerun_task(&mut self, task: &str, route: usize, reset_items: bool) {
        let Some(index) = self.state.run_index(task, route) else {
            return;
        };
        self.state.errors.retain(|error| error["task_id"] != task);
        let run = &mut self.state.sequence[index];
        run.terminal = false;
        let (contexts, prev) = (run.contexts.clone(), run.prev.clone());
        let has_items = self.spec.tasks.get(task).is_some_and(|task| task.items.is_some());
        if let Some(staged) = self.state.staged_mut(task, route).filter(|_| has_items) {
            staged.completed = false;
            for item in staged.items.iter_mut().flatten() {
                if reset_items || item.status == Phase::Failed {
                    *item = Item::default();
                }
            }
        } else {
            self.state.unstage(task, route);
            self.stage(task, route, contexts, prev, true);
        }
        // A command that ended the workflow after this task speaks no longer.
        let mut stale = vec![index];
        while let Some(run) = stale.pop() {
            for (later, next) in self.state.sequence.iter_mut().enumerate() {
                if next.terminal && next.prev.values().any(|before| *before == run) {
                    next.terminal = false;
                    stale.push(later);
                }
            }
        }
        let commands: Vec<&str> = COMMANDS.to_vec();
        self.state
            .errors
            .retain(|error| !commands.iter().any(|command| error["task_id"] == *command));
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

    fn next_tasks(&mut self) -> Vec<Next> {
        let failed = self.state.status == Phase::Failed;
        if !failed && !self.state.status.is_running() {
            return Vec::new();
        }
        let staged = self.state.ready().filter(|staged| !failed || staged.run_on_fail);
        let staged: Vec<(String, usize)> = staged.map(|staged| (staged.id.clone(), staged.route)).collect();
        let mut tasks = Vec::new();
        let mut broken = false;
        for (id, route) in staged {
            match self.render_task(&id, route) {
                Ok(task) if !task.actions.is_empty() || task.item_count == Some(0) => tasks.push(task),
                Ok(_) => {}
                Err(message) => {
                    broken = true;
                    self.log_failure(message, Some((&id, route, None)));
                }
            }
        }
        if broken {
            self.fail();
            return Vec::new();
        }
        tasks.sort_by(|a, b| (&a.id, a.route).cmp(&(&b.id, b.route)));
        tasks
    }

    fn render_task(&mut self, id: &str, route: usize) -> Result<Next, String> {
        let spec = self.spec;
        let none = Task::default();
        let task = spec.tasks.get(id).unwrap_or(&none);
        let contexts = self
            .state
            .staged(id, route)
            .map(|staged| staged.contexts.clone())
            .unwrap_or_default();
        let current = CurrentTask {
            status: self
                .state
                .run(id, route)
                .map_or(Phase::Unset, |run| run.status)
                .as_str()
                .into(),
            result: Jinja::from(()),
        };
        let scope = self.scope(&contexts, route, Some(current));
        let action = Value::from(task.action.clone().unwrap_or_default());
        let input = Value::Object(task.input.clone());
        let render = |scope: &Scope| -> Result<(String, Object), String> {
            let action = scope.evaluate(&action)?.as_str().unwrap_or_default().to_string();
            match scope.evaluate(&input)? {
                Value::Object(input) => Ok((action, input)),
                _ => Ok((action, Object::new())),
            }
        };
        let mut delay = match &task.delay {
            None => 0,
            Some(delay) => whole_number(&scope.evaluate(delay)?)
                .ok_or("TypeError: The value of task delay is not type of integer.")?,
        };
        if let Some(retry_delay) = self.state.staged(id, route).and_then(|staged| staged.retry_delay) {
            delay = retry_delay;
        }
        let mut next = Next {
            id: id.to_string(),
            route,
            actions: Vec::new(),
            item_count: None,
            concurrency: None,
            delay,
            has_action: task.action.is_some(),
        };
        let Some(items) = &task.items else {
            let (action, input) = render(&scope)?;
            next.actions.push((None, action, input));
            return Ok(next);
        };
        let values = item_values(items, &scope)?;
        next.item_count = Some(values.len());
        if let Some(concurrency) = &items.concurrency {
            let concurrency = whole_number(&scope.evaluate(concurrency)?)
                .ok_or("TypeError: The value of concurrency is not type of integer.")?;
            next.concurrency = Some(concurrency.max(1));
        }
        let Some(staged) = self.state.staged_mut(id, route) else {
            return Ok(next);
        };
        let known = staged.items.get_or_insert_default();
        if known.is_empty() {
            known.resize(values.len(), Item::default());
        }
        let active = known.iter().filter(|item| item.status.is_active()).count();
        let room = next
            .concurrency
            .map_or(usize::MAX, |limit| (limit as usize).saturating_sub(active));
        let waiting = known
            .iter()
            .enumerate()
            .filter(|(_, item)| item.status == Phase::Unset)
            .map(|(index, _)| index);
        for index in waiting.take(room).collect::<Vec<_>>() {
            let Some(value) = values.get(index) else { continue };
            let (action, input) = render(&scope.with_item(value))?;
            next.actions.push((Some(index), action, input));
        }
        Ok(next)
    }

    fn update(&mut self, id: &str, route: usize, event: Event) {
        let spec = self.spec;
        let none = Task::default();
        let task = spec.tasks.get(id).unwrap_or(&none);
        let staged = self.state.staged(id, route).cloned();
        let (phase, result) = match &event {
            Event::Action { phase, result } | Event::Item { phase, result, .. } => (*phase, result.clone()),
            Event::Retry => (Phase::Retrying, Value::Null),
        };
        let known = self.state.run(id, route);
        let starts_again = known.is_some_and(|run| run.status.is_completed())
            && matches!(phase, Phase::Requested | Phase::Running);
        if known.is_none() || starts_again || COMMANDS.contains(&id) {
            let Some(staged) = &staged else { return };
            self.add_run(id, staged);
        }
        let Some(index) = self.state.run_index(id, route) else {
            return;
        };
        if staged.as_ref().is_some_and(|staged| staged.items.is_none()) {
            self.state.unstage(id, route);
        }
        if let Event::Item { item, phase, result } = &event
            && let Some(staged) = self.state.staged_mut(id, route)
            && let Some(slot) = staged.items.as_mut().and_then(|items| items.get_mut(*item))
        {
            *slot = Item {
                status: *phase,
                result: result.clone(),
            };
        }
        if phase == Phase::Failed {
            let mut error = json!({
                "type": "error", "message": "Execution failed. See result for details.", "task_id": id,
            });
            if !result.is_null() {
                error["result"] = result.clone();
            }
            self.state.log_error(error);
        }
        let before = self.state.sequence[index].status;
        let after = self.task_phase(index, &event);
        self.state.sequence[index].status = after;
        if after == Phase::Retrying {
            self.stage_retry(index);
        }
        if !after.is_completed() {
            return self.follow_task(id, route, after);
        }
        let results = self
            .state
            .staged(id, route)
            .and_then(|staged| staged.items.as_ref());
        let result = match (&task.items, results) {
            (Some(_), Some(items)) => items.iter().map(|item| item.result.clone()).collect(),
            (Some(_), None) => Value::Array(Vec::new()),
            (None, _) => result,
        };
        if task.items.is_some() && after == Phase::Failed {
            // Kept so that a re-run knows which items are done.
            if let Some(staged) = self.state.staged_mut(id, route) {
                staged.completed = true;
            }
        } else {
            self.state.unstage(id, route);
        }
        let current = CurrentTask {
            status: after.as_str().into(),
            result: jinja::from_json(&result),
        };
        let contexts = self.state.sequence[index].contexts.clone();
        let scope = self.scope(&contexts, route, Some(current));
        if self.state.status.is_active() && self.tries_again(index, task, &scope) {
            return self.update(id, route, Event::Retry);
        }
        let mut commands = Vec::new();
        if after != before {
            commands = self.follow_edges(id, index, &scope);
        }
        self.follow_task(id, route, after);
        for (command, route) in commands {
            let phase = if command == "fail" {
                Phase::Failed
            } else {
                Phase::Succeeded
            };
            self.update(
                &command,
                route,
                Event::Action {
                    phase,
                    result: Value::Null,
                },
            );
        }
        if self.state.status.is_completed() {
            self.state.sequence[index].terminal = true;
        }
    }

    fn add_run(&mut self, id: &str, staged: &Staged) {
        let mut run = TaskRun {
            id: id.to_string(),
            route: staged.route,
            contexts: if staged.contexts.is_empty() {
                vec![0]
            } else {
                staged.contexts.clone()
            },
            prev: staged.prev.clone(),
            ..TaskRun::default()
        };
        if let Some(retry) = self.spec.tasks.get(id).and_then(|task| task.retry.as_ref()) {
            let scope = self.scope(&run.contexts, run.route, None);
            let mut number = |value: &Value, what: &str| {
                let evaluated = scope.evaluate(value).and_then(|value| {
                    let message =
                        format!("ValueError: The retry {what} for task \"{id}\" is not an integer.");
                    whole_number(&value).ok_or(message)
                });
                evaluated.unwrap_or_else(|message| {
                    self.log_failure(message, Some((id, staged.route, None)));
                    self.fail();
                    0
                })
            };
            let count = number(&retry.count, "count");
            let delay = retry.delay.as_ref().map_or(0, |delay| number(delay, "delay"));
            run.retry = Some(RetryState {
                count,
                delay,
                tally: 0,
            });
        }
        self.state.sequence.push(run);
        self.state
            .tasks
            .insert(run_key(id, staged.route), self.state.sequence.len() - 1);
    }

    /// Where a task stands after an event.
    fn task_phase(&self, index: usize, event: &Event) -> Phase {
        use Phase::*;
        let run = &self.state.sequence[index];
        let (item, phase) = match event {
            Event::Retry => {
                return if matches!(run.status, Succeeded | Failed) {
                    Retrying
                } else {
                    run.status
                };
            }
            _ if run.status.is_completed() => return run.status,
            Event::Action { phase, .. } => return *phase,
            Event::Item { item, phase, .. } => (*item, *phase),
        };
        let old = run.status;
        if !matches!(phase, Paused | Succeeded | Failed | Canceled) {
            let stays = matches!(old, Pausing | Canceling) && phase == Running;
            return if stays { old } else { phase };
        }
        let staged = self.state.staged(&run.id, run.route);
        let items = staged
            .and_then(|staged| staged.items.as_deref())
            .unwrap_or_default();
        let others: Vec<Phase> = items
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != item)
            .map(|(_, item)| item.status)
            .collect();
        let any = |test: &dyn Fn(&Phase) -> bool| others.iter().any(test);
        let all_done = !any(&|phase| !phase.is_completed());
        if any(&|phase| phase.is_active()) {
            return match (old, phase) {
                (Canceling | Pausing, _) | (_, Succeeded | Failed) => old,
                (_, Canceled) => Canceling,
                _ => Pausing,
            };
        }
        let paused = any(&|phase| *phase == Paused);
        let canceled = any(&|phase| *phase == Canceled);
        let failed = any(&|phase| *phase == Failed);
        match phase {
            Succeeded if all_done && !paused && !canceled && !failed => Succeeded,
            _ if old == Canceling => Canceled,
            Canceled => Canceled,
            Failed if canceled && !paused => Canceled,
            Failed => Failed,
            _ if paused => Paused,
            _ if canceled => Canceled,
            _ if failed => Failed,
            Succeeded if old == Running => Running,
            _ => Paused,
        }
    }

    fn tries_again(&mut self, index: usize, task: &Task, scope: &Scope) -> bool {
        let run = &self.state.sequence[index];
        let (Some(retry), Some(state)) = (&task.retry, &run.retry) else {
            return false;
        };
        if state.tally >= state.count || run.status == Phase::Canceled {
            return false;
        }
        let (id, route, status) = (run.id.clone(), run.route, run.status);
        match &retry.when {
            None => status == Phase::Failed,
            Some(when) => scope.is_true(when).unwrap_or_else(|message| {
                self.log_failure(message, Some((&id, route, None)));
                self.fail();
                false
            }),
        }
    }

    fn stage_retry(&mut self, index: usize) {
        let run = &mut self.state.sequence[index];
        let Some(retry) = &mut run.retry else { return };
        retry.tally += 1;
        let delay = retry.delay;
        let (id, route, contexts, prev) = (run.id.clone(), run.route, run.contexts.clone(), run.prev.clone());
        self.state.unstage(&id, route);
        self.stage(&id, route, contexts, prev, true);
        if let Some(staged) = self.state.staged_mut(&id, route) {
            staged.retry_delay = Some(delay);
        }
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

    /// Takes the edges out of a finished task whose condition holds; returns the commands among their targets.
    fn follow_edges(&mut self, id: &str, index: usize, scope: &Scope) -> Vec<(String, usize)> {
        let edges = self.spec.edges_from(id);
        if edges.is_empty() {
            self.state.sequence[index].terminal = true;
        }
        let mut commands = Vec::new();
        let mut remedies: Vec<(String, usize)> = Vec::new();
        for edge in edges {
            let route = self.state.sequence[index].route;
            let place = (id, route, Some(edge.id()));
            let taken = edge
                .transition
                .when
                .as_ref()
                .map_or(Ok(true), |when| scope.is_true(when));
            let published = taken.and_then(|taken| {
                self.state.sequence[index].next.insert(edge.id(), taken);
                if taken {
                    self.publish(index, &edge, scope).map(Some)
                } else {
                    Ok(None)
                }
            });
            let published = match published {
                Ok(Some(published)) => published,
                Ok(None) => continue,
                Err(message) => {
                    self.log_failure(message, Some((place.0, place.1, place.2)));
                    self.fail();
                    continue;
                }
            };
            let next_route = self.route_after(id, &edge, route);
            self.arrive(id, index, &edge, next_route, published);
            let inbound = self.state.inbound(self.spec, edge.target, route);
            if let Some(staged) = self.state.staged_mut(edge.target, next_route) {
                staged.ready = inbound == Inbound::Satisfied;
                if COMMANDS.contains(&edge.target) {
                    commands.push((edge.target.to_string(), next_route));
                } else if staged.ready {
                    remedies.push((edge.target.to_string(), next_route));
                }
            }
        }
        if commands.iter().any(|(command, _)| command == "fail") {
            for (task, route) in remedies {
                if let Some(staged) = self.state.staged_mut(&task, route) {
                    staged.run_on_fail = true;
                }
            }
        }
        commands
    }

    /// Evaluates what an edge publishes; returns the contexts the next task starts with.
    fn publish(&mut self, index: usize, edge: &Edge<'_>, scope: &Scope) -> Result<Vec<usize>, String> {
        let mut contexts = self.state.sequence[index].contexts.clone();
        if edge.transition.publish.is_empty() {
            return Ok(contexts);
        }
        let mut vars = self.state.merged(&contexts);
        let mut published = Object::new();
        let mut scope = scope.clone();
        for (name, value) in &edge.transition.publish {
            let value = scope.evaluate(value)?;
            vars.insert(name.clone(), value.clone());
            published.insert(name.clone(), value);
            scope.vars = Jinja::from_serialize(&vars);
        }
        self.state.contexts.push(published);
        contexts.push(self.state.contexts.len() - 1);
        Ok(contexts)
    }

    fn arrive(&mut self, id: &str, index: usize, edge: &Edge<'_>, route: usize, mut contexts: Vec<usize>) {
        let came_by = format!("{id}__t{}", edge.key);
        match self.state.staged_mut(edge.target, route) {
            Some(staged) => {
                // The first context is there already, and would bring back what others have published over it.
                if let Some(first) = contexts.iter().position(|context| *context == 0) {
                    contexts.remove(first);
                }
                staged.contexts.extend(contexts);
                staged.prev.insert(came_by, index);
                staged.items = None;
                staged.completed = false;
            }
            None => self.stage(
                edge.target,
                route,
                contexts,
                BTreeMap::from([(came_by, index)]),
                false,
            ),
        }
    }

    fn route_after(&mut self, id: &str, edge: &Edge<'_>, route: usize) -> usize {
        if !self.spec.is_split(edge.target) || self.spec.in_cycle(edge.target) {
            return route;
        }
        let step = format!("{id}__t{}", edge.key);
        let mut steps = self.state.routes.get(route).cloned().unwrap_or_default();
        if steps.contains(&step) {
            return route;
        }
        steps.push(step);
        self.state.routes.push(steps);
        self.state.routes.len() - 1
    }

    /// Moves the workflow after a task has changed.
    fn follow_task(&mut self, id: &str, route: usize, phase: Phase) {
        use Phase::*;
        let active = self.state.has_active_tasks();
        let leads_on = self.state.leads_on(self.spec, id, route, false);
        let remedied = phase == Failed && (leads_on || self.state.leads_on(self.spec, id, route, true));
        let done = phase == Succeeded || remedied;
        let canceled = self.state.has_last_run_in(&[Canceling, Canceled]);
        let paused = self.state.has_last_run_in(&[Pausing, Paused]);
        let more = leads_on || self.state.ready().next().is_some();
        let either = |busy: Phase, idle: Phase| if active { busy } else { idle };
        let old = self.state.status;
        self.state.status = match old {
            Succeeded | Failed | Canceled => old,
            Canceling if phase.is_completed() || matches!(phase, Paused | Retrying) => {
                either(Canceling, Canceled)
            }
            Canceling => Canceling,
            _ if phase == Canceling => Canceling,
            _ if phase == Canceled => either(Canceling, Canceled),
            _ if phase == Failed && !remedied => Failed,
            Paused => {
                if matches!(phase, Running | Resuming) {
                    Running
                } else {
                    Paused
                }
            }
            Pausing if done && canceled => either(if remedied { Canceling } else { Pausing }, Canceled),
            Pausing if done || matches!(phase, Paused | Retrying) => either(Pausing, Paused),
            Pausing => Pausing,
            _ if done && canceled => either(Canceling, Canceled),
            _ if done && paused => either(Pausing, Paused),
            _ if done && (more || active) => Running,
            _ if done => Succeeded,
            _ if phase == Paused => either(Running, Paused),
            Resuming if phase == Running => Running,
            other => other,
        };
        if self.state.status.is_completed() && !old.is_completed() {
            self.fail_for_open_joins();
        }
    }

    /// A workflow may not end well while a join has got some of what it waits for and will never get the rest.
    fn fail_for_open_joins(&mut self) {
        let open: Vec<(String, usize)> = self
            .state
            .staged
            .iter()
            .filter(|staged| !staged.ready && self.spec.join(&staged.id).is_some())
            .filter(|staged| self.state.inbound(self.spec, &staged.id, staged.route) == Inbound::Never)
            .map(|staged| (staged.id.clone(), staged.route))
            .collect();
        for (id, route) in open {
            self.state.status = Phase::Failed;
            let message = format!(
                "UnreachableJoinError: The join task|route \"{id}|{route}\" is partially satisfied but unreachable."
            );
            self.log_failure(message, Some((&id, route, None)));
        }
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

fn item_values(items: &Items, scope: &Scope) -> Result<Vec<Value>, String> {
    let list = match scope.evaluate(&Value::from(items.expression.as_str()))? {
        Value::Array(list) => list,
        _ => {
            return Err(format!(
                "TypeError: The value of \"{}\" is not type of list.",
                items.expression
            ));
        }
    };
    let named = |value: Value| -> Value {
        match (value, items.names.as_slice()) {
            (value, []) => value,
            (Value::Array(parts), names) => Value::Object(names.iter().cloned().zip(parts).collect()),
            (value, [name]) => Value::Object(Object::from_iter([(name.clone(), value)])),
            (value, _) => value,
        }
    };
    Ok(list.into_iter().map(named).collect())
}

fn whole_number(value: &Value) -> Option<u64> {
    value.as_i64().map(|number| u64::try_from(number).unwrap_or(0))
}
