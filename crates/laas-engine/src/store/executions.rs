//! Executions and workflows.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use serde_json::{Value, json};

use super::rows::{broken, json_column, page};
use super::{Page, Range, Result};
use crate::model::*;
use crate::orquesta::state::State;

/// An execution with what only the engine needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredExecution {
    pub execution: Execution,
    /// Names of parameters that hold templates, see `engine::params`.
    pub deferred: Vec<String>,
    /// A delayed step starts no earlier.
    pub not_before: Option<Timestamp>,
}

/// The record of a workflow.
#[derive(Debug, Clone)]
pub(crate) struct WorkflowRecord {
    pub id: String,
    /// The execution whose result it gives; a re-run of tasks takes it over.
    pub execution: String,
    /// Digest of its definition.
    pub spec: String,
    pub state: State,
}

impl WorkflowRecord {
    pub fn load(connection: &Connection, id: &str) -> Result<Option<WorkflowRecord>> {
        let mut statement = connection.prepare_cached("SELECT * FROM workflows WHERE id = ?")?;
        let found = statement.query_row([id], |row| {
            let state = json_column(row, "state")?;
            Ok(WorkflowRecord {
                id: row.get("id")?,
                execution: row.get("execution")?,
                spec: row.get("spec")?,
                state,
            })
        });
        Ok(found.optional()?)
    }

    pub fn save(&self, connection: &Connection) -> Result<()> {
        let state = serde_json::to_string(&self.state)?;
        connection
            .prepare_cached(
                "INSERT INTO workflows (id, execution, spec, state) VALUES (?, ?, ?, ?)
                 ON CONFLICT (id) DO UPDATE SET execution = excluded.execution, state = excluded.state",
            )?
            .execute(params![self.id, self.execution, self.spec, state])?;
        Ok(())
    }

    /// Keeps the text of a definition under its digest.
    pub fn keep_spec(connection: &Connection, digest: &str, text: &str) -> Result<()> {
        connection
            .prepare_cached("INSERT OR IGNORE INTO specs (digest, text) VALUES (?, ?)")?
            .execute([digest, text])?;
        Ok(())
    }

    pub fn spec_text(connection: &Connection, digest: &str) -> Result<Option<String>> {
        let mut statement = connection.prepare_cached("SELECT text FROM specs WHERE digest = ?")?;
        Ok(statement.query_row([digest], |row| row.get(0)).optional()?)
    }
}

impl StoredExecution {
    /// Writes the record: the whole of a new one, of a known one what can change.
    pub fn save(&self, connection: &Connection) -> Result<()> {
        let execution = &self.execution;
        let log: Vec<Value> = execution
            .log
            .iter()
            .map(|entry| json!([entry.timestamp.0, entry.status.as_str()]))
            .collect();
        let trigger_instance = execution
            .context
            .get("trigger_instance")
            .and_then(|it| it["id"].as_str());
        connection
            .prepare_cached(
                "INSERT INTO executions (id, liveaction, action, is_workflow, status, start, end, parameters,
                 deferred, context, result, log, parent, workflow, task, trace, trigger_instance, user, runner_pid,
                 not_before) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (id) DO UPDATE SET status = excluded.status, end = excluded.end,
                 context = excluded.context, result = excluded.result, log = excluded.log,
                 workflow = excluded.workflow, runner_pid = excluded.runner_pid",
            )?
            .execute(params![
                execution.id,
                execution.liveaction_id,
                execution.action,
                execution.is_workflow,
                execution.status.as_str(),
                execution.start.0,
                execution.end.map(|at| at.0),
                serde_json::to_string(&execution.parameters)?,
                serde_json::to_string(&self.deferred)?,
                serde_json::to_string(&execution.context)?,
                execution.result.as_ref().map(serde_json::to_string).transpose()?,
                serde_json::to_string(&log)?,
                execution.parent,
                execution.workflow_execution,
                execution.task_execution,
                execution.trace,
                trigger_instance,
                execution.user(),
                execution.runner_pid,
                self.not_before.map(|at| at.0),
            ])?;
        Ok(())
    }

    /// Sets a status, its line in the log and, for a final one, the end.
    pub fn advance(&mut self, status: Status) {
        let now = Timestamp::now();
        self.execution.status = status;
        self.execution.log.push(LogEntry {
            timestamp: now,
            status,
        });
        if status.is_final() {
            self.execution.end = Some(now);
        }
    }
}

pub(crate) fn load(connection: &Connection, id: &str) -> Result<Option<StoredExecution>> {
    let mut statement = connection.prepare_cached("SELECT * FROM executions WHERE id = ?")?;
    let found = statement.query_row([id], to_execution).optional()?;
    found.map(|stored| with_children(connection, stored)).transpose()
}

