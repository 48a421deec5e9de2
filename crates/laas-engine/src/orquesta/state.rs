//! Where a workflow stands: everything the conductor knows between two events, and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::spec::Spec;
use crate::model::Object;

/// Orquesta's words for where a task or a workflow stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    #[default]
    Unset,
    Requested,
    Running,
    Pausing,
    Paused,
    Resuming,
    Retrying,
    Canceling,
    Canceled,
    Succeeded,
    Failed,
}

impl Phase {
    /// Something of it still runs.
    pub fn is_active(self) -> bool {
        use Phase::*;
        matches!(self, Requested | Running | Resuming | Pausing | Canceling)
    }

    /// New tasks may start.
    pub fn is_running(self) -> bool {
        use Phase::*;
        matches!(self, Requested | Running | Resuming | Retrying)
    }

    /// It has ended.
    pub fn is_completed(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed | Phase::Canceled)
    }

    /// The word in expressions.
    pub fn as_str(self) -> &'static str {
        use Phase::*;
        match self {
            Unset => "null",
            Requested => "requested",
            Running => "running",
            Pausing => "pausing",
            Paused => "paused",
            Resuming => "resuming",
            Retrying => "retrying",
            Canceling => "canceling",
            Canceled => "canceled",
            Succeeded => "succeeded",
            Failed => "failed",
        }
    }
}

/// The whole of a workflow's progress.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub status: Phase,
    /// The first holds input, vars and `st2`; each further one what a transition published.
    pub contexts: Vec<Object>,
    /// A branch that several ways lead to runs once per way, each under its own route: the edges taken.
    pub routes: Vec<Vec<String>>,
    /// Every run of every task, oldest first.
    pub sequence: Vec<TaskRun>,
    /// Tasks that wait for their start or, as joins, for others.
    pub staged: Vec<Staged>,
    /// The last run of a task on a route, by [`run_key`].
    pub tasks: BTreeMap<String, usize>,
    /// As the result of the workflow shows them.
    pub errors: Vec<Value>,
    pub output: Option<Object>,
}

/// One run of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskRun {
    pub id: String,
    pub route: usize,
    pub status: Phase,
    /// Indices of the contexts it started with.
    pub contexts: Vec<usize>,
    /// Edges that led here, with the run each came from.
    pub prev: BTreeMap<String, usize>,
    /// Edges that lead on, and whether their condition held.
    pub next: BTreeMap<String, bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryState>,
    /// The workflow ended with this run: its context goes into the output.
    #[serde(default)]
    pub terminal: bool,
}

/// How often a task has been tried again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RetryState {
    pub count: u64,
    pub delay: u64,
    pub tally: u64,
}

/// A task about to start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Staged {
    pub id: String,
    pub route: usize,
    pub contexts: Vec<usize>,
    pub prev: BTreeMap<String, usize>,
    /// False for a join that still waits.
    pub ready: bool,
    /// Seconds; set when this is another try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_delay: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<Item>>,
    /// Failed with items: kept for a re-run.
    #[serde(default)]
    pub completed: bool,
    /// Starts although the workflow has failed, because the same transition says `fail` as well.
    #[serde(default)]
    pub run_on_fail: bool,
}

/// One item of a task `with` items.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub status: Phase,
    #[serde(default)]
    pub result: Value,
}

/// The name of a task's last run on a route.
pub fn run_key(task: &str, route: usize) -> String {
    format!("{task}__r{route}")
}

/// Whether enough of the tasks before a join have led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbound {
    Satisfied,
    Waiting,
    Never,
}

impl State {
    pub fn run_index(&self, task: &str, route: usize) -> Option<usize> {
        self.tasks.get(&run_key(task, route)).copied()
    }

    pub fn run(&self, task: &str, route: usize) -> Option<&TaskRun> {
        self.sequence.get(self.run_index(task, route)?)
    }

    pub fn staged(&self, task: &str, route: usize) -> Option<&Staged> {
        self.staged
            .iter()
            .find(|staged| staged.id == task && staged.route == route)
    }

