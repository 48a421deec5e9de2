//! The pack's configuration, as `config.schema.yaml` describes it.

mod keys;

use crate::datastore::Datastore;
use crate::env_vars;
use crate::failure::Context as _;
use crate::http::Tls;
use crate::names::AccountName;
use crate::{Failure, Secret, VlanId};
use serde::{Deserialize, Serialize};
use serde_yaml::Value;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the configuration is looked for if nothing names it: StackStorm's place, and here.
const PLACES: [&str; 2] = ["/opt/stackstorm/configs/laas.yaml", "laas.yaml"];

/// The most that `timing` may say, in seconds. With any more an action's own deadline could lie behind the `timeout` of
/// its YAML, and the engine would stop it at work instead of hearing what it waited for.
pub const MOST_IMAGE: u64 = 7200;
pub const MOST_WIPE: u64 = 172_800;
pub const MOST_BOOT: u64 = 1800;
pub const MOST_UPDATE: u64 = 7200;
pub const MOST_POWER: u64 = 300;
pub const MOST_CALL: u64 = 60;
/// A dead process is found within six times that, which is two minutes.
pub const MOST_HEARTBEAT: u64 = 20;
/// A peer that is asked without a pause does nothing else.
const LEAST_POLL_MS: u64 = 10;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    fog: Option<Fog>,
    vpn: Option<Vpn>,
    dashboard: Option<Dashboard>,
    bot: Option<Bot>,
    jenkins: Option<Jenkins>,
    pub ssh: Ssh,
    pub access: Access,
    pub messages: Messages,
    pub software: Software,
    pub networks: Networks,
    pub release: Release,
    pub timing: Timing,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Fog {
    /// The web root, `http://10.0.0.5/fog`.
    pub address: String,
    /// The global token; FOG 1.6 does without it if `user_key` is an issued one.
    #[serde(default)]
    pub api_key: Secret,
    /// The user's token, or one that FOG 1.6 has issued to the user, which begins with `fog_`.
    pub user_key: Secret,
    #[serde(default)]
    pub tls: Tls,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Vpn {
    /// A host name, or a URL `ldap://…` (StartTLS) or `ldaps://…`; a bare name means `ldap://` with StartTLS.
    pub server: String,
    pub authentication: VpnAuthentication,
    pub directory: VpnDirectory,
    pub user: VpnUser,
    #[serde(default)]
    pub tls: Tls,
}

#[derive(Clone, Debug, Deserialize)]
pub struct VpnAuthentication {
    /// The DN that the pack binds with.
    pub user: String,
    pub pass: Secret,
}

#[derive(Clone, Debug, Deserialize)]
pub struct VpnDirectory {
    /// `o=opnfv,dc=example,dc=org`
    pub root: String,
    /// The directory of the user entries below the root, `ou=People`.
    pub user: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct VpnUser {
    pub objects: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Dashboard {
    /// The server's root, `https://labs.example.org`; the pack adds `/api/labs/<lab_name>`.
    pub address: String,
    pub lab_name: String,
    /// Between two looks of the sensor, in milliseconds.
    #[serde(default = "dashboard_poll_ms")]
    pub poll_ms: u64,
    #[serde(default)]
    pub tls: Tls,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Bot {
    /// Empty where a lab has none: StackStorm makes up the section for the defaults in it.
    #[serde(default)]
    pub address: String,
    /// Path below the address by purpose; `failure` is the one used.
    #[serde(default)]
    pub endpoints: BTreeMap<String, String>,
    #[serde(default)]
    pub tls: Tls,
}

/// The lab's Jenkins, of which booked hosts can be agents.
#[derive(Clone, Debug, Deserialize)]
pub struct Jenkins {
    /// Its root, as the hosts reach it: `https://jenkins.example.org`. Empty where a lab has none.
    #[serde(default)]
    pub url: String,
    /// The file of a template that is used instead of the pack's unit of systemd.
    pub template: Option<PathBuf>,
}

/// How the pack itself reaches the hosts.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Ssh {
    pub user: AccountName,
    pub key_file: PathBuf,
    pub port: u16,
}

/// Where tenants log in.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Access {
    /// The account that gets the tenants' keys; created if the image lacks it.
    pub user: AccountName,
}

/// What a lab adds to the messages that users read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Messages {
    /// A directory whose `<event>.tera` are used instead of the pack's.
    pub templates: Option<PathBuf>,
    /// How users reach the lab: a mail address or a link.
    pub contact: Option<String>,
    /// A link to what users should know about the lab.
    pub guide: Option<String>,
    /// A link to how the VPN is set up.
    pub vpn_guide: Option<String>,
}

/// What is installed on booked hosts, and from where.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Software {
    /// A directory of installers that are added to the pack's, or used instead of those of the same name.
    pub installers: Option<PathBuf>,
    /// Where an installer comes from, by its name, instead of what its `installer.yaml` says.
    pub sources: BTreeMap<String, String>,
    /// A directory in which the logs of deployments are kept: the host's own are gone with its disk.
    pub logs: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Networks {
    /// PXE and provisioning.
    pub management: VlanId,
    /// Where a port's native VLAN goes when a booking asks for none.
    pub parking: VlanId,
    /// Where the BMCs are; on no host's port.
    pub bmc: Option<VlanId>,
    /// Bookings may ask for the VLAN of the BMCs all the same.
    pub bmc_for_tenants: bool,
    /// VLANs that bookings may ask for, `11-13,100-199`.
    pub tenant: String,
    /// Tenant VLANs on which the pack (and the tenant's VPN) reaches a host.
    pub public: Vec<VlanId>,
    /// What is different on one switch, by its management address.
    pub switches: BTreeMap<String, SwitchException>,
}

/// What the pack leaves alone on one switch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SwitchException {
    /// VLANs that no host's port gets there and that are neither made nor removed, `20,30-39`.
    pub protected_vlans: String,
    /// Ports that are never set, whatever the inventory says.
    pub protected_ports: Vec<String>,
}

