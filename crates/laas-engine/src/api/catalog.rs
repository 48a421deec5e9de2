//! What was loaded from packs: packs, actions, rules, trigger types, aliases, sensors, policies, configs, runner types.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use laas_engine::model::{Object, id_of};
use laas_engine::pack::{Action, Alias, MASKED, Pack, Policy, Rule, Sensor, TriggerType, runner_types};
use serde_json::{Value, json};

use super::query::{Body, Listing, Params, View};
use super::{ApiError, App, SharedApp};

/// The routes of everything that comes from files.
pub fn routes() -> Router<SharedApp> {
    let mut routes = Router::new()
        .route("/rules/{id}", axum::routing::put(put_rule))
        .route("/sensortypes/{id}", axum::routing::put(put_sensor))
        .route("/packs/register", axum::routing::post(register));
    for kind in KINDS {
        routes = routes.route(
            &format!("/{}", kind.path),
            get(async move |app, params| list(kind, app, params).await),
        );
        let one = get(async move |app, params, id| get_one(kind, app, params, id).await);
        routes = routes.route(&format!("/{}/{{id}}", kind.path), one);
    }
    routes
}

/// One kind of resource.
struct Kind {
    path: &'static str,
    /// All of them as the API shows them.
    render: fn(&App) -> Vec<Value>,
    /// Names of the query and where in the rendered object they look.
    filters: &'static [(&'static str, &'static str)],
    /// Where in the rendered object the path's last part may be found, beside `/id`.
    reference: &'static str,
}

const PACK_AND_NAME: &[(&str, &str)] = &[("pack", "/pack"), ("name", "/name")];

const KINDS: &[Kind] = &[
    Kind {
        path: "actions",
        render: actions,
        filters: PACK_AND_NAME,
        reference: "/ref",
    },
    Kind {
        path: "rules",
        render: rules,
        filters: &[
            ("pack", "/pack"),
            ("name", "/name"),
            ("action", "/action/ref"),
            ("trigger", "/trigger/ref"),
        ],
        reference: "/ref",
    },
    Kind {
        path: "triggertypes",
        render: trigger_types,
        filters: PACK_AND_NAME,
        reference: "/ref",
    },
    Kind {
        path: "actionalias",
        render: aliases,
        filters: PACK_AND_NAME,
        reference: "/ref",
    },
    Kind {
        path: "sensortypes",
        render: sensors,
        filters: PACK_AND_NAME,
        reference: "/ref",
    },
    Kind {
        path: "policies",
        render: policies,
        filters: &[("resource_ref", "/resource_ref"), ("policy_type", "/policy_type")],
        reference: "/ref",
    },
    Kind {
        path: "packs",
        render: packs,
        filters: &[("name", "/name"), ("ref", "/ref")],
        reference: "/ref",
    },
    Kind {
        path: "configs",
        render: configs,
        filters: &[],
        reference: "/pack",
    },
    Kind {
        path: "config_schemas",
        render: config_schemas,
        filters: &[],
        reference: "/pack",
    },
    Kind {
        path: "runnertypes",
        render: runners,
        filters: &[("name", "/name")],
        reference: "/name",
    },
];

async fn list(kind: &Kind, State(app): State<SharedApp>, params: Params) -> Result<Response, ApiError> {
    let wanted = |item: &Value| {
        kind.filters
            .iter()
            .all(|(name, pointer)| match params.get(*name) {
                Some(value) => item.pointer(pointer).and_then(Value::as_str) == Some(value),
                None => true,
            })
    };
    let mut items = (kind.render)(&app);
    items.retain(wanted);
    apply_states(&app, kind, &mut items).await?;
    Ok(Listing::of(&params)?.answer_part_of(items))
}

async fn get_one(
    kind: &Kind,
    State(app): State<SharedApp>,
    params: Params,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let is_it = |item: &Value| item["id"] == id.as_str() || item.pointer(kind.reference) == Some(&json!(id));
    let mut items = (kind.render)(&app);
    items.retain(is_it);
    apply_states(&app, kind, &mut items).await?;
    let item = items.pop().ok_or_else(|| ApiError::no_such_reference(&id))?;
    Ok(Json(View::of(&params).apply(item)))
}

/// Whether a rule or a sensor is enabled is the only thing about the content of packs that the API can change.
async fn apply_states(app: &App, kind: &Kind, items: &mut [Value]) -> Result<(), ApiError> {
    let name = match kind.path {
        "rules" => "ref",
        "sensortypes" => "uid",
        _ => return Ok(()),
    };
    for item in items {
        let name = item[name].as_str().unwrap_or_default();
        if let Some(enabled) = app.engine.store().rule_enabled(name).await? {
            item["enabled"] = enabled.into();
        }
    }
    Ok(())
}

