//! The rows of every table but the executions'.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use serde::de::DeserializeOwned;

use super::{Page, Range, Result};
use crate::model::*;

pub fn key(connection: &Connection, scope: &str, name: &str) -> Result<Option<Key>> {
    let sql = "SELECT * FROM keys WHERE scope = ? AND name = ? AND (expires IS NULL OR expires > ?)";
    let now = Timestamp::now().0;
    Ok(connection
        .prepare_cached(sql)?
        .query_row(params![scope, name, now], to_key)
        .optional()?)
}

pub fn keys(connection: &Connection, scope: Option<&str>, prefix: &str, range: Range) -> Result<Page<Key>> {
    let condition =
        "WHERE (expires IS NULL OR expires > ?) AND (? IS NULL OR scope = ?) AND substr(name, 1, ?) = ?";
    let length = prefix.chars().count();
    let values = params![Timestamp::now().0, scope, scope, length, prefix];
    page(
        connection,
        "keys",
        condition,
        "ORDER BY name, scope",
        values,
        range,
        to_key,
    )
}

pub fn put_key(connection: &Connection, mut key: Key) -> Result<Key> {
    let known = connection
        .prepare_cached("SELECT id FROM keys WHERE scope = ? AND name = ?")?
        .query_row([&key.scope, &key.name], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        key.id = id;
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO keys (scope, name, id, value, secret, expires) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            key.scope,
            key.name,
            key.id,
            key.value,
            key.secret,
            key.expires.map(|at| at.0)
        ])?;
    Ok(key)
}

fn to_key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        id: row.get("id")?,
        scope: row.get("scope")?,
        name: row.get("name")?,
        value: row.get("value")?,
        secret: row.get("secret")?,
        expires: row.get::<_, Option<i64>>("expires")?.map(Timestamp),
    })
}

pub fn put_token(connection: &Connection, hash: &str, token: &Token) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO tokens (hash, id, user, kind, expires, execution) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            hash,
            token.id,
            token.user,
            token_word(token.kind),
            token.expires.map(|at| at.0),
            token.execution
        ])?;
    Ok(())
}

pub fn token(connection: &Connection, hash: &str, kind: TokenKind) -> Result<Option<Token>> {
    let sql = "SELECT * FROM tokens WHERE hash = ? AND kind = ? AND (expires IS NULL OR expires > ?)";
    let now = Timestamp::now().0;
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params![hash, token_word(kind), now], |row| to_token(row, kind));
    Ok(found.optional()?)
}

pub fn tokens(connection: &Connection, kind: TokenKind) -> Result<Vec<Token>> {
    let sql = "SELECT * FROM tokens WHERE kind = ? AND (expires IS NULL OR expires > ?) ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params![token_word(kind), Timestamp::now().0], |row| {
        to_token(row, kind)
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn to_token(row: &Row<'_>, kind: TokenKind) -> rusqlite::Result<Token> {
    Ok(Token {
        id: row.get("id")?,
        user: row.get("user")?,
        kind,
        expires: row.get::<_, Option<i64>>("expires")?.map(Timestamp),
        execution: row.get("execution")?,
    })
}

pub fn delete_token(connection: &Connection, id: &str, kind: TokenKind) -> Result<bool> {
    let sql = "DELETE FROM tokens WHERE id = ? AND kind = ?";
    Ok(connection
        .prepare_cached(sql)?
        .execute(params![id, token_word(kind)])?
        > 0)
}

pub fn drop_tokens_of(connection: &Connection, execution: &str) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM tokens WHERE execution = ?")?
        .execute([execution])?;
    Ok(())
}

fn token_word(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Token => "token",
        TokenKind::ApiKey => "api_key",
    }
}

pub fn rule_enabled(connection: &Connection, rule: &str) -> Result<Option<bool>> {
    let mut statement = connection.prepare_cached("SELECT enabled FROM rule_states WHERE rule = ?")?;
    Ok(statement.query_row([rule], |row| row.get(0)).optional()?)
}

pub fn put_trigger_instance(connection: &Connection, instance: &TriggerInstance) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO trigger_instances (id, trigger, payload, occurred, status) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            instance.id,
            instance.trigger,
            instance.payload.to_string(),
            instance.occurred.0,
            instance.status
        ])?;
    Ok(())
}

pub fn trigger_instance(connection: &Connection, id: &str) -> Result<Option<TriggerInstance>> {
    by_id(connection, "trigger_instances", id, to_trigger_instance)
}

pub fn trigger_instances(
    connection: &Connection,
    trigger: Option<&str>,
    range: Range,
) -> Result<Page<TriggerInstance>> {
    let values = params![trigger, trigger];
    let condition = "WHERE (? IS NULL OR trigger = ?)";
    page(
        connection,
        "trigger_instances",
        condition,
        "ORDER BY occurred DESC, id DESC",
        values,
        range,
        to_trigger_instance,
    )
}

fn to_trigger_instance(row: &Row<'_>) -> rusqlite::Result<TriggerInstance> {
    Ok(TriggerInstance {
        id: row.get("id")?,
        trigger: row.get("trigger")?,
        payload: json_column(row, "payload")?,
        occurred: Timestamp(row.get("occurred")?),
        status: row.get("status")?,
    })
}

pub fn put_enforcement(connection: &Connection, enforcement: &RuleEnforcement) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO rule_enforcements (id, rule, trigger_instance, execution, failure_reason, enforced)
             VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            enforcement.id,
            enforcement.rule,
            enforcement.trigger_instance,
            enforcement.execution,
            enforcement.failure_reason,
            enforcement.enforced.0
        ])?;
    Ok(())
}

