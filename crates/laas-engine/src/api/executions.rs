//! `/v1/executions`.

use axum::extract::{Extension, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use laas_engine::model::{Execution, ExecutionFilter, NewExecution, Object, Rerun, Status, Timestamp};
use laas_engine::pack::runner_types;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::query::{Body, Listing, Params, View};
use super::{ApiError, App, SharedApp, catalog};
use crate::auth::Caller;

/// The routes of executions.
pub fn routes() -> Router<SharedApp> {
    Router::new()
        .route("/executions", get(list).post(create))
        .route("/executions/{id}", get(get_one).put(update).delete(cancel))
        .route("/executions/{id}/re_run", post(rerun))
        .route("/executions/{id}/children", get(children))
        .route("/executions/{id}/output", get(output))
        .route("/executions/{id}/result", get(result))
        .route("/executions/{id}/attribute/{name}", get(attribute))
}

type Created = (StatusCode, Json<Value>);

async fn create(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Created, ApiError> {
    for name in ["delay", "notify"] {
        if body
            .0
            .get(name)
            .is_some_and(|value| !matches!(value, Value::Null) && *value != json!(0))
        {
            return Err(ApiError::bad_request(format!(
                "`{name}` is not supported by this engine"
            )));
        }
    }
    let new = NewExecution {
        action: body.required_text("action")?.to_string(),
        parameters: body.object("parameters")?,
        user: body.text("user")?.unwrap_or(&caller.user).to_string(),
        trace_tag: trace_tag(&app, &body.object("context")?).await?,
    };
    let execution = app.engine.request(new).await?;
    Ok((StatusCode::CREATED, Json(render(&app, &execution))))
}

/// The tag that a client gives, or the tag of the trace whose id it gives.
async fn trace_tag(app: &App, context: &Object) -> Result<Option<String>, ApiError> {
    let Some(trace) = context.get("trace_context") else {
        return Ok(None);
    };
    if let Some(id) = trace["id_"].as_str() {
        let trace = app.engine.store().trace(id).await?;
        return Ok(Some(trace.ok_or_else(|| ApiError::no_such_id(id))?.tag));
    }
    Ok(trace["trace_tag"].as_str().map(str::to_string))
}

async fn list(State(app): State<SharedApp>, params: Params) -> Result<Response, ApiError> {
    let listing = Listing::of(&params)?;
    let store = app.engine.store();
    let parent = params.get("parent").map(String::as_str);
    if let Some(id) = parent.filter(|parent| *parent != "null") {
        let children = store.descendants(id, Some(1)).await?;
        return Ok(listing.answer_part_of(children.iter().map(|child| render(&app, child)).collect()));
    }
    let text = |name: &str| params.get(name).cloned();
    let is_true = |name: &str| {
        params
            .get(name)
            .is_some_and(|flag| flag.eq_ignore_ascii_case("true"))
    };
    let status = params.get("status").map(|word| word.parse());
    let filter = ExecutionFilter {
        action: text("action"),
        status: status
            .transpose()
            .map_err(|error| ApiError::bad_request(format!("{error}")))?,
        user: text("user"),
        trigger_instance: text("trigger_instance"),
        trace_tag: text("trace_tag"),
        started_after: moment(&params, "timestamp_gt")?,
        started_before: moment(&params, "timestamp_lt")?,
        top_level: parent.is_some(),
        ascending: is_true("sort_asc"),
    };
    let page = store.executions(&filter, listing.range).await?;
    Ok(listing.answer(
        page.items.iter().map(|execution| render(&app, execution)),
        page.total,
    ))
}

fn moment(params: &Params, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = params.get(name) else {
        return Ok(None);
    };
    let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        ApiError::bad_request(format!("`{name}` is not a time like `2000-01-01T12:00:00.000Z`"))
    })?;
    Ok(Some(Timestamp(
        i64::try_from(parsed.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX),
    )))
}

async fn get_one(
    State(app): State<SharedApp>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(
        View::of(&params).apply(render(&app, &find(&app, &id).await?)),
    ))
}

async fn find(app: &App, id: &str) -> Result<Execution, ApiError> {
    app.engine
        .store()
        .execution(id)
        .await?
        .ok_or_else(|| ApiError::no_such_id(id))
}

async fn cancel(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let execution = app.engine.cancel(&id, &caller.user).await?;
    Ok(Json(render(&app, &execution)))
}

/// What `st2 execution pause` and `resume` send, and whoever knows how an execution has ended.
async fn update(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let execution = match body.required_text("status")? {
        word @ ("succeeded" | "failed" | "timeout" | "abandoned") => {
            let status = word
                .parse()
                .map_err(|error| ApiError::bad_request(format!("{error}")))?;
            app.engine
                .conclude(&id, status, body.0.get("result").cloned())
                .await?
        }
        // Whoever is at it has had its time.
        "canceled" if find(&app, &id).await?.is_canceling_action() => {
            app.engine.conclude(&id, Status::Canceled, None).await?
        }
        "canceling" | "canceled" => app.engine.cancel(&id, &caller.user).await?,
        "pausing" | "paused" => app.engine.pause(&id, &caller.user).await?,
        "resuming" | "running" => app.engine.resume(&id, &caller.user).await?,
        other => {
            let fault = format!("An execution cannot be set to \"{other}\" from outside.");
            return Err(ApiError::bad_request(fault));
        }
    };
    Ok(Json(render(&app, &execution)))
}

