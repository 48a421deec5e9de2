//! From a trigger to the executions its rules ask for.

use std::sync::Arc;

use serde_json::{Value, json};

use super::turn::{Origin, Turn};
use super::{Inner, RequestError, rules};
use crate::model::*;
use crate::pack::{Rule, schema};
use crate::python::repr;
use crate::store::{self, StoreError};

/// In whose name rules run their actions: StackStorm's `[system_user]`.
const RULE_USER: &str = "stanley";

impl Inner {
    pub(super) async fn dispatch(
        self: &Arc<Self>,
        trigger: &str,
        payload: Value,
        trace_tag: Option<&str>,
    ) -> Result<TriggerInstance, RequestError> {
        self.check_payload(trigger, &payload).map_err(|reason| {
            RequestError::Invalid(format!(
                "Trigger payload validation failed and validation is enabled, not dispatching a trigger \"{trigger}\" ({}): {reason}",
                repr(&payload)
            ))
        })?;
        let instance = TriggerInstance {
            id: new_id(),
            trigger: trigger.to_string(),
            payload,
            occurred: Timestamp::now(),
            status: "processed".into(),
        };
        let tag = trace_tag.filter(|tag| !tag.is_empty()).map(str::to_string);
        let tag = tag.unwrap_or_else(|| format!("trigger_instance-{}", instance.id));
        let done = self.turn(move |turn| {
            store::put_trigger_instance(turn.connection, &instance)?;
            let trace = store::trace_of_tag(turn.connection, &tag)?;
            let item = TraceItem {
                kind: TraceKind::TriggerInstance,
                object_id: instance.id.clone(),
                reference: instance.trigger.clone(),
                updated: Timestamp::now(),
                caused_by: None,
            };
            store::add_to_trace(turn.connection, &trace, &item)?;
            let all: Vec<Arc<Rule>> = turn.inner.packs().rules.values().cloned().collect();
            for rule in all.iter().filter(|rule| rule.trigger == instance.trigger) {
                let enabled = store::rule_enabled(turn.connection, &rule.reference)?.unwrap_or(rule.enabled);
                if enabled && rules::meets(&rule.criteria, &instance.payload) {
                    turn.enforce(rule, &instance, &trace, &tag)?;
                }
            }
            Ok(instance)
        });
        Ok(done.await?)
    }

    fn check_payload(&self, trigger: &str, payload: &Value) -> Result<(), String> {
        let packs = self.packs();
        let known = packs.triggers.get(trigger);
        let known = known.ok_or_else(|| {
            format!("Trigger type with reference \"{trigger}\" doesn't exist in the database")
        })?;
        schema::check(&known.payload_schema, payload).map_err(|violation| violation.report())
    }
}

impl Turn<'_> {
    fn enforce(
        &mut self,
        rule: &Rule,
        instance: &TriggerInstance,
        trace: &str,
        tag: &str,
    ) -> Result<(), StoreError> {
        let item = TraceItem {
            kind: TraceKind::Rule,
            object_id: rule.id.clone(),
            reference: rule.reference.clone(),
            updated: Timestamp::now(),
            caused_by: Some(("trigger_instance".into(), instance.id.clone())),
        };
        store::add_to_trace(self.connection, trace, &item)?;
        let outcome = self.run_rule(rule, instance, trace, tag)?;
        if let Err(reason) = &outcome {
            tracing::error!(
                rule = rule.reference,
                trigger_instance = instance.id,
                reason,
                "a rule failed"
            );
        }
        let enforcement = RuleEnforcement {
            id: new_id(),
            rule: rule.reference.clone(),
            trigger_instance: instance.id.clone(),
            execution: outcome.as_ref().ok().cloned(),
            failure_reason: outcome.err(),
            enforced: Timestamp::now(),
        };
        store::put_enforcement(self.connection, &enforcement)
    }

    /// The id of the execution; the inner error is why there is none.
    fn run_rule(
        &mut self,
        rule: &Rule,
        instance: &TriggerInstance,
        trace: &str,
        tag: &str,
    ) -> Result<Result<String, String>, StoreError> {
        let Some(action) = self.inner.packs().actions.get(&rule.action).cloned() else {
            return Ok(Err(format!("Action \"{}\" doesn't exist", rule.action)));
        };
        let context = Object::from_iter([
            (
                "trigger_instance".to_string(),
                json!({"id": instance.id, "name": null}),
            ),
            ("rule".to_string(), json!({"id": rule.id, "name": rule.name})),
            ("user".to_string(), RULE_USER.into()),
            ("pack".to_string(), action.pack.as_str().into()),
            (
                "trace_context".to_string(),
                json!({"id_": trace, "trace_tag": tag}),
            ),
        ]);
        let more = Object::from_iter([("trigger".to_string(), instance.payload.clone())]);
        let live = match self
            .inner
            .accept(&action, &rule.action_parameters, &context, more)
        {
            Ok(live) => live,
            Err(reason) => return Ok(Err(reason)),
        };
        let origin = Origin {
            context,
            trace: Some(trace.to_string()),
            caused_by: Some(("rule".into(), format!("{}:{}", rule.id, instance.id))),
            ..Origin::default()
        };
        Ok(Ok(self.create(&action, live, origin)?.execution.id))
    }
}
