//! Each value and each name in what the dashboard hands out, replaced by what nobody expects there.

use crate::hostile_values::{is_legible, pointers, renamed, values};
use crate::plan::new;
use laas_dashboard::{Job, Plan, Situation, Task, plan};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The longest key of a user, in bytes; every other text of a plan is far shorter.
const LONGEST_KEY: usize = 16 << 10;
const LONGEST_TEXT: usize = 400;

fn capture(name: &str) -> Value {
    let path = format!("{}/tests/captures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// As the dashboard of 2022 would hand it out.
fn of_2022(mut list: Value) -> Value {
    for job in list.as_array_mut().unwrap() {
        let Some(tasks) = job.pointer_mut("/payload/hardware") else {
            continue;
        };
        for delta in tasks.as_object_mut().unwrap().values_mut() {
            let is_on = delta["power"] == "on";
            delta["image"] = json!("17");
            delta["hostname"] = json!("next");
            delta["ipmi_create"] = json!(if is_on { "True" } else { "False" });
        }
    }
    list
}

/// What the list says as it came.
struct Before {
    list: Value,
    jobs: Vec<Job>,
    plans: BTreeMap<u64, Plan>,
}

impl Before {
    fn new(list: Value) -> Self {
        let jobs = Job::read_list(list.as_array().unwrap());
        assert_eq!(jobs.len(), list.as_array().unwrap().len());
        let plans = jobs.iter().map(|job| (job.id, plan_of(job))).collect();
        Self { list, jobs, plans }
    }

    /// What becomes of the rest of the list.
    fn assert_no_effect_elsewhere(&self, pointer: &str, after: &Value, what: &str) {
        let after = Job::read_list(after.as_array().unwrap());
        let mut parts = pointer.split('/').skip(1);
        let touched: usize = parts.next().unwrap().parse().unwrap();
        // The name of the task that it is in.
        let touched_task = parts.nth(2);
        for (number, job) in self
            .jobs
            .iter()
            .enumerate()
            .filter(|(number, _)| *number != touched)
        {
            assert!(after.contains(job), "{what}: job {number}");
        }
        let before = &self.jobs[touched];
        let Some(job) = after.iter().find(|job| !self.jobs.contains(job)) else {
            return;
        };
        let (planned, original) = (plan_of(job), &self.plans[&before.id]);
        assert_harmless(&planned, what);
        // Nobody's booking is over because of it.
        assert!(planned.release.is_none() || original.release.is_some(), "{what}");
        let Some(touched_task) = touched_task.filter(|_| job.id == before.id) else {
            return;
        };
        for task in before
            .tasks
            .iter()
            .filter(|task| task.id.as_str() != touched_task)
        {
            assert!(job.tasks.contains(task), "{what}: {}", task.id);
            let fate = |plan: &Plan| {
                (
                    plan.tasks.iter().any(|t| t.task == task.id),
                    plan.unsupported.iter().any(|u| u.task.task == task.id),
                )
            };
            // An end that can't be read is waited for.
            let waits = original.release.is_some() && planned.skipped.contains(&task.id);
            // Nothing is given on a host that can't be made.
            let makers = before.tasks.iter().chain(&job.tasks);
            let makers = makers.filter(|task| task.id.as_str() == touched_task);
            let made: Vec<_> = makers
                .filter_map(Task::makes)
                .flat_map(|(_, hosts)| hosts)
                .collect();
            let mut refused = planned.unsupported.iter();
            let is_unmade = task.work.host().is_some_and(|host| made.contains(host))
                && refused.any(|refused| refused.task.task == task.id && refused.kind == "unmade");
            assert!(
                waits || is_unmade || fate(&planned) == fate(original),
                "{what}: {}",
                task.id
            );
        }
    }
}

fn plan_of(job: &Job) -> Plan {
    let situation = new(job.tasks.clone());
    plan(Situation {
        job: job.id,
        ..situation
    })
}

/// Each text and each name in it.
fn texts<'a>(value: &'a Value, found: &mut Vec<(&'a str, &'a str)>, of: &'a str) {
    match value {
        Value::String(text) => found.push((of, text)),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found, of)),
        Value::Object(map) => {
            for (name, value) in map {
                found.push(("", name));
                texts(value, found, name);
            }
        }
        _ => {}
    }
}

fn assert_harmless(plan: &Plan, what: &str) {
    let shown = json!(plan);
    let mut found = Vec::new();
    texts(&shown, &mut found, "");
    for (of, text) in found {
        let start: String = text.chars().take(100).collect();
        match of {
            // Whatever its comment is, which is left behind.
            "key" => assert!(
                text.len() <= LONGEST_KEY && !text.contains(|c: char| c.is_control() && c != '\n'),
                "{what}: {start:?}"
            ),
            _ => assert!(is_legible(text, LONGEST_TEXT), "{what}: `{of}` is {start:?}"),
        }
    }
}

/// Tries it with everything in the list; the longest text is `longest`.
fn try_all(list: Value, longest: usize) {
    // That is how the dashboard says that the booking is over.
    let over = [("/opnfv", json!({})), ("/revoke", json!(true))];
    let is_over = |pointer: &str, value: &Value| {
        let mut over = over.iter();
        over.any(|(end, said)| pointer.ends_with(end) && value == said)
    };
    let hostile = values(longest);
    let mut all = Vec::new();
    pointers(&list, "", &mut all);
    assert!(all.len() > 50, "{}", all.len());
    let before = Before::new(list);
    for pointer in &all {
        for value in hostile.iter().filter(|value| !is_over(pointer, value)) {
            let what = format!("{:.60} at {pointer}", value.to_string());
            let mut after = before.list.clone();
            *after.pointer_mut(pointer).unwrap() = value.clone();
            before.assert_no_effect_elsewhere(pointer, &after, &what);
            if let Some(after) = value
                .as_str()
                .and_then(|text| renamed(&before.list, pointer, text))
            {
                before.assert_no_effect_elsewhere(pointer, &after, &format!("{what}, as a name"));
            }
        }
    }
}

#[test]
fn nothing_in_a_job_of_2019_has_an_effect_elsewhere() {
    try_all(capture("jobs-new"), 1 << 15);
}

#[test]
fn nothing_in_a_job_of_2022_has_an_effect_elsewhere() {
    try_all(of_2022(capture("jobs-new")), 1 << 20);
}

#[test]
fn nothing_in_a_job_that_is_over_has_an_effect_elsewhere() {
    try_all(of_2022(capture("jobs-new-cancelled-early")), 1 << 15);
}
