//! Software that is installed on booked hosts: the pack's `software/`, a directory per installer. A lab can put
//! directories of its own beside or in place of them.

pub mod descriptor;
pub mod installer;
pub mod scenario;

use crate::messages;
use installer::{Installer, Mode, Version};
use laas_core::Failure;
use laas_core::config::Software;
use scenario::Scenario;
use std::path::Path;
use tera::Tera;

/// What a script of an installer can use. Each value stands there as one word of a shell line, quoted.
pub const FACTS: &[&str] = &[
    "directory",
    "scenario",
    "vim",
    "sdn",
    "feature",
    "ha",
    "version",
    "virtual",
];
const DESCRIPTION: &str = "installer.yaml";

/// The files of an installer's directory.
#[derive(Clone)]
pub struct Files {
    pub name: String,
    description: String,
    clean: Option<String>,
    deploy: String,
    verify: String,
}

macro_rules! built_in {
    ($($name:literal: $clean:expr),* $(,)?) => {
        /// The installers that come with the pack, in the order of their names.
        pub fn built_in() -> Vec<Files> {
            vec![$(Files {
                name: $name.to_owned(),
                description: include_str!(concat!("../../../software/", $name, "/installer.yaml")).to_owned(),
                clean: $clean,
                deploy: include_str!(concat!("../../../software/", $name, "/deploy.tera")).to_owned(),
                verify: include_str!(concat!("../../../software/", $name, "/verify.tera")).to_owned(),
            }),*]
        }
    };
}

built_in! {
    "apex": Some(include_str!("../../../software/apex/clean.tera").to_owned()),
    "compass": Some(include_str!("../../../software/compass/clean.tera").to_owned()),
    "fuel": Some(include_str!("../../../software/fuel/clean.tera").to_owned()),
    "joid": Some(include_str!("../../../software/joid/clean.tera").to_owned()),
    "script": None,
}

/// An installer and its scripts.
pub struct Found {
    pub installer: Installer,
    files: Files,
}

/// The scripts of one deployment, for `sh`.
#[derive(Clone)]
pub struct Scripts {
    pub clean: String,
    pub deploy: String,
    pub verify: String,
}

/// The installer that the dashboard or a person calls so.
///
/// # Errors
/// There is none, with those that there are, or its directory is not sound.
pub fn find(software: &Software, name: &str) -> Result<Found, Failure> {
    let all = all(software)?;
    let titles: Vec<_> = all.iter().map(|found| found.installer.name.clone()).collect();
    all.into_iter()
        .find(|found| found.installer.is_called(name))
        .ok_or_else(|| {
            let asked: String = name.escape_debug().take(60).collect();
            Failure::input(format!("there is no installer `{asked}`"))
                .hint(format!("there are `{}`", titles.join("`, `")))
        })
}

/// The lab's installers first, then those of the pack whose names the lab does not use.
fn all(software: &Software) -> Result<Vec<Found>, Failure> {
    let mut files = software
        .installers
        .as_deref()
        .map_or(Ok(Vec::new()), of_directory)?;
    for own in built_in() {
        if files.iter().all(|known| known.name != own.name) {
            files.push(own);
        }
    }
    files.into_iter().map(sound).collect()
}

fn sound(files: Files) -> Result<Found, Failure> {
    check(&files).map_err(|why| {
        Failure::input(format!("the installer `{}` is not sound: {why}", files.name))
            .hint("`docs/software.md` of the pack says what an installer is made of")
    })
}

/// Whether an installer's files are sound, for `cargo xtask check-pack` and before each use.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn check(files: &Files) -> Result<Found, String> {
    let installer = Installer::parse(&files.name, &files.description)
        .map_err(|why| format!("{DESCRIPTION}: {}", why.replace('\n', " ")))?;
    let scripts = [
        ("clean", files.clean.as_deref().unwrap_or_default()),
        ("deploy", &files.deploy),
        ("verify", &files.verify),
    ];
    for (name, text) in scripts {
        messages::check(name, text, FACTS).map_err(|why| format!("{name}.tera: {why}"))?;
    }
    Ok(Found {
        installer,
        files: files.clone(),
    })
}

/// The installers in a directory, in the order of their names.
///
/// # Errors
/// It can't be read, or lacks a file.
pub fn of_directory(directory: &Path) -> Result<Vec<Files>, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::input(format!("can't read `{}`: {error}", path.display()))
            .hint("`software.installers` of the pack's configuration names the directory")
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| failed(directory, error))? {
        let path = entry.map_err(|error| failed(directory, error))?.path();
        if !path.join(DESCRIPTION).exists() {
            continue;
        }
        let read = |name: &str| {
            let path = path.join(name);
            std::fs::read_to_string(&path).map_err(|error| failed(&path, error))
        };
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let clean = path.join("clean.tera").exists().then(|| read("clean.tera"));
        found.push(Files {
            name,
            description: read(DESCRIPTION)?,
            clean: clean.transpose()?,
            deploy: read("deploy.tera")?,
            verify: read("verify.tera")?,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

impl Found {
    /// # Errors
    /// A template fails.
    pub fn scripts(
        &self,
        directory: &str,
        version: &Version,
        scenario: &Scenario,
        mode: Mode,
    ) -> Result<Scripts, Failure> {
        let mut facts = tera::Context::new();
        facts.insert("directory", directory);
        facts.insert("scenario", &scenario.to_string());
        facts.insert("vim", scenario.vim());
        facts.insert("sdn", scenario.sdn());
        facts.insert("feature", scenario.feature());
        facts.insert("ha", scenario.ha());
        facts.insert("version", &version.name);
        facts.insert("virtual", &(mode == Mode::Virtual));
        let render = |name: &str, text: &str| {
            let mut tera = Tera::default();
            // Whatever a template writes is one word for the shell, also if its author forgot to quote it.
            tera.autoescape_on(vec![".sh"]);
            tera.set_escape_fn(|text| format!("'{}'", text.replace('\'', r"'\''")));
            let file = format!("{name}.sh");
            tera.add_raw_template(&file, text)
                .and_then(|()| tera.render(&file, &facts))
                .map_err(|error| {
                    let why = laas_core::failure::chain(&error).replace('\n', " ");
                    Failure::input(format!("`{name}.tera` of `{}` fails: {why}", self.installer.name))
                })
        };
        Ok(Scripts {
            clean: render("clean", self.files.clean.as_deref().unwrap_or_default())?,
            deploy: render("deploy", &self.files.deploy)?,
            verify: render("verify", &self.files.verify)?,
        })
    }
}
