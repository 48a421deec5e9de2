//! From YAML to a [`Spec`], with every problem on the way.

use serde_json::Value;

use super::super::expression;
use super::{Items, Join, Retry, Spec, Task, Transition};
use crate::pack::yaml::{self, Kind, Node, Problem};

/// Names that no task may have.
const RESERVED: [&str; 4] = ["continue", "fail", "noop", "retry"];

pub struct Reader<'a> {
    pub problems: &'a mut Vec<Problem>,
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

    /// The workflow as far as it can be understood.
    pub fn workflow(&mut self, node: &Node) -> Spec {
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