    pub fn staged_mut(&mut self, task: &str, route: usize) -> Option<&mut Staged> {
        self.staged
            .iter_mut()
            .find(|staged| staged.id == task && staged.route == route)
    }

    /// Forgets a staged task, unless items of it still run.
    pub fn unstage(&mut self, task: &str, route: usize) {
        let busy = |staged: &Staged| staged.items.iter().flatten().any(|item| item.status.is_active());
        if let Some(at) = self
            .staged
            .iter()
            .position(|staged| staged.id == task && staged.route == route)
            && !busy(&self.staged[at])
        {
            self.staged.remove(at);
        }
    }

    /// Staged tasks that can start now.
    pub fn ready(&self) -> impl Iterator<Item = &Staged> {
        self.staged
            .iter()
            .filter(|staged| staged.ready && !staged.completed)
    }

    /// The last runs of all tasks.
    pub fn last_runs(&self) -> impl Iterator<Item = &TaskRun> {
        self.tasks.values().filter_map(|index| self.sequence.get(*index))
    }

    pub fn has_active_tasks(&self) -> bool {
        self.last_runs().any(|run| run.status.is_active())
    }

    pub fn has_last_run_in(&self, phases: &[Phase]) -> bool {
        self.last_runs().any(|run| phases.contains(&run.status))
    }

    /// The variables after those contexts, later ones over earlier ones.
    pub fn merged(&self, contexts: &[usize]) -> Object {
        let mut merged = Object::new();
        for context in contexts.iter().filter_map(|index| self.contexts.get(*index)) {
            merge(&mut merged, context);
        }
        merged
    }

    /// Whether the tasks before `task` have led to it on `route`.
    pub fn inbound(&self, spec: &Spec, task: &str, route: usize) -> Inbound {
        use super::spec::Join;
        let edges = spec.edges_to(task);
        let mut sources: BTreeMap<&str, Option<bool>> =
            edges.iter().map(|(source, _)| (*source, None)).collect();
        let wanted = match spec.join(task) {
            None => 1,
            Some(Join::All) => sources.len(),
            Some(Join::Count(count)) => count,
        };
        for (source, edge) in &edges {
            let Some(run) = self.run(source, route) else {
                continue;
            };
            let led_here = run.next.get(&edge.id()).copied().unwrap_or(false);
            let known = sources.entry(source).or_default();
            *known = Some(known.unwrap_or(false) || led_here);
        }
        if sources
            .values()
            .filter(|led_here| **led_here == Some(true))
            .count()
            >= wanted
        {
            return Inbound::Satisfied;
        }
        let is_open = sources.values().any(Option::is_none);
        if is_open && (self.has_active_tasks() || self.ready().next().is_some()) {
            return Inbound::Waiting;
        }
        Inbound::Never
    }

    /// Whether the finished `task` leads on to another. A join counts when `join_later` is set, otherwise only while
    /// it can still be met.
    pub fn leads_on(&self, spec: &Spec, task: &str, route: usize, join_later: bool) -> bool {
        let Some(run) = self.run(task, route).filter(|run| run.status.is_completed()) else {
            return false;
        };
        spec.edges_from(task).iter().any(|edge| {
            let taken = edge.target != "continue" && run.next.get(&edge.id()).copied().unwrap_or(false);
            let is_join = spec.join(edge.target).is_some();
            taken && (!is_join || join_later || self.inbound(spec, edge.target, route) != Inbound::Never)
        })
    }

    /// Adds an error to those of the result, once.
    pub fn log_error(&mut self, error: Value) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }
}

/// Copies `right` over `left`, map into map.
pub fn merge(left: &mut Object, right: &Object) {
    for (name, value) in right {
        match (left.get_mut(name), value) {
            (Some(Value::Object(inner)), Value::Object(value)) => merge(inner, value),
            _ => {
                left.insert(name.clone(), value.clone());
            }
        }
    }
}
