CREATE TABLE IF NOT EXISTS executions (
    id TEXT PRIMARY KEY,
    liveaction TEXT NOT NULL,
    action TEXT NOT NULL,
    is_workflow INTEGER NOT NULL,
    status TEXT NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER,
    parameters TEXT NOT NULL,
    -- Names of parameters that are kept as templates, because their values may be secrets.
    deferred TEXT NOT NULL,
    context TEXT NOT NULL,
    result TEXT,
    log TEXT NOT NULL,
    parent TEXT,
    workflow TEXT,
    task TEXT,
    trace TEXT,
    trigger_instance TEXT,
    user TEXT NOT NULL,
    runner_pid INTEGER NOT NULL,
    not_before INTEGER
);
CREATE INDEX IF NOT EXISTS executions_by_start ON executions (start, id);
CREATE INDEX IF NOT EXISTS executions_by_parent ON executions (parent, start, id) WHERE parent IS NOT NULL;
CREATE INDEX IF NOT EXISTS executions_unfinished ON executions (start, id) WHERE end IS NULL;
CREATE INDEX IF NOT EXISTS executions_by_trace ON executions (trace) WHERE trace IS NOT NULL;
CREATE INDEX IF NOT EXISTS executions_by_trigger ON executions (trigger_instance) WHERE trigger_instance IS NOT NULL;

CREATE TABLE IF NOT EXISTS workflows (
    id TEXT PRIMARY KEY,
    execution TEXT NOT NULL,
    spec TEXT NOT NULL,
    state TEXT NOT NULL
);

-- A workflow goes on as it was begun even when its file changes.
CREATE TABLE IF NOT EXISTS specs (
    digest TEXT PRIMARY KEY,
    text TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS keys (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    value TEXT NOT NULL,
    secret INTEGER NOT NULL,
    expires INTEGER,
    PRIMARY KEY (scope, name)
);

CREATE TABLE IF NOT EXISTS tokens (
    hash TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    user TEXT NOT NULL,
    kind TEXT NOT NULL,
    expires INTEGER,
    execution TEXT
);
CREATE INDEX IF NOT EXISTS tokens_by_execution ON tokens (execution) WHERE execution IS NOT NULL;

CREATE TABLE IF NOT EXISTS rule_states (
    rule TEXT PRIMARY KEY,
    enabled INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS trigger_instances (
    id TEXT PRIMARY KEY,
    trigger TEXT NOT NULL,
    payload TEXT NOT NULL,
    occurred INTEGER NOT NULL,
    status TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS rule_enforcements (
    id TEXT PRIMARY KEY,
    rule TEXT NOT NULL,
    trigger_instance TEXT NOT NULL,
    execution TEXT,
    failure_reason TEXT,
    enforced INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS traces (
    id TEXT PRIMARY KEY,
    tag TEXT NOT NULL,
    start INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS traces_by_tag ON traces (tag);

CREATE TABLE IF NOT EXISTS trace_items (
    trace TEXT NOT NULL,
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    reference TEXT NOT NULL,
    updated INTEGER NOT NULL,
    cause_kind TEXT,
    cause TEXT
);
CREATE INDEX IF NOT EXISTS trace_items_by_trace ON trace_items (trace);