/// What becomes of a host when its booking is over.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Release {
    pub disk: ReleasedDisk,
}

/// What becomes of the disk. Whatever it is, the next booking writes it anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleasedDisk {
    /// It stays as it is; the tenants' keys are taken out of it.
    #[default]
    Keep,
    /// FOG wipes it.
    Wipe,
    /// It gets the host's own image of this system.
    Ubuntu,
    Centos,
    Suse,
}

/// Deadlines in seconds, and how much goes on side by side.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// A whole deploy, from the power button to FOG's word that it is complete.
    pub image: u64,
    /// A whole wipe: a full one of a large disk takes more than a day.
    pub wipe: u64,
    /// Without progress or check-in for so long, an imaging task has stalled.
    pub stall: u64,
    /// From power on to an SSH login.
    pub boot: u64,
    /// The updates of a host's operating system.
    pub update: u64,
    /// A change of power until the BMC reports it.
    pub power: u64,
    /// One exchange with one peer.
    pub call: u64,
    /// Between two looks at something that takes minutes, in milliseconds.
    pub poll_ms: u64,
    /// Before a step whose peer could not be reached is tried again.
    pub retry_delay: u64,
    /// How often such a step is tried again.
    pub retries: u64,
    /// Hosts worked on side by side.
    pub concurrency: u64,
    /// Between two signs of life of an action. After four times that without one its process is taken for dead.
    pub heartbeat: u64,
}

impl Default for Ssh {
    fn default() -> Self {
        Self {
            user: account("root"),
            // StackStorm's installer makes this key for its system user.
            key_file: PathBuf::from("/home/stanley/.ssh/stanley_rsa"),
            port: 22,
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self {
            user: account("opnfv"),
        }
    }
}

impl Default for Networks {
    fn default() -> Self {
        let vlan = |id: u64| VlanId::try_from(id).expect("a literal within 1 to 4094");
        Self {
            management: vlan(99),
            parking: vlan(999),
            tenant: "11-13,100-199".to_owned(),
            public: vec![vlan(11)],
            bmc: None,
            bmc_for_tenants: false,
            switches: BTreeMap::new(),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            image: 3600,
            wipe: 43_200,
            stall: 600,
            boot: 900,
            update: 3600,
            power: 120,
            call: 30,
            poll_ms: 5000,
            retry_delay: 15,
            retries: 3,
            concurrency: 8,
            heartbeat: 15,
        }
    }
}

fn dashboard_poll_ms() -> u64 {
    15_000
}

fn account(name: &str) -> AccountName {
    name.parse().expect("a literal account name")
}

impl Timing {
    pub fn call(&self) -> Duration {
        Duration::from_secs(self.call)
    }

    pub fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat.max(1))
    }
}

