//! A workflow as its file says, checked before anything of it runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::expression;
use crate::model::Object;
use crate::pack::yaml::{self, Kind, Node, Problem};

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

/// Names that no task may have.
const RESERVED: [&str; 4] = ["continue", "fail", "noop", "retry"];

impl Spec {
    /// Reads and checks a workflow; all that is wrong with it at once.
    pub fn parse(text: &str) -> Result<Spec, Vec<Problem>> {
        let node = yaml::parse(text).map_err(|problem| vec![problem])?;
        let mut problems = Vec::new();
        let mut reader = Reader {
            problems: &mut problems,
        };
        let spec = reader.workflow(&node);
        if problems.is_empty() {
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

struct Reader<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, line: usize, message: impl Into<String>) {
        self.problems.push(Problem::new(line, message));
    }

    /// Reports entries that are none of `known`, and whatever is not a map.
    fn entries<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> &'n [(yaml::Key, Node)] {
        if !matches!(node.kind, Kind::Map(_)) {
            self.problem(node.line, format!("{what} must be a mapping"));
        }
        for (key, _) in node.entries() {
            if !known.contains(&key.name.as_str()) {
                self.problem(
                    key.line,
                    format!("{what} has no `{}`; it has {}", key.name, known.join(", ")),
                );
            }
        }
        node.entries()
    }

    fn workflow(&mut self, node: &Node) -> Spec {
        let mut spec = Spec::default();
        let known = [
            "version",
            "name",
            "description",
            "tags",
            "input",
            "vars",
            "tasks",
            "output",
        ];
        for (key, value) in self.entries(node, "a workflow", &known) {
            match key.name.as_str() {
                "input" => spec.input = self.pairs(value, "`input`", true),
                "vars" => spec.vars = self.pairs(value, "`vars`", false),
                "output" => spec.output = self.pairs(value, "`output`", false),
                "tasks" => {
                    for (name, task) in value.entries() {
                        self.task_name(name);
                        let task = self.task(&name.name, name.line, task);
                        spec.tasks.insert(name.name.clone(), task);
                    }
                }
                _ => {}
            }
        }
        if spec.tasks.is_empty() {
            self.problem(node.line, "the workflow has no `tasks`");
        }
        spec
    }

    fn task_name(&mut self, name: &yaml::Key) {
        let is_word = name.name.chars().all(|c| c.is_alphanumeric() || c == '_');
        if RESERVED.contains(&name.name.as_str()) {
            self.problem(
                name.line,
                format!("`{}` is a command and cannot name a task", name.name),
            );
        } else if !is_word {
            self.problem(
                name.line,
                format!(
                    "the task name `{}` may have only letters, digits and `_`",
                    name.name
                ),
            );
        }
    }

    /// A list of one-entry maps (or, for input, of names).
    fn pairs(&mut self, node: &Node, what: &str, names_too: bool) -> Vec<(String, Value)> {
        let Kind::List(items) = &node.kind else {
            if !matches!(node.kind, Kind::Scalar(Value::Null)) {
                self.problem(node.line, format!("{what} must be a list of one-entry mappings"));
            }
            return Vec::new();
        };
        let mut pairs: Vec<(String, Value)> = Vec::new();
        for item in items {
            let pair = match (item.entries(), item.as_str()) {
                ([(key, value)], _) => {
                    self.expressions(value);
                    Some((key.name.clone(), value.value()))
                }
                (_, Some(name)) if names_too => Some((name.to_string(), Value::Null)),
                _ => None,
            };
            match pair {
                Some((name, _)) if pairs.iter().any(|(known, _)| *known == name) => {
                    self.problem(item.line, format!("{what} has `{name}` twice"));
                }
                Some(pair) => pairs.push(pair),
                None => self.problem(
                    item.line,
                    format!("each entry of {what} must be a one-entry mapping"),
                ),
            }
        }
        pairs
    }

    fn task(&mut self, name: &str, line: usize, node: &Node) -> Task {
        let mut task = Task {
            line,
            ..Task::default()
        };
        let what = format!("task `{name}`");
        let known = ["action", "input", "with", "retry", "delay", "join", "next"];
        for (key, value) in self.entries(node, &what, &known) {
            match key.name.as_str() {
                "action" => task.action = self.action(value),
                "input" => match &value.kind {
                    Kind::Map(entries) => {
                        self.expressions(value);
                        task.input = entries
                            .iter()
                            .map(|(key, value)| (key.name.clone(), value.value()))
                            .collect();
                    }
                    _ => self.problem(value.line, format!("`input` of {what} must be a mapping")),
                },
                "with" => task.items = self.items(value, &what),
                "retry" => task.retry = self.retry(value, &what),
                "delay" => task.delay = self.number_or_expression(value, "`delay`"),
                "join" => match value.value() {
                    Value::String(all) if all == "all" => task.join = Some(Join::All),
                    Value::Number(count) if count.as_u64().is_some_and(|count| count > 0) => {
                        task.join = count.as_u64().map(|count| Join::Count(count as usize));
                    }
                    _ => self.problem(
                        value.line,
                        format!("`join` of {what} must be `all` or a number of tasks"),
                    ),
                },
                "next" => match &value.kind {
                    Kind::List(items) => {
                        task.next = items.iter().map(|item| self.transition(item, &what)).collect()
                    }
                    _ => self.problem(value.line, format!("`next` of {what} must be a list")),
                },
                _ => {}
            }
        }
        task
    }

