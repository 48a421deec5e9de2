//! What the packs say, and how it is replaced while the engine runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use tokio::sync::{Semaphore, watch};

use super::{Engine, Inner, RequestError};
use crate::orquesta::spec::Spec;
use crate::pack::{Pack, Packs};
use crate::store::StoreError;

/// The packs and what follows from them; replaced as a whole.
pub(super) struct Content {
    packs: Arc<Packs>,
    /// By action, for those with a policy of concurrency.
    limits: HashMap<String, Limit>,
}

#[derive(Clone)]
struct Limit {
    threshold: usize,
    places: Arc<Semaphore>,
}

impl Content {
    /// Places that are taken under a policy of `before` stay taken while the policy stays as it is.
    pub(super) fn of(packs: Packs, before: Option<&Content>) -> Content {
        let policies = packs.policies.values().filter(|policy| policy.enabled);
        let limits = policies.map(|policy| {
            let threshold = policy.parameters["threshold"].as_u64().unwrap_or(1) as usize;
            let known = before.and_then(|before| before.limits.get(&policy.resource_ref));
            let kept = known.filter(|limit| limit.threshold == threshold).cloned();
            let limit = kept.unwrap_or_else(|| Limit {
                threshold,
                places: Arc::new(Semaphore::new(threshold)),
            });
            (policy.resource_ref.clone(), limit)
        });
        Content {
            limits: limits.collect(),
            packs: Arc::new(packs),
        }
    }
}

/// The definitions of all workflows by their digest.
pub(super) fn specs(packs: &Packs) -> impl Iterator<Item = (String, Arc<Spec>)> + '_ {
    let workflows = packs
        .actions
        .values()
        .filter_map(|action| action.workflow.as_ref());
    workflows.map(|workflow| (workflow.digest.clone(), workflow.spec.clone()))
}

impl Inner {
    /// What is loaded now; it stays as it is for whoever holds it.
    pub(super) fn packs(&self) -> Arc<Packs> {
        self.content().packs.clone()
    }

    /// The places under the action's policy of concurrency, if it has one.
    pub(super) fn limit(&self, action: &str) -> Option<Arc<Semaphore>> {
        self.content()
            .limits
            .get(action)
            .map(|limit| limit.places.clone())
    }

    fn content(&self) -> Arc<Content> {
        self.content
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Engine {
    /// Reads every pack and its configuration anew and returns how much of each kind there is. If anything is wrong
    /// with any of them, everything stays as it was. What runs keeps the definition it began with.
    ///
    /// # Errors
    /// One of `names` is not there, or a pack cannot be loaded; the text is everything that is wrong.
    pub fn register(&self, names: &[String]) -> Result<BTreeMap<&'static str, usize>, RequestError> {
        let options = &self.inner.options;
        // Two registrations at the same time must not end with what the first of them has read.
        let mut content = self.inner.content.write().unwrap_or_else(PoisonError::into_inner);
        let loaded = Packs::load(&options.pack_dirs, &options.config_dir);
        let packs = loaded.map_err(|problems| RequestError::Invalid(problems.join("\n")))?;
        if let Some(name) = names.iter().find(|name| !packs.packs.contains_key(*name)) {
            let place = options
                .pack_dirs
                .first()
                .map(|dir| dir.join(name))
                .unwrap_or_default();
            let reason = format!(
                "Pack \"{name}\" not found on disk: Directory \"{}\" doesn't exist",
                place.display()
            );
            return Err(RequestError::Invalid(reason));
        }
        let registered = count(&packs, names);
        self.inner
            .specs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(specs(&packs));
        let states = states(&packs, names);
        *content = Arc::new(Content::of(packs, Some(&**content)));
        drop(content);
        let (answer, answered) = std::sync::mpsc::channel();
        self.inner
            .store
            .set_enabled_then(states, move |written| _ = answer.send(written))?;
        answered
            .recv()
            .unwrap_or_else(|_| Err(StoreError("it is closed".into())))?;
        self.sensors_have_changed();
        tracing::info!(?registered, "packs are registered anew");
        Ok(registered)
    }

    /// All sensors are started anew.
    pub fn sensors_have_changed(&self) {
        self.inner.registrations.send_modify(|count| *count += 1);
    }

    /// Changes whenever packs have been registered anew, or a sensor was enabled or disabled.
    pub fn registrations(&self) -> watch::Receiver<u64> {
        self.inner.registrations.subscribe()
    }
}

/// What the files of the named packs, or of all, say of their rules and sensors. StackStorm, too, forgets with a
/// registration what was enabled or disabled since the last one.
fn states(packs: &Packs, names: &[String]) -> Vec<(String, bool)> {
    let of = |pack: &str| names.is_empty() || names.iter().any(|name| name == pack);
    let rules = packs.rules.values().filter(|rule| of(&rule.pack));
    let sensors = packs.sensors.values().filter(|sensor| of(&sensor.pack));
    let rules = rules.map(|rule| (rule.reference.clone(), rule.enabled));
    rules
        .chain(sensors.map(|sensor| (sensor.uid(), sensor.enabled)))
        .collect()
}

/// In the named packs, or in all, under the names that StackStorm counts by.
fn count(packs: &Packs, names: &[String]) -> BTreeMap<&'static str, usize> {
    let of = |pack: &str| names.is_empty() || names.iter().any(|name| name == pack);
    let has_config = |pack: &&Pack| pack.config.is_some() && of(&pack.name);
    BTreeMap::from([
        (
            "actions",
            packs.actions.values().filter(|action| of(&action.pack)).count(),
        ),
        (
            "aliases",
            packs.aliases.values().filter(|alias| of(&alias.pack)).count(),
        ),
        ("configs", packs.packs.values().filter(has_config).count()),
        (
            "policies",
            packs.policies.values().filter(|policy| of(&policy.pack)).count(),
        ),
        ("policy_types", 3),
        ("rule_types", 2),
        (
            "rules",
            packs.rules.values().filter(|rule| of(&rule.pack)).count(),
        ),
        ("runners", crate::pack::runner_types().len()),
        (
            "sensors",
            packs.sensors.values().filter(|sensor| of(&sensor.pack)).count(),
        ),
        (
            "triggers",
            packs
                .triggers
                .values()
                .filter(|trigger| of(&trigger.pack))
                .count(),
        ),
    ])
}
