//! Structured parameters: JSON in the environment from an engine, JSON in a flag from a person.

use crate::Failure;
use crate::names::legible;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::str::FromStr;

/// Of what the parser says, in characters: it repeats what it can't take.
const LONGEST_WORDS: usize = 200;

/// A parameter that is an array or an object. An argument is declared as
///
/// ```
/// # use laas_core::json_arg::JsonArg;
/// # #[derive(clap::Args)]
/// # struct Args {
/// /// The hosts to work on, `["pod1","pod2"]`.
/// #[arg(long, env = "LAAS_HOSTS", hide_env_values = true, value_name = "JSON", default_value_t)]
/// hosts: JsonArg<Vec<String>>,
/// # }
/// ```
///
/// and read by `self.hosts.get("hosts")?`. StackStorm passes such a parameter on the command line as well, but as
/// the text that Python prints (`--hosts=['pod1']`), so the flag is not read when the variable is set.
#[derive(Clone, Debug)]
pub struct JsonArg<T> {
    text: String,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonArg<T> {
    /// The value of the parameter `name`: of `LAAS_<NAME>` if that is set and not empty, else of the flag.
    /// A parameter that is given by neither is JSON's `null`, for which `T` can be an `Option`.
    ///
    /// # Errors
    /// It is missing, or no JSON of the shape of `T`.
    pub fn get(self, name: &str) -> Result<T, Failure> {
        let variable = format!("LAAS_{}", name.to_uppercase());
        let text = std::env::var(&variable)
            .ok()
            .filter(|v| !v.is_empty())
            .unwrap_or(self.text);
        let text = match text.trim() {
            "" => "null",
            text => text,
        };
        serde_json::from_str(text).map_err(|e| {
            let error = if text == "null" {
                format!("`{name}` is missing")
            } else {
                let why = legible(&e.to_string(), LONGEST_WORDS);
                format!("`{name}` is not the JSON that is expected: {why}")
            };
            Failure::input(error).hint(format!("give JSON in `--{name}` or in `{variable}`"))
        })
    }
}

impl<T> Default for JsonArg<T> {
    fn default() -> Self {
        Self {
            text: String::new(),
            kind: PhantomData,
        }
    }
}

impl<T> FromStr for JsonArg<T> {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self {
            text: text.to_owned(),
            kind: PhantomData,
        })
    }
}

impl<T> std::fmt::Display for JsonArg<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Failure> {
        let Ok(arg) = text.parse::<JsonArg<T>>();
        arg.get(name)
    }

    #[test]
    fn a_flag_is_json() {
        assert_eq!(get::<Vec<String>>("hosts", r#"["pod1"]"#).unwrap(), ["pod1"]);
        assert_eq!(get::<Option<Vec<String>>>("hosts", "").unwrap(), None);
        assert_eq!(
            get::<Vec<String>>("hosts", "").unwrap_err().error,
            "`hosts` is missing"
        );
        let python = get::<Vec<String>>("hosts", "['pod1']").unwrap_err();
        assert!(python.error.starts_with("`hosts` is not the JSON"), "{python}");
    }

    #[test]
    fn the_environment_beats_what_python_printed() {
        // SAFETY: the name is used by this test alone.
        unsafe { std::env::set_var("LAAS_JSON_ARG_TEST", "[1,2]") };
        assert_eq!(get::<Vec<u8>>("json_arg_test", "[1, 'two']").unwrap(), [1, 2]);
    }
}