/// Executions that have not ended, oldest first.
pub(crate) fn unfinished(connection: &Connection) -> Result<Vec<StoredExecution>> {
    let mut statement =
        connection.prepare("SELECT * FROM executions WHERE end IS NULL ORDER BY start, id")?;
    Ok(statement
        .query_map([], to_execution)?
        .collect::<rusqlite::Result<_>>()?)
}

/// Ids of what `parent` asked for, oldest first.
pub(crate) fn children(connection: &Connection, parent: &str) -> Result<Vec<String>> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM executions WHERE parent = ? ORDER BY start, id")?;
    Ok(statement
        .query_map([parent], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}

pub fn list(connection: &Connection, filter: &ExecutionFilter, range: Range) -> Result<Page<Execution>> {
    let mut conditions = vec!["1"];
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut narrow = |condition: &'static str, value: Option<Box<dyn ToSql>>| {
        if let Some(value) = value {
            conditions.push(condition);
            values.push(value);
        }
    };
    let text = |value: &Option<String>| value.clone().map(|value| Box::new(value) as Box<dyn ToSql>);
    let number = |value: Option<i64>| value.map(|value| Box::new(value) as Box<dyn ToSql>);
    narrow("action = ?", text(&filter.action));
    narrow(
        "status = ?",
        text(&filter.status.map(|status| status.to_string())),
    );
    narrow("user = ?", text(&filter.user));
    narrow("trigger_instance = ?", text(&filter.trigger_instance));
    narrow(
        "trace IN (SELECT id FROM traces WHERE tag = ?)",
        text(&filter.trace_tag),
    );
    narrow("start > ?", number(filter.started_after.map(|at| at.0)));
    narrow("start < ?", number(filter.started_before.map(|at| at.0)));
    if filter.top_level {
        conditions.push("parent IS NULL");
    }
    let order = if filter.ascending {
        "ORDER BY start, id"
    } else {
        "ORDER BY start DESC, id DESC"
    };
    let condition = format!("WHERE {}", conditions.join(" AND "));
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let found = page(
        connection,
        "executions",
        &condition,
        order,
        &values,
        range,
        to_execution,
    )?;
    let items = found
        .items
        .into_iter()
        .map(|stored| Ok(with_children(connection, stored)?.execution));
    Ok(Page {
        items: items.collect::<Result<_>>()?,
        total: found.total,
    })
}

pub fn descendants(connection: &Connection, id: &str, depth: Option<usize>) -> Result<Vec<Execution>> {
    let mut found = Vec::new();
    if depth == Some(0) {
        return Ok(found);
    }
    for child in children(connection, id)? {
        let Some(stored) = load(connection, &child)? else {
            continue;
        };
        let has_children = !stored.execution.children.is_empty();
        found.push(stored.execution);
        if has_children {
            found.extend(descendants(connection, &child, depth.map(|depth| depth - 1))?);
        }
    }
    Ok(found)
}

fn with_children(connection: &Connection, mut stored: StoredExecution) -> Result<StoredExecution> {
    if stored.execution.is_workflow {
        stored.execution.children = children(connection, &stored.execution.id)?;
    }
    Ok(stored)
}

fn to_execution(row: &Row<'_>) -> rusqlite::Result<StoredExecution> {
    let log: Vec<(i64, String)> = json_column(row, "log")?;
    let status = |word: String| word.parse::<Status>().map_err(|error| broken(error.into()));
    let log = log.into_iter().map(|(at, word)| {
        Ok(LogEntry {
            timestamp: Timestamp(at),
            status: status(word)?,
        })
    });
    let result: Option<String> = row.get("result")?;
    let execution = Execution {
        id: row.get("id")?,
        liveaction_id: row.get("liveaction")?,
        action: row.get("action")?,
        is_workflow: row.get("is_workflow")?,
        status: status(row.get("status")?)?,
        start: Timestamp(row.get("start")?),
        end: row.get::<_, Option<i64>>("end")?.map(Timestamp),
        parameters: json_column(row, "parameters")?,
        context: json_column(row, "context")?,
        result: result
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| broken(error.into()))?,
        log: log.collect::<rusqlite::Result<_>>()?,
        parent: row.get("parent")?,
        workflow_execution: row.get("workflow")?,
        task_execution: row.get("task")?,
        children: Vec::new(),
        trace: row.get("trace")?,
        runner_pid: row.get("runner_pid")?,
    };
    let not_before = row.get::<_, Option<i64>>("not_before")?.map(Timestamp);
    Ok(StoredExecution {
        execution,
        deferred: json_column(row, "deferred")?,
        not_before,
    })
}