    fn action(&mut self, node: &Node) -> Option<String> {
        let text = node.as_str().filter(|text| !text.is_empty());
        let Some(text) = text else {
            self.problem(node.line, "`action` must be the name of an action");
            return None;
        };
        self.expressions(node);
        let is_expression = text.contains("{{");
        if !is_expression && text.contains(char::is_whitespace) {
            self.problem(
                node.line,
                "parameters within `action` are not supported; use `input`",
            );
        }
        Some(text.to_string())
    }

    fn items(&mut self, node: &Node, what: &str) -> Option<Items> {
        let (items, concurrency) = match &node.kind {
            Kind::Scalar(_) => (Some(node), None),
            _ => {
                self.entries(node, &format!("`with` of {what}"), &["items", "concurrency"]);
                (node.get("items"), node.get("concurrency"))
            }
        };
        let concurrency = concurrency.and_then(|value| self.number_or_expression(value, "`concurrency`"));
        let Some((text, line)) = items.and_then(|items| Some((items.as_str()?, items.line))) else {
            self.problem(
                node.line,
                format!("`with` of {what} needs `items`: `name in {{{{ a list }}}}`"),
            );
            return None;
        };
        if let Some(items) = items {
            self.expressions(items);
        }
        let (names, expression) = match text.split_once(" in ") {
            Some((names, expression)) if !names.contains("{{") => (
                names.replace(' ', "").split(',').map(str::to_string).collect(),
                expression.trim(),
            ),
            _ => (Vec::new(), text.trim()),
        };
        let names: Vec<String> = names;
        let names_are_words = names
            .iter()
            .all(|name| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_'));
        if !names_are_words || expression::whole(expression).is_none() {
            self.problem(
                line,
                format!("`items` of {what} must be `name in {{{{ a list }}}}` or `{{{{ a list }}}}`"),
            );
        }
        Some(Items {
            names,
            expression: expression.to_string(),
            concurrency,
        })
    }

    fn retry(&mut self, node: &Node, what: &str) -> Option<Retry> {
        self.entries(node, &format!("`retry` of {what}"), &["when", "count", "delay"]);
        let when = node.get("when").and_then(|when| self.condition(when));
        let delay = node
            .get("delay")
            .and_then(|delay| self.number_or_expression(delay, "`delay`"));
        match node.get("count") {
            Some(count) => {
                let count = self.number_or_expression(count, "`count`")?;
                Some(Retry { when, count, delay })
            }
            None => {
                self.problem(node.line, format!("`retry` of {what} needs a `count`"));
                None
            }
        }
    }

    fn transition(&mut self, node: &Node, what: &str) -> Transition {
        self.entries(
            node,
            &format!("an entry of `next` of {what}"),
            &["when", "publish", "do"],
        );
        let when = node.get("when").and_then(|when| self.condition(when));
        let publish = match node.get("publish") {
            Some(Node {
                kind: Kind::Scalar(Value::String(_)),
                line,
            }) => {
                self.problem(
                    *line,
                    "`publish` as a text is not supported; write a list of one-entry mappings",
                );
                Vec::new()
            }
            Some(publish) => self.pairs(publish, "`publish`", false),
            None => Vec::new(),
        };
        let mut targets: Vec<String> = match node.get("do") {
            None => Vec::new(),
            Some(Node {
                kind: Kind::Scalar(Value::String(names)),
                ..
            }) => names.split(',').map(|name| name.trim().to_string()).collect(),
            Some(Node {
                kind: Kind::List(items),
                ..
            }) => {
                let names: Vec<String> = items
                    .iter()
                    .filter_map(|item| item.as_str().map(str::to_string))
                    .collect();
                if names.len() < items.len() {
                    self.problem(node.line, "`do` must name tasks");
                }
                names
            }
            Some(other) => {
                self.problem(other.line, "`do` must be a task or a list of tasks");
                Vec::new()
            }
        };
        let repeated = targets
            .iter()
            .enumerate()
            .find(|(at, name)| targets[..*at].contains(name));
        if let Some((_, name)) = repeated {
            self.problem(node.line, format!("`do` names `{name}` twice"));
        }
        if targets.is_empty() {
            targets.push("continue".into());
        }
        Transition {
            when,
            publish,
            targets,
        }
    }

    fn condition(&mut self, node: &Node) -> Option<String> {
        let text = node.as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            self.problem(
                node.line,
                "`when` must be an expression in quotes, such as \"{{ succeeded() }}\"",
            );
        }
        self.expressions(node);
        text.map(str::to_string)
    }

    fn number_or_expression(&mut self, node: &Node, what: &str) -> Option<Value> {
        self.expressions(node);
        let value = node.value();
        let fits = match &value {
            Value::String(text) => expression::whole(text).is_some(),
            other => other.is_u64(),
        };
        if !fits {
            self.problem(
                node.line,
                format!("{what} must be a whole number or an expression"),
            );
        }
        fits.then_some(value)
    }

    /// Reports every expression below `node` that cannot work.
    fn expressions(&mut self, node: &Node) {
        match &node.kind {
            Kind::Scalar(Value::String(text)) => {
                if let Err(message) = expression::check(text) {
                    self.problem(node.line, message);
                }
            }
            Kind::Scalar(_) => {}
            Kind::List(items) => items.iter().for_each(|item| self.expressions(item)),
            Kind::Map(entries) => entries.iter().for_each(|(_, value)| self.expressions(value)),
        }
    }
}
