//! A workflow as its file says, checked before anything of it runs.

mod reader;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::model::Object;
use crate::pack::yaml::{self, Node, Problem};

/// A workflow.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// Name and, where it has one, default.
    pub input: Vec<(String, Value)>,
    pub vars: Vec<(String, Value)>,
    pub output: Vec<(String, Value)>,
    pub tasks: BTreeMap<String, Task>,
}

/// One step of it.
#[derive(Debug, Clone, Default)]
pub struct Task {
    pub line: usize,
    /// `None`: the task succeeds at once.
    pub action: Option<String>,
    pub input: Object,
    pub items: Option<Items>,
    pub retry: Option<Retry>,
    /// Seconds, or an expression for them.
    pub delay: Option<Value>,
    pub join: Option<Join>,
    pub next: Vec<Transition>,
}

/// `with`: the task runs its action once per item.
#[derive(Debug, Clone)]
pub struct Items {
    /// The names before `in`; empty when the items have none.
    pub names: Vec<String>,
    pub expression: String,
    pub concurrency: Option<Value>,
}

/// When to run a finished task again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// `None`: when it failed.
    pub when: Option<String>,
    pub count: Value,
    /// Seconds.
    pub delay: Option<Value>,
}

/// How many of the tasks before this one must lead here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    All,
    Count(usize),
}

/// What follows a finished task.
#[derive(Debug, Clone, Default)]
pub struct Transition {
    pub when: Option<String>,
    pub publish: Vec<(String, Value)>,
    /// Never empty: without `do` it is `continue`.
    pub targets: Vec<String>,
}

/// An edge of the graph: `key` tells apart the edges between the same two tasks.
#[derive(Debug, Clone, Copy)]
pub struct Edge<'a> {
    pub target: &'a str,
    pub key: usize,
    pub transition: &'a Transition,
}

impl Edge<'_> {
    /// The name of the edge in a task's record.
    pub fn id(&self) -> String {
        format!("{}__t{}", self.target, self.key)
    }
}

/// Commands to the engine that stand where a task's name could.
pub const COMMANDS: [&str; 3] = ["continue", "fail", "noop"];

impl Spec {
    /// Reads and checks a workflow; all that is wrong with it at once.
    pub fn parse(text: &str) -> Result<Spec, Vec<Problem>> {
        let node = yaml::parse(text).map_err(|problem| vec![problem])?;
        let mut problems = Vec::new();
        let mut reader = reader::Reader {
            problems: &mut problems,
        };
        let spec = reader.workflow(&node);
        if !spec.tasks.is_empty() {
            spec.check_graph(&node, &mut problems);
        }
        if problems.is_empty() {
            Ok(spec)
        } else {
            Err(problems)
        }
    }

    /// The edges out of a task, by target name.
    pub fn edges_from(&self, task: &str) -> Vec<Edge<'_>> {
        let Some(task) = self.tasks.get(task) else {
            return Vec::new();
        };
        let mut edges: Vec<Edge<'_>> = Vec::new();
        for transition in &task.next {
            for target in &transition.targets {
                let key = edges.iter().filter(|edge| edge.target == target).count();
                edges.push(Edge {
                    target,
                    key,
                    transition,
                });
            }
        }
        edges.sort_by(|a, b| a.target.cmp(b.target));
        edges
    }

    /// The edges into a task, each with the task it comes from.
    pub fn edges_to(&self, target: &str) -> Vec<(&str, Edge<'_>)> {
        let sources = self.tasks.keys();
        sources
            .flat_map(|source| {
                self.edges_from(source)
                    .into_iter()
                    .map(move |edge| (source.as_str(), edge))
            })
            .filter(|(_, edge)| edge.target == target)
            .collect()
    }

    /// Tasks that nothing leads to.
    pub fn roots(&self) -> Vec<&str> {
        let targets: BTreeSet<&str> = self
            .tasks
            .keys()
            .flat_map(|task| self.edges_from(task))
            .map(|edge| edge.target)
            .collect();
        self.tasks
            .keys()
            .map(String::as_str)
            .filter(|task| !targets.contains(task))
            .collect()
    }

    /// What the task waits for, when it is a join.
    pub fn join(&self, task: &str) -> Option<Join> {
        self.tasks.get(task)?.join
    }

    /// Several edges lead to the task and it does not join them: it runs once for each.
    pub fn is_split(&self, task: &str) -> bool {
        self.join(task).is_none() && self.edges_to(task).len() > 1
    }

    /// The task can come again after itself.
    pub fn in_cycle(&self, task: &str) -> bool {
        self.reachable_from(task).contains(task)
    }

    fn reachable_from(&self, task: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut queue: VecDeque<&str> = self.edges_from(task).iter().map(|edge| edge.target).collect();
        while let Some(next) = queue.pop_front() {
            if seen.insert(next) {
                queue.extend(self.edges_from(next).iter().map(|edge| edge.target));
            }
        }
        seen
    }

    fn check_graph(&self, node: &Node, problems: &mut Vec<Problem>) {
        let tasks = node.get("tasks");
        let line = tasks.map_or(node.line, |tasks| tasks.line);
        if self.roots().is_empty() {
            problems.push(Problem::new(
                line,
                "no task starts the workflow: put one before the loop",
            ));
        }
        for (name, task) in &self.tasks {
            for target in task.next.iter().flat_map(|transition| &transition.targets) {
                if target == "retry" {
                    problems.push(Problem::new(
                        task.line,
                        "`do: retry` is not supported; use the task's `retry`",
                    ));
                } else if !COMMANDS.contains(&target.as_str()) && !self.tasks.contains_key(target) {
                    problems.push(Problem::new(
                        task.line,
                        format!("task `{name}` leads to `{target}`, which is no task"),
                    ));
                }
            }
            if task.items.is_some() && task.action.is_none() {
                problems.push(Problem::new(
                    task.line,
                    format!("task `{name}` has `with` but no `action`"),
                ));
            }
            if let Some(Join::Count(count)) = task.join {
                let sources: BTreeSet<&str> = self
                    .edges_to(name)
                    .into_iter()
                    .map(|(source, _)| source)
                    .collect();
                if count > sources.len() {
                    let message = format!(
                        "task `{name}` joins {count} tasks, but {} lead to it",
                        sources.len()
                    );
                    problems.push(Problem::new(task.line, message));
                }
            }
        }
        if problems.is_empty() {
            super::inspect::joins(self, problems);
            super::inspect::variables(self, node, problems);
        }
    }
}