pub fn rule_enforcement(connection: &Connection, id: &str) -> Result<Option<RuleEnforcement>> {
    by_id(connection, "rule_enforcements", id, to_enforcement)
}

pub fn rule_enforcements(
    connection: &Connection,
    rule: Option<&str>,
    range: Range,
) -> Result<Page<RuleEnforcement>> {
    let values = params![rule, rule];
    let condition = "WHERE (? IS NULL OR rule = ?)";
    page(
        connection,
        "rule_enforcements",
        condition,
        "ORDER BY enforced DESC, id DESC",
        values,
        range,
        to_enforcement,
    )
}

fn to_enforcement(row: &Row<'_>) -> rusqlite::Result<RuleEnforcement> {
    Ok(RuleEnforcement {
        id: row.get("id")?,
        rule: row.get("rule")?,
        trigger_instance: row.get("trigger_instance")?,
        execution: row.get("execution")?,
        failure_reason: row.get("failure_reason")?,
        enforced: Timestamp(row.get("enforced")?),
    })
}

/// The trace of this tag, a new one when there is none.
pub fn trace_of_tag(connection: &Connection, tag: &str) -> Result<String> {
    let known = connection
        .prepare_cached("SELECT id FROM traces WHERE tag = ? ORDER BY start DESC LIMIT 1")?
        .query_row([tag], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    let id = new_id();
    connection
        .prepare_cached("INSERT INTO traces (id, tag, start) VALUES (?, ?, ?)")?
        .execute(params![id, tag, Timestamp::now().0])?;
    Ok(id)
}

pub fn add_to_trace(connection: &Connection, trace: &str, item: &TraceItem) -> Result<()> {
    let (cause_kind, cause) = item.caused_by.clone().unzip();
    connection
        .prepare_cached(
            "INSERT INTO trace_items (trace, kind, object, reference, updated, cause_kind, cause)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            trace,
            trace_word(item.kind),
            item.object_id,
            item.reference,
            item.updated.0,
            cause_kind,
            cause
        ])?;
    Ok(())
}

pub fn trace(connection: &Connection, id: &str) -> Result<Option<Trace>> {
    let found = by_id(connection, "traces", id, to_trace)?;
    found.map(|trace| with_items(connection, trace)).transpose()
}

pub fn traces(connection: &Connection, tag: Option<&str>, range: Range) -> Result<Page<Trace>> {
    let values = params![tag, tag];
    let condition = "WHERE (? IS NULL OR tag = ?)";
    let found = page(
        connection,
        "traces",
        condition,
        "ORDER BY start DESC, id DESC",
        values,
        range,
        to_trace,
    )?;
    let items = found
        .items
        .into_iter()
        .map(|trace| with_items(connection, trace))
        .collect::<Result<_>>()?;
    Ok(Page {
        items,
        total: found.total,
    })
}

fn to_trace(row: &Row<'_>) -> rusqlite::Result<Trace> {
    let start = Timestamp(row.get("start")?);
    Ok(Trace {
        id: row.get("id")?,
        tag: row.get("tag")?,
        start,
        items: Vec::new(),
    })
}

fn with_items(connection: &Connection, mut trace: Trace) -> Result<Trace> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM trace_items WHERE trace = ? ORDER BY rowid")?;
    let to_item = |row: &Row<'_>| {
        let kind = match row.get::<_, String>("kind")?.as_str() {
            "trigger_instance" => TraceKind::TriggerInstance,
            "rule" => TraceKind::Rule,
            _ => TraceKind::Execution,
        };
        Ok(TraceItem {
            kind,
            object_id: row.get("object")?,
            reference: row.get("reference")?,
            updated: Timestamp(row.get("updated")?),
            caused_by: Option::zip(row.get("cause_kind")?, row.get("cause")?),
        })
    };
    trace.items = statement
        .query_map([&trace.id], to_item)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(trace)
}

fn trace_word(kind: TraceKind) -> &'static str {
    match kind {
        TraceKind::TriggerInstance => "trigger_instance",
        TraceKind::Rule => "rule",
        TraceKind::Execution => "execution",
    }
}

fn by_id<T>(
    connection: &Connection,
    table: &str,
    id: &str,
    to_item: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(&format!("SELECT * FROM {table} WHERE id = ?"))?;
    Ok(statement.query_row([id], to_item).optional()?)
}

/// One part of the rows that meet `condition`, and how many meet it.
pub fn page<T>(
    connection: &Connection,
    table: &str,
    condition: &str,
    order: &str,
    values: &[&dyn ToSql],
    range: Range,
    to_item: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Page<T>> {
    let count = format!("SELECT count(*) FROM {table} {condition}");
    let total: usize = connection
        .prepare_cached(&count)?
        .query_row(values, |row| row.get(0))?;
    let Range { limit, offset } = range;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let select = format!("SELECT * FROM {table} {condition} {order} LIMIT {limit} OFFSET {offset}");
    // Limits vary without end, so these statements are not kept.
    let items = connection
        .prepare(&select)?
        .query_map(values, to_item)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Page { items, total })
}

/// A column that holds JSON.
pub fn json_column<T: DeserializeOwned>(row: &Row<'_>, name: &str) -> rusqlite::Result<T> {
    let text: String = row.get(name)?;
    serde_json::from_str(&text).map_err(|error| broken(error.into()))
}

/// What a column holds is not what this engine writes.
pub fn broken(error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error)
}
