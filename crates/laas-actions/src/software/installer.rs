//! An installer, as its `installer.yaml` describes it, and whether it can do what is asked.

use super::scenario::{Pattern, Scenario};
use laas_core::Failure;
use serde::{Deserialize, Serialize};

/// The most that an installer's `timeout` may say, in seconds: the `timeout` of the action's YAML lies above.
pub const MOST_TIMEOUT: u64 = 43_200;
const LONGEST_SOURCE: usize = 300;

/// What stands in `installer.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installer {
    /// The directory's name, which is not in the file.
    #[serde(skip)]
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What the dashboard calls it; case does not count.
    pub names: Vec<String>,
    /// The jumphost's systems on which it runs; none means any.
    #[serde(default)]
    pub systems: Vec<System>,
    /// Where it comes from, unless the configuration says otherwise.
    #[serde(default)]
    pub source: Option<Source>,
    /// The first one is the default.
    pub versions: Vec<Version>,
    pub scenarios: ByMode<Vec<Pattern>>,
    #[serde(default)]
    pub files: Files,
    /// The descriptor files that it can't do without.
    #[serde(default)]
    pub needs: ByMode<Vec<Descriptor>>,
    /// The whole deployment, in seconds.
    pub timeout: u64,
    pub after_reboot: AfterReboot,
    /// What must be in the log of one that succeeded, beside exit status 0.
    #[serde(default)]
    pub success: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// `ID` of os-release(5).
    pub id: String,
    /// `VERSION_ID`; none means any.
    #[serde(default)]
    pub versions: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    pub name: String,
    /// Branch or tag of the source.
    pub reference: String,
    /// Where this version comes from, if not from the installer's source.
    #[serde(default)]
    pub source: Option<Source>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ByMode<T> {
    #[serde(rename = "virtual")]
    virtually: T,
    baremetal: T,
}

/// Where the descriptor files go, below the job's directory.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    pub pdf: Option<String>,
    pub idf: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Descriptor {
    Pdf,
    Idf,
}

/// What becomes of a deployment that a reboot of its host has broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterReboot {
    /// It begins again.
    Again,
    Fail,
}

/// On what the deployment runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// On virtual machines of the jumphost.
    Virtual,
    /// On the booking's other hosts.
    Baremetal,
}

/// Where an installer comes from: a path on the host, or the address of a `.tar.gz` or of a Git repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(String);

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = ["/", "https://", "http://", "file://", "git://", "ssh://"];
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '\'' | '"' | '\\' | '`' | '$');
        if known.iter().any(|begin| text.starts_with(begin))
            && text.len() <= LONGEST_SOURCE
            && text.chars().all(plain)
        {
            return Ok(Self(text.to_owned()));
        }
        let text: String = text.escape_debug().take(60).collect();
        Err(format!("`{text}` is neither an absolute path nor an address"))
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Source {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T> ByMode<T> {
    pub fn of(&self, mode: Mode) -> &T {
        match mode {
            Mode::Virtual => &self.virtually,
            Mode::Baremetal => &self.baremetal,
        }
    }
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Virtual => "virtual",
            Self::Baremetal => "baremetal",
        }
    }
}

impl Descriptor {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pdf => "PDF",
            Self::Idf => "IDF",
        }
    }
}

impl Installer {
    /// # Errors
    /// It is no YAML of this shape, or says something that can't be.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut installer: Self = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        installer.name = name.to_owned();
        installer.check()?;
        Ok(installer)
    }

    fn check(&self) -> Result<(), String> {
        if !is_name(&self.name) {
            return Err("its directory's name may hold lower-case letters, digits, `_` and `-`".to_owned());
        }
        let is_path = |path: &String| {
            path.split('/')
                .all(|part| is_plain(part) && !part.starts_with('.'))
        };
        let files = [&self.files.pdf, &self.files.idf];
        if !files.into_iter().flatten().all(is_path) {
            return Err("`files` may only name paths below the job's directory".to_owned());
        }
        for version in &self.versions {
            let parts: Vec<_> = version.reference.split('/').collect();
            if !is_plain(&version.name) || !parts.iter().all(|part| is_plain(part)) {
                return Err(format!("the version `{}` is not plain", version.name));
            }
        }
        let any = [Mode::Virtual, Mode::Baremetal].map(|mode| self.scenarios.of(mode).len());
        if self.names.is_empty() || self.versions.is_empty() || any == [0, 0] {
            return Err("`names`, `versions` and `scenarios` can't be empty".to_owned());
        }
        let wants = |what: Descriptor| {
            let needs = |mode| self.needs.of(mode).contains(&what);
            needs(Mode::Virtual) || needs(Mode::Baremetal)
        };
        if (wants(Descriptor::Pdf) && self.files.pdf.is_none())
            || (wants(Descriptor::Idf) && self.files.idf.is_none())
        {
            return Err("what it `needs` must have a place in `files`".to_owned());
        }
        if self.timeout == 0 || self.timeout > MOST_TIMEOUT {
            return Err(format!("`timeout` may be 1 to {MOST_TIMEOUT}"));
        }
        Ok(())
    }

    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// The version of this name, or the default.
    ///
    /// # Errors
    /// There is no such version; those that are there are named.
    pub fn version(&self, name: Option<&str>) -> Result<&Version, Failure> {
        let found = match name {
            Some(name) => self.versions.iter().find(|version| version.name == name),
            None => self.versions.first(),
        };
        let names: Vec<_> = self
            .versions
            .iter()
            .map(|version| version.name.as_str())
            .collect();
        found.ok_or_else(|| {
            let asked: String = name.unwrap_or_default().escape_debug().take(60).collect();
            Failure::input(format!("{} has no version `{asked}`", self.title))
                .hint(format!("there are `{}`", names.join("`, `")))
        })
    }

    /// # Errors
    /// It does not do this scenario; those that it does are named.
    pub fn check_scenario(&self, scenario: &Scenario, mode: Mode) -> Result<(), Failure> {
        let sets = self.scenarios.of(mode);
        if sets.iter().any(|set| set.has(scenario)) {
            return Ok(());
        }
        let mode = mode.name();
        let error = format!("{} has no {mode} scenario `{scenario}`", self.title);
        if sets.is_empty() {
            return Err(Failure::input(error).hint(format!("it has no {mode} deployments at all")));
        }
        let sets: Vec<_> = sets.iter().map(ToString::to_string).collect();
        Err(Failure::input(error).hint(format!("it has `{}`", sets.join("`, `"))))
    }

    /// # Errors
    /// It does not run on this system; those on which it does are named.
    pub fn check_system(&self, id: &str, version: &str) -> Result<(), Failure> {
        let fits = |system: &System| {
            system.id == id && (system.versions.is_empty() || system.versions.iter().any(|v| v == version))
        };
        if self.systems.is_empty() || self.systems.iter().any(fits) {
            return Ok(());
        }
        let name = |system: &System| {
            let text = format!("{} {}", system.id, system.versions.join(" or "));
            text.trim().to_owned()
        };
        let names: Vec<_> = self.systems.iter().map(name).collect();
        let error = format!("{} does not run on {id} {version}", self.title);
        Err(Failure::input(error).hint(format!(
            "its jumphost must be one of {}: book it with such an image",
            names.join(", ")
        )))
    }
}

/// A name of an installer's directory.
pub fn is_name(text: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    !text.is_empty() && text.len() <= 32 && text.chars().all(ok) && !text.starts_with('-')
}

fn is_plain(text: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.len() <= 64 && text.chars().all(ok) && !text.starts_with('-') && text != ".."
}
