//! The tasks that can start, rendered.

use minijinja::Value as Jinja;
use serde_json::Value;

use super::super::expression::{CurrentTask, Scope};
use super::super::spec::{Items, Task};
use super::super::state::{Item, Phase};
use super::Conductor;
use crate::model::Object;

/// A task that can start, rendered.
pub struct Next {
    pub id: String,
    pub route: usize,
    pub actions: Vec<(Option<usize>, String, Object)>,
    pub item_count: Option<usize>,
    pub concurrency: Option<u64>,
    pub delay: u64,
    pub has_action: bool,
}

impl Conductor<'_> {
    pub(super) fn next_tasks(&mut self) -> Vec<Next> {
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

pub fn whole_number(value: &Value) -> Option<u64> {
    value.as_i64().map(|number| u64::try_from(number).unwrap_or(0))
}