/// What `st2 rule enable` and `disable` send: the whole rule with another `enabled`.
async fn put_rule(
    State(app): State<SharedApp>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let by_id = |rule: &&Arc<Rule>| rule.id == id || rule.reference == id;
    let packs = app.engine.packs();
    let rule = packs
        .rules
        .values()
        .find(by_id)
        .ok_or_else(|| ApiError::no_such_reference(&id))?;
    let mut rendered = render_rule(rule);
    let differs = |name: &str| body.0.get(name).is_some_and(|value| *value != rendered[name]);
    if let Some(name) = ["name", "pack", "trigger", "criteria", "action"]
        .into_iter()
        .find(|name| differs(name))
    {
        let file = format!("{}/{}", rule.pack, rule.metadata_file);
        let fault = format!(
            "`{name}` of the rule \"{}\" comes from its pack: change `{file}`",
            rule.reference
        );
        return Err(ApiError::bad_request(fault));
    }
    if !body.0.contains_key("enabled") {
        return Err(ApiError::bad_request("'enabled' is a required property"));
    }
    let enabled = body.flag("enabled")?;
    let states = vec![(rule.reference.clone(), enabled)];
    app.engine.store().set_enabled(states).await?;
    rendered["enabled"] = enabled.into();
    Ok(Json(rendered))
}

/// What `st2 sensor enable` and `disable` send. As StackStorm, it looks at nothing but `enabled`.
async fn put_sensor(
    State(app): State<SharedApp>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let is_it = |sensor: &&Value| sensor["id"] == id.as_str() || sensor["ref"] == id.as_str();
    let mut rendered = sensors(&app)
        .iter()
        .find(is_it)
        .cloned()
        .ok_or_else(|| ApiError::no_such_reference(&id))?;
    let enabled = body.flag("enabled")?;
    let uid = rendered["uid"].as_str().unwrap_or_default().to_string();
    app.engine.store().set_enabled(vec![(uid, enabled)]).await?;
    app.engine.sensors_have_changed();
    rendered["enabled"] = enabled.into();
    Ok(Json(rendered))
}

/// What `st2 pack register` asks for. All kinds are read anew whatever `types` says, as they refer to each other.
async fn register(State(app): State<SharedApp>, body: Body) -> Result<Json<Value>, ApiError> {
    let names = body.texts("packs")?;
    let engine = app.engine.clone();
    // It reads many files.
    let registered = tokio::task::spawn_blocking(move || engine.register(&names)).await;
    let registered = registered.map_err(|error| ApiError::internal(&error))??;
    Ok(Json(json!(registered)))
}

fn actions(app: &App) -> Vec<Value> {
    app.engine
        .packs()
        .actions
        .values()
        .map(|action| render_action(action))
        .collect()
}

/// As the API shows an action, also within its executions.
pub fn render_action(action: &Action) -> Value {
    json!({
        "tags": action.tags,
        "uid": format!("action:{}:{}", action.pack, action.name),
        "metadata_file": action.metadata_file,
        "name": action.name,
        "ref": action.reference,
        "description": action.description,
        "enabled": action.enabled,
        "entry_point": action.entry_point,
        "pack": action.pack,
        "runner_type": action.runner_type,
        "parameters": action.parameters,
        "output_schema": action.output_schema,
        "notify": action.notify,
        "id": action.id,
    })
}

fn rules(app: &App) -> Vec<Value> {
    app.engine
        .packs()
        .rules
        .values()
        .map(|rule| render_rule(rule))
        .collect()
}

fn render_rule(rule: &Rule) -> Value {
    json!({
        "tags": rule.tags,
        "uid": format!("rule:{}:{}", rule.pack, rule.name),
        "metadata_file": rule.metadata_file,
        "name": rule.name,
        "ref": rule.reference,
        "description": rule.description,
        "pack": rule.pack,
        "type": {"ref": "standard", "parameters": {}},
        "trigger": {"type": rule.trigger, "parameters": rule.trigger_parameters, "ref": rule.trigger},
        "criteria": rule.criteria,
        "action": {"ref": rule.action, "parameters": rule.action_parameters},
        "context": {"user": "st2admin"},
        "enabled": rule.enabled,
        "id": rule.id,
    })
}

fn trigger_types(app: &App) -> Vec<Value> {
    let render = |trigger: &TriggerType| {
        json!({
            "description": trigger.description,
            "tags": trigger.tags,
            "uid": format!("trigger_type:{}:{}", trigger.pack, trigger.name),
            "metadata_file": trigger.metadata_file,
            "ref": trigger.reference,
            "name": trigger.name,
            "pack": trigger.pack,
            "payload_schema": trigger.payload_schema,
            "parameters_schema": trigger.parameters_schema,
            "id": trigger.id,
        })
    };
    app.engine.packs().triggers.values().map(render).collect()
}

fn aliases(app: &App) -> Vec<Value> {
    let render = |alias: &Alias| {
        let own = json!({
            "uid": format!("action_alias:{}:{}", alias.pack, alias.name),
            "metadata_file": alias.metadata_file,
            "name": alias.name,
            "ref": alias.reference,
            "pack": alias.pack,
            "enabled": alias.definition.get("enabled").cloned().unwrap_or(Value::Bool(true)),
            "id": alias.id,
        });
        overlay(&alias.definition, own)
    };
    app.engine.packs().aliases.values().map(render).collect()
}

