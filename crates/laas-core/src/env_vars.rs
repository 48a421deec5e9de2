//! Every environment variable that the pack's executables read, in one place.

/// The pack's configuration as one JSON document; set by the actions' YAML.
pub const LAAS_CONFIG: &str = "LAAS_CONFIG";
/// Path of a configuration file (YAML or JSON) for a person at a shell.
pub const LAAS_CONFIG_FILE: &str = "LAAS_CONFIG_FILE";
/// Path of a local datastore file in the format of `hosts.json`, used instead of the engine's API.
pub const LAAS_DATASTORE: &str = "LAAS_DATASTORE";
/// Directory of the lock files that keep two executions off one device.
pub const LAAS_LOCK_DIR: &str = "LAAS_LOCK_DIR";
/// `error`, `warn`, `info` (the default), `debug`: what goes to stderr.
pub const LAAS_LOG: &str = "LAAS_LOG";

/// Base address of the engine's API as a running action sees it, ending in `/v1`.
pub const ST2_ACTION_API_URL: &str = "ST2_ACTION_API_URL";
/// The action's own token, deleted when the action ends.
pub const ST2_ACTION_AUTH_TOKEN: &str = "ST2_ACTION_AUTH_TOKEN";
/// The execution that this process is.
pub const ST2_ACTION_EXECUTION_ID: &str = "ST2_ACTION_EXECUTION_ID";
/// Base address of the engine's API as the `st2` client and sensors know it.
pub const ST2_API_URL: &str = "ST2_API_URL";
/// A user's or sensor's token.
pub const ST2_AUTH_TOKEN: &str = "ST2_AUTH_TOKEN";
/// The file of the `st2` client's settings, if it is not `~/.st2/config`.
pub const ST2_CONFIG_FILE: &str = "ST2_CONFIG_FILE";
/// A user's API key.
pub const ST2_API_KEY: &str = "ST2_API_KEY";
