//! Everything that must outlive the process, in one SQLite file.

use std::path::Path;

use crate::model::*;

/// The store did not answer as it should.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the database failed: {0}")]
pub struct StoreError(String);

type Result<T> = std::result::Result<T, StoreError>;

/// A part of a list and how long the whole of it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: usize,
}

/// Which part of a list, newest first unless the method says otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    pub limit: usize,
    pub offset: usize,
}

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens the database at `path` and brings its tables up to date.
    pub fn open(path: &Path) -> Result<Store> {
        let _ = path;
        Err(StoreError("not yet".into()))
    }

    /// The key, `None` when there is none or it has expired.
    pub async fn key(&self, scope: &str, name: &str) -> Result<Option<Key>> {
        let _ = (scope, name);
        Ok(None)
    }

    /// Keys by name, of one scope or of all, whose name starts with `prefix`.
    pub async fn keys(&self, scope: Option<&str>, prefix: &str, range: Range) -> Result<Page<Key>> {
        let _ = (scope, prefix, range);
        Ok(Page {
            items: Vec::new(),
            total: 0,
        })
    }

    /// Writes the key (the one of the same scope and name keeps its id) and returns it once it is on the disk.
    pub async fn put_key(&self, key: Key) -> Result<Key> {
        Ok(key)
    }

    /// Whether there was such a key.
    pub async fn delete_key(&self, scope: &str, name: &str) -> Result<bool> {
        let _ = (scope, name);
        Ok(false)
    }

    /// Makes a new random token and returns its text, which is kept nowhere, with its record.
    pub async fn issue_token(
        &self,
        user: &str,
        kind: TokenKind,
        expires: Option<Timestamp>,
        execution: Option<&str>,
    ) -> Result<(String, Token)> {
        let _ = (user, kind, expires, execution);
        Err(StoreError("not yet".into()))
    }

    /// Registers a token whose text was chosen elsewhere, for example an API key from a file.
    pub async fn put_token(
        &self,
        text: &str,
        user: &str,
        kind: TokenKind,
        expires: Option<Timestamp>,
    ) -> Result<()> {
        let _ = (text, user, kind, expires);
        Ok(())
    }

    /// Who `text` speaks for; `None` when unknown or expired.
    pub async fn token(&self, text: &str, kind: TokenKind) -> Result<Option<Token>> {
        let _ = (text, kind);
        Ok(None)
    }

    /// Whether the rule is enabled when someone has changed it since it was loaded.
    pub async fn rule_enabled(&self, rule: &str) -> Result<Option<bool>> {
        let _ = rule;
        Ok(None)
    }

    /// Overrides what the rule's file says.
    pub async fn set_rule_enabled(&self, rule: &str, enabled: bool) -> Result<()> {
        let _ = (rule, enabled);
        Ok(())
    }

    pub async fn execution(&self, id: &str) -> Result<Option<Execution>> {
        let _ = id;
        Ok(None)
    }

    pub async fn executions(&self, filter: &ExecutionFilter, range: Range) -> Result<Page<Execution>> {
        let _ = (filter, range);
        Ok(Page {
            items: Vec::new(),
            total: 0,
        })
    }

    /// What `id` asked for and, `depth` levels down (`None`: all), what those asked for, oldest first.
    pub async fn descendants(&self, id: &str, depth: Option<usize>) -> Result<Vec<Execution>> {
        let _ = (id, depth);
        Ok(Vec::new())
    }

    pub async fn trigger_instance(&self, id: &str) -> Result<Option<TriggerInstance>> {
        let _ = id;
        Ok(None)
    }

    /// Of one trigger type or of all.
    pub async fn trigger_instances(
        &self,
        trigger: Option<&str>,
        range: Range,
    ) -> Result<Page<TriggerInstance>> {
        let _ = (trigger, range);
        Ok(Page {
            items: Vec::new(),
            total: 0,
        })
    }

    pub async fn rule_enforcement(&self, id: &str) -> Result<Option<RuleEnforcement>> {
        let _ = id;
        Ok(None)
    }

    /// Of one rule or of all.
    pub async fn rule_enforcements(&self, rule: Option<&str>, range: Range) -> Result<Page<RuleEnforcement>> {
        let _ = (rule, range);
        Ok(Page {
            items: Vec::new(),
            total: 0,
        })
    }

    pub async fn trace(&self, id: &str) -> Result<Option<Trace>> {
        let _ = id;
        Ok(None)
    }

    /// Of one tag or of all.
    pub async fn traces(&self, tag: Option<&str>, range: Range) -> Result<Page<Trace>> {
        let _ = (tag, range);
        Ok(Page {
            items: Vec::new(),
            total: 0,
        })
    }
}
