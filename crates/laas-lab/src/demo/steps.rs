//! The executions of an engine as lines for a person.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;

use crate::stack::is_over;

/// What has been shown already.
pub struct Steps {
    started: Instant,
    shown: BTreeSet<String>,
}

impl Steps {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            shown: BTreeSet::new(),
        }
    }

    /// Prints a line for each execution that has ended since the last call; says whether any still runs.
    pub fn show(&mut self, executions: &[Value]) -> bool {
        let mut ended: Vec<&Value> = executions.iter().filter(|e| is_over(e)).collect();
        ended.sort_by_key(|e| e["end_timestamp"].as_str());
        for execution in ended {
            let id = execution["id"].as_str().unwrap_or_default().to_owned();
            if self.shown.insert(id) {
                println!("{}", self.line(execution));
            }
        }
        executions.iter().any(|e| !is_over(e))
    }

    fn line(&self, execution: &Value) -> String {
        let parameters = &execution["parameters"];
        let about = ["host", "user", "job_id"]
            .iter()
            .find_map(|name| match &parameters[name] {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(format!("{name} {other}")),
            });
        let name = execution["action"]["ref"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches("laas.");
        let detail = ["command", "device", "status", "hostname"]
            .iter()
            .find_map(|p| match &parameters[p] {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            });
        let status = execution["status"].as_str().unwrap_or_default();
        let result = &execution["result"]["stdout"];
        let said = match (status, &result["error"], &result["changed"]) {
            ("succeeded", _, Value::Bool(false)) => "no change needed".to_owned(),
            ("succeeded", _, _) => "done".to_owned(),
            (_, Value::String(error), _) => format!("{status}: {error}"),
            _ => status.to_owned(),
        };
        let seconds = execution["elapsed_seconds"].as_f64().unwrap_or_default();
        format!(
            "{:>6.1} s  {:<9} {:<28} {said} ({seconds:.1} s)",
            self.started.elapsed().as_secs_f64(),
            about.unwrap_or_default(),
            format!("{name} {}", detail.unwrap_or_default()).trim_end(),
        )
    }
}
