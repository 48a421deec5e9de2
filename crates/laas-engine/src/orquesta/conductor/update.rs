//! What an event does to a task, to the tasks after it, and to the workflow.

use std::collections::BTreeMap;

use minijinja::Value as Jinja;
use serde_json::{Value, json};

use super::super::expression::{CurrentTask, Scope};
use super::super::spec::{COMMANDS, Edge, Task};
use super::super::state::{Inbound, Item, Phase, RetryState, Staged, TaskRun, run_key};
use super::Conductor;
use super::next::whole_number;
use crate::jinja;
use crate::model::Object;

/// What happens to a task.
pub enum Event {
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

impl Event {
    /// An action of a task, or of one of its items, now stands at `phase`.
    pub fn of(item: Option<usize>, phase: Phase, result: Value) -> Event {
        match item {
            None => Event::Action { phase, result },
            Some(item) => Event::Item { item, phase, result },
        }
    }
}

impl Conductor<'_> {
    pub(super) fn update(&mut self, id: &str, route: usize, event: Event) {
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
}
