//! Which VLANs and ports the pack may use, from the configuration's section `networks`.

use crate::{Port, PortName, VlanSet};
use laas_core::{Classify, Kind, VlanId, config};
use std::collections::BTreeMap;

/// The lab's VLANs and the exceptions of its switches, checked.
#[derive(Clone, Debug)]
pub struct Rules {
    /// PXE and provisioning.
    pub management: VlanId,
    /// The native VLAN of a port that is to carry nothing untagged.
    pub parking: VlanId,
    /// What a booking may ask for.
    pub tenant: VlanSet,
    bmc: Option<VlanId>,
    exceptions: BTreeMap<String, (VlanSet, Vec<PortName>)>,
}

/// What may be done on one switch.
#[derive(Clone, Debug)]
pub struct Pool {
    /// What a host's port may carry or have as its native VLAN. Only these are made and activated.
    usable: VlanSet,
    /// What is removed when nobody uses it any more, if its name says that it is ours.
    removable: VlanSet,
    protected_ports: Vec<PortName>,
}

#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("`{key}` of the configuration: {why}")]
    Malformed { key: String, why: String },
    #[error("`networks.{name}` ({vlan}) of the configuration is among `{list}`")]
    Contradiction {
        name: &'static str,
        vlan: VlanId,
        list: String,
    },
}

impl Classify for RulesError {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::Contradiction { name: "bmc", .. })
            .then(|| "set `networks.bmc_for_tenants` if bookings may really have it".to_owned())
    }
}

impl Rules {
    /// # Errors
    /// A list can't be read, or a VLAN of the lab itself is among those of the tenants or of the protected ones.
    pub fn new(networks: &config::Networks) -> Result<Self, RulesError> {
        let mut tenant = set("networks.tenant", &networks.tenant)?;
        let mut exceptions = BTreeMap::new();
        for (switch, exception) in &networks.switches {
            let key = |name: &str| format!("networks.switches.{switch}.{name}");
            let vlans = set(&key("protected_vlans"), &exception.protected_vlans)?;
            let ports = exception.protected_ports.iter().map(|port| {
                port.parse()
                    .map_err(|error: crate::PortError| RulesError::Malformed {
                        key: key("protected_ports"),
                        why: error.to_string(),
                    })
            });
            exceptions.insert(switch.clone(), (vlans, ports.collect::<Result<_, _>>()?));
        }
        let own = [("management", networks.management), ("parking", networks.parking)];
        let bmc = networks.bmc.filter(|_| !networks.bmc_for_tenants);
        for (name, vlan) in own.into_iter().chain(bmc.map(|vlan| ("bmc", vlan))) {
            let contradicts = |list: &str| RulesError::Contradiction {
                name,
                vlan,
                list: list.to_owned(),
            };
            if tenant.contains(vlan) {
                return Err(contradicts("networks.tenant"));
            }
            let protecting = exceptions.iter().find(|(_, (vlans, _))| vlans.contains(vlan));
            if let Some((switch, _)) = protecting.filter(|_| name != "bmc") {
                return Err(contradicts(&format!(
                    "networks.switches.{switch}.protected_vlans"
                )));
            }
        }
        if networks.bmc_for_tenants {
            tenant.extend(networks.bmc);
        }
        Ok(Self {
            management: networks.management,
            parking: networks.parking,
            tenant,
            bmc: networks.bmc,
            exceptions,
        })
    }

    /// What may be done on the switch with this management address.
    pub fn pool(&self, switch: &str) -> Pool {
        let (protected_vlans, protected_ports) = self.exceptions.get(switch).cloned().unwrap_or_default();
        let free = |vlan: &VlanId| !protected_vlans.contains(*vlan);
        let own = [self.management, self.parking];
        let usable = self.tenant.iter().chain(own).filter(free).collect();
        let is_own = |vlan: &VlanId| own.contains(vlan) || self.bmc == Some(*vlan);
        let removable = self
            .tenant
            .iter()
            .filter(|vlan| free(vlan) && !is_own(vlan))
            .collect();
        Pool {
            usable,
            removable,
            protected_ports,
        }
    }
}