impl Config {
    /// From `LAAS_CONFIG`, else from the file that `LAAS_CONFIG_FILE` names, else from StackStorm's place, else from
    /// `laas.yaml` here. What a file says as `{{ st2kv.system.KEY }}` is read from the datastore, as StackStorm does.
    ///
    /// # Errors
    /// None of them can be read, or what is there does not fit the schema or is out of bounds.
    pub fn load() -> Result<Self, Failure> {
        let config = Self::read()?;
        config.check()?;
        Ok(config)
    }

    fn read() -> Result<Self, Failure> {
        let hint = "see `config.schema.yaml` and `laas.yaml.example` of the pack";
        if let Some(text) = std::env::var_os(env_vars::LAAS_CONFIG) {
            let text = text.to_string_lossy();
            // The parser's words would quote the value, which may be a secret: only the place is told.
            return serde_json::from_str(&text).map_err(|e| {
                let place = format!("line {} column {}", e.line(), e.column());
                Failure::input(format!(
                    "`{}` does not fit the schema at {place}",
                    env_vars::LAAS_CONFIG
                ))
                .hint(hint)
            });
        }
        let path = match std::env::var_os(env_vars::LAAS_CONFIG_FILE) {
            Some(path) => PathBuf::from(path),
            None => {
                let found = PLACES.iter().find(|place| Path::new(place).exists());
                let found = found.ok_or_else(|| {
                    let places = PLACES.map(|place| format!("`{place}`")).join(" and ");
                    Failure::input(format!("there is no configuration: {places} do not exist"))
                        .hint(format!("set `{}`", env_vars::LAAS_CONFIG_FILE))
                })?;
                tracing::info!(configuration = found, "found");
                PathBuf::from(found)
            }
        };
        let text = std::fs::read_to_string(&path).map_err(|e| {
            Failure::input(format!("can't read the configuration `{}`: {e}", path.display()))
                .hint(format!("set `{}`", env_vars::LAAS_CONFIG_FILE))
        })?;
        let unfit = |e: serde_yaml::Error| {
            let place = e
                .location()
                .map_or(String::new(), |l| format!(" at line {}", l.line()));
            Failure::input(format!("`{}` does not fit the schema{place}", path.display())).hint(hint)
        };
        let config = serde_yaml::from_str(&text).map_err(unfit)?;
        if !text.contains("{{") {
            return Ok(config);
        }
        let mut raw: Value = serde_yaml::from_str(&text).map_err(unfit)?;
        let datastore = OnceCell::new();
        keys::put_in(&mut raw, &|key| {
            if datastore.get().is_none() {
                let _ = datastore.set(Datastore::find().at_peer("datastore")?.0);
            }
            match datastore.get() {
                Some(datastore) => datastore.get(key).at_peer("datastore"),
                None => Ok(None),
            }
        })?;
        serde_yaml::from_value(raw).map_err(unfit)
    }

    fn check(&self) -> Result<(), Failure> {
        let timing = &self.timing;
        for (key, value, most) in [
            ("image", timing.image, MOST_IMAGE),
            ("wipe", timing.wipe, MOST_WIPE),
            ("boot", timing.boot, MOST_BOOT),
            ("update", timing.update, MOST_UPDATE),
            ("power", timing.power, MOST_POWER),
            ("call", timing.call, MOST_CALL),
        ] {
            if value > most {
                return Err(out_of_bounds(&format!("timing.{key}"), value, "at most", most)
                    .hint("an engine stops an action that takes longer than the `timeout` of its YAML"));
            }
        }
        if timing.heartbeat > MOST_HEARTBEAT {
            return Err(out_of_bounds(
                "timing.heartbeat",
                timing.heartbeat,
                "at most",
                MOST_HEARTBEAT,
            ));
        }
        let looks = self.dashboard.as_ref().map(|d| d.poll_ms);
        for (key, poll) in [("timing", Some(timing.poll_ms)), ("dashboard", looks)] {
            if let Some(poll) = poll.filter(|poll| *poll < LEAST_POLL_MS) {
                return Err(out_of_bounds(
                    &format!("{key}.poll_ms"),
                    poll,
                    "at least",
                    LEAST_POLL_MS,
                ));
            }
        }
        Ok(())
    }

    /// # Errors
    /// The section is missing or lacks a secret.
    pub fn fog(&self) -> Result<&Fog, Failure> {
        let fog = section(self.fog.as_ref(), "fog")?;
        present("fog.api_key", &fog.api_key)?;
        present("fog.user_key", &fog.user_key)?;
        Ok(fog)
    }

