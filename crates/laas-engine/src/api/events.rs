//! The generic webhook, and what became of the events that came in through it.

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use laas_engine::model::{RuleEnforcement, Trace, TraceItem, TraceKind, TriggerInstance, id_of};
use serde_json::{Value, json};

use super::query::{Body, Listing, Params, View};
use super::{ApiError, App, SharedApp};
use crate::auth::Caller;
use crate::crypto;

/// The routes of events.
pub fn routes() -> Router<SharedApp> {
    Router::new()
        .route("/webhooks/{hook}", post(webhook))
        .route("/triggerinstances", get(list_trigger_instances))
        .route("/triggerinstances/{id}", get(get_trigger_instance))
        .route("/triggerinstances/{id}/re_emit", post(re_emit))
        .route("/ruleenforcements", get(list_rule_enforcements))
        .route("/ruleenforcements/{id}", get(get_rule_enforcement))
        .route("/traces", get(list_traces))
        .route("/traces/{id}", get(get_trace))
}

async fn webhook(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    Path(hook): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    if hook != "st2" {
        return Err(ApiError::not_found(format!(
            "Webhook {hook} not registered with st2"
        )));
    }
    let trigger = body.text("trigger")?.filter(|trigger| !trigger.is_empty());
    let trigger = trigger.ok_or_else(|| ApiError::bad_request("Trigger not specified."))?;
    let payload = body.0.get("payload").cloned().unwrap_or(json!({}));
    let tag = match headers.get("st2-trace-tag").and_then(|tag| tag.to_str().ok()) {
        Some(tag) => tag.to_string(),
        None => format!("webhook-{hook}-{}", crypto::random_id()?),
    };
    let instance = app.engine.dispatch(trigger, payload, Some(&tag)).await?;
    tracing::info!(
        user = caller.user,
        trigger,
        trace_tag = tag,
        instance = instance.id,
        "dispatched"
    );
    Ok((StatusCode::ACCEPTED, Json(Value::Object(body.0))))
}

type One = Result<Json<Value>, ApiError>;

fn one(params: &Params, id: &str, found: Option<Value>) -> One {
    Ok(Json(
        View::of(params).apply(found.ok_or_else(|| ApiError::no_such_id(id))?),
    ))
}

async fn list_trigger_instances(State(app): State<SharedApp>, params: Params) -> Result<Response, ApiError> {
    let listing = Listing::of(&params)?;
    let trigger = params.get("trigger").map(String::as_str);
    let page = app
        .engine
        .store()
        .trigger_instances(trigger, listing.range)
        .await?;
    Ok(listing.answer(page.items.iter().map(render_trigger_instance), page.total))
}

async fn get_trigger_instance(State(app): State<SharedApp>, Path(id): Path<String>, params: Params) -> One {
    let found = app.engine.store().trigger_instance(&id).await?;
    one(&params, &id, found.as_ref().map(render_trigger_instance))
}

async fn re_emit(State(app): State<SharedApp>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let instance = app
        .engine
        .store()
        .trigger_instance(&id)
        .await?
        .ok_or_else(|| ApiError::no_such_id(&id))?;
    app.engine
        .dispatch(&instance.trigger, instance.payload.clone(), None)
        .await?;
    let message = format!("Trigger instance {id} succesfully re-sent.");
    Ok(Json(json!({"message": message, "payload": instance.payload})))
}

fn render_trigger_instance(instance: &TriggerInstance) -> Value {
    json!({
        "trigger": instance.trigger,
        "payload": instance.payload,
        "occurrence_time": instance.occurred,
        "status": instance.status,
        "id": instance.id,
    })
}

async fn list_rule_enforcements(State(app): State<SharedApp>, params: Params) -> Result<Response, ApiError> {
    let listing = Listing::of(&params)?;
    let rule = params.get("rule_ref").or(params.get("rule")).map(String::as_str);
    let page = app.engine.store().rule_enforcements(rule, listing.range).await?;
    Ok(listing.answer(
        page.items
            .iter()
            .map(|enforcement| render_enforcement(&app, enforcement)),
        page.total,
    ))
}

async fn get_rule_enforcement(State(app): State<SharedApp>, Path(id): Path<String>, params: Params) -> One {
    let found = app.engine.store().rule_enforcement(&id).await?;
    one(
        &params,
        &id,
        found
            .as_ref()
            .map(|enforcement| render_enforcement(&app, enforcement)),
    )
}

fn render_enforcement(app: &App, enforcement: &RuleEnforcement) -> Value {
    let mut rule = json!({"ref": enforcement.rule});
    if let Some(known) = app.engine.packs().rules.get(&enforcement.rule) {
        rule["id"] = json!(known.id);
        rule["uid"] = json!(format!("rule:{}:{}", known.pack, known.name));
    }
    let mut rendered = json!({"trigger_instance_id": enforcement.trigger_instance});
    if let Some(execution) = &enforcement.execution {
        rendered["execution_id"] = json!(execution);
    }
    if let Some(reason) = &enforcement.failure_reason {
        rendered["failure_reason"] = json!(reason);
    }
    rendered["rule"] = rule;
    rendered["enforced_at"] = json!(enforcement.enforced);
    rendered["status"] = json!(if enforcement.failure_reason.is_none() {
        "succeeded"
    } else {
        "failed"
    });
    rendered["id"] = json!(enforcement.id);
    rendered
}

async fn list_traces(State(app): State<SharedApp>, params: Params) -> Result<Response, ApiError> {
    let listing = Listing::of(&params)?;
    let tag = params.get("trace_tag").map(String::as_str);
    let page = app.engine.store().traces(tag, listing.range).await?;
    Ok(listing.answer(page.items.iter().map(render_trace), page.total))
}

async fn get_trace(State(app): State<SharedApp>, Path(id): Path<String>, params: Params) -> One {
    let found = app.engine.store().trace(&id).await?;
    one(&params, &id, found.as_ref().map(render_trace))
}

fn render_trace(trace: &Trace) -> Value {
    let items = |kind: TraceKind| -> Value {
        let of_kind = trace.items.iter().filter(|item| item.kind == kind);
        of_kind.map(render_trace_item).collect()
    };
    json!({
        // As long as StackStorm's, 32 digits.
        "uid": format!("trace:{}{}", &id_of(&trace.tag)[..8], trace.id),
        "trace_tag": trace.tag,
        "trigger_instances": items(TraceKind::TriggerInstance),
        "rules": items(TraceKind::Rule),
        "action_executions": items(TraceKind::Execution),
        "start_timestamp": trace.start,
        "id": trace.id,
    })
}

fn render_trace_item(item: &TraceItem) -> Value {
    let caused_by = match &item.caused_by {
        Some((kind, id)) => json!({"type": kind, "id": id}),
        None => json!({}),
    };
    json!({
        "object_id": item.object_id,
        "ref": item.reference,
        "updated_at": item.updated,
        "caused_by": caused_by,
    })
}