impl Pool {
    /// Why this port may not become `wanted`; nothing if it may.
    pub fn objection(&self, name: &PortName, wanted: &Port) -> Option<String> {
        if self
            .protected_ports
            .iter()
            .any(|port| port.is_same(name.as_str()))
        {
            return Some("the configuration protects it".to_owned());
        }
        let foreign = wanted.vlans().find(|vlan| !self.usable.contains(*vlan))?;
        Some(format!("VLAN {foreign} is protected there or none of the lab's"))
    }

    /// Whether the VLAN goes when it is ours and nobody uses it.
    pub fn may_remove(&self, vlan: VlanId) -> bool {
        self.removable.contains(vlan)
    }
}

fn set(key: &str, text: &str) -> Result<VlanSet, RulesError> {
    if text.is_empty() {
        return Ok(VlanSet::default());
    }
    text.parse()
        .map_err(|error: crate::vlan_set::VlanSetError| RulesError::Malformed {
            key: key.to_owned(),
            why: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rules(networks: Value) -> Result<Rules, RulesError> {
        Rules::new(&serde_json::from_value(networks).unwrap())
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (networks, words) in [
            (json!({"tenant": "11-x"}), "`networks.tenant`"),
            (json!({"tenant": "99-100"}), "`networks.management` (99)"),
            (json!({"tenant": "11", "parking": 11}), "`networks.parking` (11)"),
            (json!({"tenant": "11,98", "bmc": 98}), "`networks.bmc` (98)"),
            (
                json!({"switches": {"10.0.0.1": {"protected_vlans": "99"}}}),
                "`networks.switches.10.0.0.1.protected_vlans`",
            ),
            (
                json!({"switches": {"10.0.0.1": {"protected_vlans": "1;2"}}}),
                "`networks.switches.10.0.0.1.protected_vlans`",
            ),
            (
                json!({"switches": {"10.0.0.1": {"protected_ports": ["Eth1/1 ;x"]}}}),
                "`networks.switches.10.0.0.1.protected_ports`",
            ),
        ] {
            let error = rules(networks.clone()).unwrap_err().to_string();
            assert!(error.contains(words), "{networks}: {error}");
        }
        assert!(rules(json!({"bmc": 98, "switches": {"10.0.0.1": {"protected_vlans": "1,98"}}})).is_ok());
    }

    #[test]
    fn a_switch_keeps_what_is_protected_there() {
        let networks = json!({
            "tenant": "11-13", "bmc": 98, "bmc_for_tenants": true,
            "switches": {"10.0.0.1": {"protected_vlans": "12", "protected_ports": ["Ethernet1/48"]}},
        });
        let rules = rules(networks).unwrap();
        assert_eq!(rules.tenant.to_string(), "11-13,98");
        let trunk = |vlan: u64| {
            let vlan = VlanId::try_from(vlan).unwrap();
            crate::Wish::new([(vlan, true)]).unwrap().port(rules.parking)
        };
        for (switch, port, vlan, fine) in [
            ("10.0.0.1", "Ethernet1/1", 11, true),
            ("10.0.0.1", "Ethernet1/1", 12, false),
            ("10.0.0.2", "Ethernet1/1", 12, true),
            ("10.0.0.1", "Eth1/48", 11, false),
            ("10.0.0.2", "Eth1/48", 11, true),
            ("10.0.0.1", "Ethernet1/1", 99, true),
            ("10.0.0.1", "Ethernet1/1", 98, true),
            ("10.0.0.1", "Ethernet1/1", 14, false),
        ] {
            let objection = rules.pool(switch).objection(&port.parse().unwrap(), &trunk(vlan));
            assert_eq!(objection.is_none(), fine, "{switch} {port} {vlan}: {objection:?}");
        }
        for (vlan, goes) in [
            (11, true),
            (12, false),
            (98, false),
            (99, false),
            (999, false),
            (300, false),
        ] {
            let vlan = VlanId::try_from(vlan).unwrap();
            assert_eq!(rules.pool("10.0.0.1").may_remove(vlan), goes, "{vlan}");
        }
    }
}