    /// # Errors
    /// The section is missing or lacks a secret.
    pub fn vpn(&self) -> Result<&Vpn, Failure> {
        let vpn = section(self.vpn.as_ref(), "vpn")?;
        present("vpn.authentication.pass", &vpn.authentication.pass)?;
        Ok(vpn)
    }

    /// Whether anybody can book the lab's hosts.
    pub fn has_dashboard(&self) -> bool {
        self.dashboard.is_some()
    }

    /// # Errors
    /// The section is missing.
    pub fn dashboard(&self) -> Result<&Dashboard, Failure> {
        section(self.dashboard.as_ref(), "dashboard")
    }

    /// The Jenkins, if the lab has one.
    ///
    /// # Errors
    /// Its URL is none, or has more in it than a place: it is pasted into a unit of systemd, and shown by a host's list
    /// of processes.
    pub fn jenkins(&self) -> Result<Option<&Jenkins>, Failure> {
        let Some(jenkins) = self.jenkins.as_ref().filter(|jenkins| !jenkins.url.is_empty()) else {
            return Ok(None);
        };
        let place = ["https://", "http://"]
            .iter()
            .find_map(|scheme| jenkins.url.strip_prefix(scheme));
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_~:/[]".contains(c);
        if place.is_some_and(|place| !place.is_empty() && place.chars().all(plain)) {
            return Ok(Some(jenkins));
        }
        Err(
            Failure::input("`jenkins.url` of the pack's configuration is no plain address").hint(
                "write it like `https://jenkins.lab.example.org`, without an account and without escapes",
            ),
        )
    }

    /// The chat endpoint is a convenience: a lab without one has none.
    pub fn bot(&self) -> Option<&Bot> {
        self.bot.as_ref().filter(|bot| !bot.address.is_empty())
    }
}

fn section<'a, T>(section: Option<&'a T>, name: &str) -> Result<&'a T, Failure> {
    section.ok_or_else(|| {
        Failure::input(format!("`{name}` is missing from the pack's configuration"))
            .hint("see `config.schema.yaml` and `laas.yaml.example` of the pack")
    })
}

fn out_of_bounds(key: &str, value: u64, bound: &str, limit: u64) -> Failure {
    Failure::input(format!(
        "`{key}` of the pack's configuration is {value} and may be {bound} {limit}"
    ))
}

