//! What Orquesta finds out about a workflow before it runs it, and refuses: variables nobody has set, joins it cannot
//! tell apart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::expression;
use super::spec::{COMMANDS, Spec, Task};
use crate::pack::yaml::{Kind, Node, Problem};

type Names = BTreeSet<String>;

/// Reports variables that are read on a path on which nothing has set them. Like Orquesta this follows each path once.
pub fn variables(spec: &Spec, node: &Node, problems: &mut Vec<Problem>) {
    let mut inspector = Inspector {
        spec,
        node,
        problems,
        reported: BTreeSet::new(),
    };
    let mut known: Names = ["st2", "parent"].map(str::to_string).into();
    inspector.pairs(&spec.input, &mut known, "input", None);
    inspector.pairs(&spec.vars, &mut known, "vars", None);
    let mut known = inspector.tasks(known);
    inspector.pairs(&spec.output, &mut known, "output", None);
}

struct Inspector<'a> {
    spec: &'a Spec,
    node: &'a Node,
    problems: &'a mut Vec<Problem>,
    reported: BTreeSet<(usize, String)>,
}

impl Inspector<'_> {
    fn tasks(&mut self, known: Names) -> Names {
        let spec = self.spec;
        let mut all = known.clone();
        let mut at_joins: BTreeMap<&str, Names> = BTreeMap::new();
        let mut arrived: BTreeMap<&str, Names> = BTreeMap::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut queue: VecDeque<(&str, Option<Names>)> = spec
            .roots()
            .into_iter()
            .map(|root| (root, Some(known.clone())))
            .collect();
        while let Some((name, names)) = queue.pop_front() {
            seen.insert(name);
            let names = names.unwrap_or_else(|| at_joins.get(name).cloned().unwrap_or_default());
            all.extend(names.iter().cloned());
            let Some(task) = spec.tasks.get(name) else {
                continue;
            };
            self.task(name, task, &names);
            for transition in &task.next {
                let mut after = names.clone();
                self.texts(
                    transition.when.iter().map(String::as_str),
                    &after,
                    "tasks",
                    Some(name),
                );
                self.pairs(&transition.publish, &mut after, "tasks", Some(name));
                for target in &transition.targets {
                    if seen.contains(target.as_str()) {
                        continue;
                    }
                    if spec.join(target).is_some() {
                        at_joins.entry(target).or_default().extend(after.iter().cloned());
                        queue.push_back((target, None));
                    } else if arrived.get(target.as_str()) != Some(&after) {
                        arrived.insert(target, after.clone());
                        queue.push_back((target, Some(after.clone())));
                    }
                }
            }
        }
        all
    }

    fn task(&mut self, name: &str, task: &Task, known: &Names) {
        let mut texts: Vec<String> = Vec::new();
        let mut add = |value: &Value| collect_texts(value, &mut texts);
        task.delay.iter().for_each(&mut add);
        task.items.iter().for_each(|items| {
            add(&Value::from(items.expression.as_str()));
            items.concurrency.iter().for_each(&mut add);
        });
        task.action
            .iter()
            .for_each(|action| add(&Value::from(action.as_str())));
        task.input.values().for_each(&mut add);
        self.texts(texts.iter().map(String::as_str), known, "tasks", Some(name));
    }

    fn pairs(&mut self, pairs: &[(String, Value)], known: &mut Names, section: &str, task: Option<&str>) {
        for (name, value) in pairs {
            let mut texts = Vec::new();
            collect_texts(value, &mut texts);
            self.texts(texts.iter().map(String::as_str), known, section, task);
            known.insert(name.clone());
        }
    }

    fn texts<'t>(
        &mut self,
        texts: impl Iterator<Item = &'t str>,
        known: &Names,
        section: &str,
        task: Option<&str>,
    ) {
        for name in texts.flat_map(expression::variables) {
            let message = if name.starts_with("__") {
                format!("variable `{name}` is private")
            } else if !known.contains(&name) {
                format!("variable `{name}` is read before it is set")
            } else {
                continue;
            };
            let place = self
                .node
                .get(section)
                .and_then(|node| task.map_or(Some(node), |task| node.get(task)));
            let place = place.unwrap_or(self.node);
            let line = line_of(place, &name).unwrap_or(place.line);
            if self.reported.insert((line, name)) {
                self.problems.push(Problem::new(line, message));
            }
        }
    }
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(entries) => entries.iter().for_each(|(name, item)| {
            texts.push(name.clone());
            collect_texts(item, texts);
        }),
        _ => {}
    }
}

/// The line of the first expression below `node` that reads the variable.
fn line_of(node: &Node, variable: &str) -> Option<usize> {
    match &node.kind {
        Kind::Scalar(Value::String(text)) => expression::variables(text)
            .iter()
            .any(|name| name == variable)
            .then_some(node.line),
        Kind::Scalar(_) => None,
        Kind::List(items) => items.iter().find_map(|item| line_of(item, variable)),
        Kind::Map(entries) => entries.iter().find_map(|(_, item)| line_of(item, variable)),
    }
}

/// Reports joins below tasks that run once per way that leads to them: Orquesta does not know which runs to join.
pub fn joins(spec: &Spec, problems: &mut Vec<Problem>) {
    let mut splits_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut before: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut queue: VecDeque<(Option<&str>, &str, BTreeSet<&str>)> = spec
        .roots()
        .into_iter()
        .map(|root| (None, root, BTreeSet::new()))
        .collect();
    let mut followed: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    while let Some((source, name, mut splits)) = queue.pop_front() {
        if COMMANDS.contains(&name) || !spec.tasks.contains_key(name) {
            continue;
        }
        if spec.is_split(name) && !spec.in_cycle(name) {
            splits.insert(name);
        }
        let is_new = !splits_of.contains_key(name);
        splits_of.entry(name).or_default().extend(splits.iter());
        before.entry(name).or_default().extend(source);
        for edge in spec.edges_from(name) {
            if splits_of.contains_key(edge.target) && spec.in_cycle(edge.target) && !is_new {
                continue;
            }
            let known = followed.entry((name, edge.target)).or_default();
            if is_new || !splits.is_subset(known) {
                known.extend(splits.iter());
                queue.push_back((Some(name), edge.target, splits.clone()));
            }
        }
    }
    for (name, splits) in &splits_of {
        let is_join = spec.join(name).is_some();
        let differs = before[name]
            .iter()
            .any(|source| splits_of.get(source) != Some(splits));
        if is_join && differs {
            let line = spec.tasks.get(*name).map_or(1, |task| task.line);
            let message = format!(
                "task `{name}` joins runs of a task that several ways lead to; StackStorm cannot tell them apart"
            );
            problems.push(Problem::new(line, message));
        }
    }
}