async fn rerun(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Created, ApiError> {
    let rerun = Rerun {
        parameters: body.object("parameters")?,
        tasks: body.texts("tasks")?,
        reset: body.texts("reset")?,
        user: caller.user,
    };
    let execution = app.engine.rerun(&id, rerun).await?;
    Ok((StatusCode::CREATED, Json(render(&app, &execution))))
}

async fn children(
    State(app): State<SharedApp>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    find(&app, &id).await?;
    let depth = match params.get("depth") {
        None => None,
        Some(text) => {
            let depth: i64 = text
                .parse()
                .map_err(|_| ApiError::bad_request(format!("`depth` must be a number, but is \"{text}\"")))?;
            usize::try_from(depth).ok()
        }
    };
    let view = View::of(&params);
    let children = app.engine.store().descendants(&id, depth).await?;
    Ok(Json(
        children
            .iter()
            .map(|child| view.apply(render(&app, child)))
            .collect(),
    ))
}

/// What the action wrote, for a workflow what became of its steps.
async fn output(
    State(app): State<SharedApp>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let execution = find(&app, &id).await?;
    let mut text = String::new();
    if execution.is_workflow {
        for child in app.engine.store().descendants(&id, Some(1)).await? {
            let task = &child.context["orquesta"]["task_name"];
            let task = task.as_str().unwrap_or_default();
            let (id, status) = (&child.id, child.status);
            text += &format!(
                "Action execution \"{id}\" for task \"{task}\" is updated and in \"{status}\" state.\n"
            );
        }
    } else {
        let wanted = params.get("output_type").map_or("all", String::as_str);
        let parts = written(&execution)
            .into_iter()
            .filter(|(kind, _)| ["all", kind].contains(&wanted));
        text.extend(parts.map(|(_, part)| part));
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], text).into_response())
}

/// What the process wrote to its two streams, each as a whole and without what has no text.
pub fn written(execution: &Execution) -> Vec<(&'static str, String)> {
    let stream = |name: &str| match execution.result.as_ref()?.get(name)? {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(format!("{text}\n")),
        // It was parsed because it was JSON.
        parsed => Some(format!("{parsed}\n")),
    };
    let streams = [("stderr", stream("stderr")), ("stdout", stream("stdout"))];
    streams
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)))
        .collect()
}

async fn result(State(app): State<SharedApp>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(find(&app, &id).await?.result.unwrap_or(json!({}))))
}

async fn attribute(
    State(app): State<SharedApp>,
    Path((id, name)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let execution = render(&app, &find(&app, &id).await?);
    let unknown = || ApiError::bad_request(format!("Invalid attribute \"{name}\" specified."));
    Ok(Json(execution.get(&name).ok_or_else(unknown)?.clone()))
}

/// As the API shows an execution: with its action and runner, secret parameters masked.
pub fn render(app: &App, execution: &Execution) -> Value {
    let packs = app.engine.packs();
    let action = packs.actions.get(&execution.action);
    let parameters = match action {
        Some(action) => action.mask(&execution.parameters),
        // The pack has lost the action since; nobody knows which parameters were secret.
        None => Object::new(),
    };
    let rendered_action = match action {
        Some(action) => catalog::render_action(action),
        None => {
            let (pack, name) = execution.action.split_once('.').unwrap_or_default();
            json!({"ref": execution.action, "pack": pack, "name": name, "parameters": {}, "output_schema": {}})
        }
    };
    let runner_name = if execution.is_workflow {
        "orquesta"
    } else {
        "local-shell-script"
    };
    let runner = runner_types().iter().find(|runner| runner["name"] == runner_name);
    let runner_info = match execution.runner_pid {
        0 => json!({}),
        pid => json!({"hostname": app.hostname, "pid": pid}),
    };
    let mut rendered = Object::new();
    let mut put = |name: &str, value: Value| rendered.insert(name.to_string(), value);
    put("action", rendered_action);
    put("runner", runner.map(catalog::render_runner).unwrap_or_default());
    put(
        "liveaction",
        json!({
            "action": execution.action,
            "action_is_workflow": execution.is_workflow,
            "parameters": parameters,
            "callback": {},
            "runner_info": runner_info,
            "id": execution.liveaction_id,
        }),
    );
    if let (Some(workflow), Some(task)) = (&execution.workflow_execution, &execution.task_execution) {
        put("workflow_execution", json!(workflow));
        put("task_execution", json!(task));
    }
    put("status", json!(execution.status));
    put("start_timestamp", json!(execution.start));
    if let Some(end) = execution.end {
        put("end_timestamp", json!(end));
    }
    put("parameters", Value::Object(parameters));
    if let Some(result) = &execution.result {
        put("result_size", json!(result.to_string().len()));
    }
    put("context", Value::Object(execution.context.clone()));
    if let Some(parent) = &execution.parent {
        put("parent", json!(parent));
    }
    if !execution.children.is_empty() {
        put("children", json!(execution.children));
    }
    put("log", json!(execution.log));
    put("id", json!(execution.id));
    if let Some(result) = &execution.result {
        put("result", result.clone());
    }
    if let Some(seconds) = execution.elapsed_seconds() {
        put("elapsed_seconds", json!(seconds));
    }
    Value::Object(rendered)
}