fn present(name: &str, secret: &Secret) -> Result<(), Failure> {
    if secret.is_empty() {
        return Err(
            Failure::input(format!("`{name}` of the pack's configuration is empty"))
                .hint("if it names a datastore key, set that: `st2 key set -e KEY VALUE`"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sections and keys that the pack's README has always named; everything else has a default.
    const OLD: &str = r#"
fog: {address: "http://10.0.0.5/fog", api_key: a, user_key: b}
vpn:
  server: ldap.example.org
  authentication: {user: "cn=admin", pass: c}
  directory: {root: "dc=example", user: "ou=People"}
  user: {objects: [top, inetOrgPerson]}
dashboard: {address: "https://labs.example.org", lab_name: UNH_IOL}
bot: {address: "https://bot.example.org", endpoints: {failure: notify}}
"#;

    #[test]
    fn a_configuration_written_for_the_old_keys_loads() {
        let config: Config = serde_yaml::from_str(OLD).unwrap();
        assert_eq!(config.fog().unwrap().address, "http://10.0.0.5/fog");
        assert_eq!(config.vpn().unwrap().user.objects, ["top", "inetOrgPerson"]);
        assert_eq!(config.dashboard().unwrap().lab_name, "UNH_IOL");
        assert_eq!(config.bot().unwrap().endpoints["failure"], "notify");
        assert_eq!((config.networks.management.get(), config.timing.retries), (99, 3));
        assert!(!format!("{config:?}").contains("pass: c"));
    }

    /// What StackStorm makes of a lab without a bot whose datastore lacks a key.
    #[test]
    fn what_is_missing_is_named() {
        let text =
            r#"{"fog": {"address": "http://fog", "api_key": null, "user_key": "b"}, "bot": {"tls": {}}}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        assert!(config.bot().is_none());
        let empty = config.fog().unwrap_err();
        assert!(
            empty.error.contains("`fog.api_key`") && empty.hint.is_some(),
            "{empty}"
        );
        assert!(config.vpn().unwrap_err().error.contains("`vpn`"));
    }

    #[test]
    fn the_address_of_jenkins_is_a_plain_one() {
        let with = |url: &str| -> Config {
            serde_json::from_value(serde_json::json!({"jenkins": {"url": url}})).unwrap()
        };
        assert!(Config::default().jenkins().unwrap().is_none());
        assert!(with("").jenkins().unwrap().is_none());
        for good in [
            "https://jenkins.lab.example.org",
            "http://10.0.0.7:8080/ci/",
            "http://[fd00::7]:8080",
        ] {
            assert_eq!(with(good).jenkins().unwrap().unwrap().url, good);
        }
        for bad in [
            "jenkins.lab.example.org",
            "https://",
            "https://admin:hunter2@jenkins.example.org",
            "https://jenkins.example.org/%n",
            "https://jenkins.example.org/$(id)",
            "https://jenkins.example.org/ -noReconnect",
            "https://jenkins.example.org\nExecStartPre=/bin/true",
        ] {
            let refused = with(bad).jenkins().unwrap_err();
            assert!(
                refused.error.contains("`jenkins.url`") && !refused.error.contains("hunter2"),
                "{bad}: {refused}"
            );
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_named_and_the_schema_says_so() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config.schema.yaml");
        let schema: serde_yaml::Value =
            serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for (section, key, limit, beyond, words) in [
            ("timing", "image", MOST_IMAGE, MOST_IMAGE + 1, "at most 7200"),
            ("timing", "wipe", MOST_WIPE, MOST_WIPE + 1, "at most 172800"),
            ("timing", "boot", MOST_BOOT, MOST_BOOT + 1, "at most 1800"),
            ("timing", "update", MOST_UPDATE, MOST_UPDATE + 1, "at most 7200"),
            ("timing", "power", MOST_POWER, MOST_POWER + 1, "at most 300"),
            ("timing", "call", MOST_CALL, u64::MAX, "at most 60"),
            (
                "timing",
                "heartbeat",
                MOST_HEARTBEAT,
                MOST_HEARTBEAT + 1,
                "at most 20",
            ),
            ("timing", "poll_ms", LEAST_POLL_MS, 0, "at least 10"),
            (
                "dashboard",
                "poll_ms",
                LEAST_POLL_MS,
                LEAST_POLL_MS - 1,
                "at least 10",
            ),
        ] {
            let with = |value: u64| -> Config {
                let mut config: serde_yaml::Value = serde_yaml::from_str(OLD).unwrap();
                config[section][key] = value.into();
                serde_yaml::from_value(config).unwrap()
            };
            let refused = with(beyond).check().unwrap_err();
            assert_eq!(refused.kind, crate::Kind::Input);
            assert!(
                refused.error.contains(&format!("`{section}.{key}`")) && refused.error.contains(words),
                "{refused}"
            );
            assert!(with(limit).check().is_ok(), "{section}.{key}");
            let described = schema[section]["properties"][key]["description"]
                .as_str()
                .unwrap();
            assert!(described.contains(words), "{section}.{key}: {described}");
        }
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn the_defaults_are_those_of_the_schema() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config.schema.yaml");
        let schema: serde_yaml::Value =
            serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let default = |section: &str, key: &str| schema[section]["properties"][key]["default"].clone();
        let config = Config::default();
        let Timing {
            image,
            wipe,
            stall,
            boot,
            update,
            power,
            call,
            poll_ms,
            retry_delay,
            retries,
            concurrency,
            heartbeat,
        } = config.timing;
        for (key, value) in [
            ("image", image),
            ("wipe", wipe),
            ("stall", stall),
            ("boot", boot),
            ("update", update),
            ("power", power),
            ("call", call),
            ("poll_ms", poll_ms),
            ("retry_delay", retry_delay),
            ("retries", retries),
            ("concurrency", concurrency),
            ("heartbeat", heartbeat),
        ] {
            assert_eq!(default("timing", key), value, "timing.{key}");
        }
        assert_eq!(
            default("networks", "management"),
            u64::from(config.networks.management.get())
        );
        assert_eq!(
            default("networks", "parking"),
            u64::from(config.networks.parking.get())
        );
        assert_eq!(default("networks", "tenant"), config.networks.tenant);
        assert_eq!(
            default("networks", "bmc_for_tenants"),
            config.networks.bmc_for_tenants
        );
        assert_eq!(
            default("ssh", "key_file"),
            config.ssh.key_file.display().to_string()
        );
        assert_eq!(default("access", "user"), config.access.user.as_str());
    }
}