fn sensors(app: &App) -> Vec<Value> {
    let render = |sensor: &Sensor| {
        let own = json!({
            "uid": sensor.uid(),
            "metadata_file": sensor.metadata_file,
            "name": sensor.class_name,
            "ref": sensor.reference,
            "pack": sensor.pack,
            "artifact_uri": format!("file://{}", sensor.path.display()),
            "enabled": sensor.enabled,
            "id": sensor.id,
        });
        overlay(&sensor.definition, own)
    };
    app.engine.packs().sensors.values().map(render).collect()
}

fn policies(app: &App) -> Vec<Value> {
    let render = |policy: &Policy| {
        json!({
            "uid": format!("policy:{}:{}", policy.pack, policy.name),
            "metadata_file": policy.metadata_file,
            "name": policy.name,
            "ref": policy.reference,
            "pack": policy.pack,
            "enabled": policy.enabled,
            "resource_ref": policy.resource_ref,
            "policy_type": policy.policy_type,
            "parameters": policy.parameters,
            "id": policy.id,
        })
    };
    app.engine.packs().policies.values().map(render).collect()
}

fn packs(app: &App) -> Vec<Value> {
    let render = |pack: &Pack| {
        let given = |name: &str, default: Value| pack.metadata.get(name).cloned().unwrap_or(default);
        let own = json!({
            "uid": format!("pack:{}", pack.name),
            "ref": pack.name,
            "name": given("name", json!(pack.name)),
            "keywords": given("keywords", json!([])),
            "contributors": given("contributors", json!([])),
            "files": pack.files,
            "path": pack.path,
            "dependencies": given("dependencies", json!([])),
            "system": given("system", json!({})),
            "id": pack.id,
        });
        overlay(&pack.metadata, own)
    };
    app.engine.packs().packs.values().map(render).collect()
}

fn config_schemas(app: &App) -> Vec<Value> {
    let packs = app.engine.packs();
    let with_schema = packs.packs.values().filter(|pack| !pack.config_schema.is_empty());
    let render = |pack: &Pack| {
        let id = id_of(&format!("config_schema:{}", pack.name));
        json!({"pack": pack.name, "attributes": pack.config_schema, "id": id})
    };
    with_schema.map(render).collect()
}

fn configs(app: &App) -> Vec<Value> {
    let render = |pack: &Pack| {
        let values = mask(pack.config.as_ref()?, &pack.config_schema);
        Some(json!({"pack": pack.name, "values": values, "id": id_of(&format!("config:{}", pack.name))}))
    };
    app.engine.packs().packs.values().filter_map(render).collect()
}

/// `values` with [`MASKED`] wherever the schema says `secret`, however deep.
fn mask(values: &Object, schemas: &Object) -> Object {
    let masked = |(name, value): (&String, &Value)| {
        let schema = schemas.get(name).unwrap_or(&Value::Null);
        (name.clone(), mask_value(value, schema))
    };
    values.iter().map(masked).collect()
}

fn mask_value(value: &Value, schema: &Value) -> Value {
    let none = Object::new();
    match value {
        _ if schema["secret"] == Value::Bool(true) => MASKED.into(),
        Value::Object(object) => {
            let mut schemas = schema["properties"].as_object().unwrap_or(&none).clone();
            if schema["additionalProperties"].is_object() {
                for name in object
                    .keys()
                    .filter(|name| schema["properties"].get(name.as_str()).is_none())
                {
                    schemas.insert(name.clone(), schema["additionalProperties"].clone());
                }
            }
            Value::Object(mask(object, &schemas))
        }
        Value::Array(items) => items
            .iter()
            .map(|item| mask_value(item, &schema["items"]))
            .collect(),
        other => other.clone(),
    }
}

fn runners(_: &App) -> Vec<Value> {
    runner_types().iter().map(render_runner).collect()
}

/// As the API shows a runner type, also within executions.
pub fn render_runner(runner: &Value) -> Value {
    let mut runner = runner.clone();
    runner["id"] = id_of(runner["uid"].as_str().unwrap_or_default()).into();
    runner
}

/// `definition` with the entries of `own` put over it.
fn overlay(definition: &Object, own: Value) -> Value {
    let mut whole = definition.clone();
    if let Value::Object(own) = own {
        whole.extend(own);
    }
    Value::Object(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_config_are_masked_however_deep() {
        let schema = json!({
            "fog": {"type": "object", "properties": {"api_key": {"secret": true}}},
            "switches": {"type": "array", "items": {"properties": {"password": {"secret": true}}}},
            "users": {"type": "object", "additionalProperties": {"secret": true}},
            "token": {"secret": true},
        });
        let values = json!({
            "fog": {"address": "a", "api_key": "s3cret"},
            "switches": [{"name": "x", "password": "s3cret"}],
            "users": {"ops": "s3cret"},
            "token": ["s3cret"],
            "unknown": {"kept": 1},
        });
        let seen = Value::Object(mask(values.as_object().unwrap(), schema.as_object().unwrap()));
        assert!(!seen.to_string().contains("s3cret"), "{seen}");
        assert_eq!(seen["fog"]["address"], "a");
        assert_eq!(seen["switches"][0]["name"], "x");
        assert_eq!(seen["unknown"]["kept"], 1);
    }
}
