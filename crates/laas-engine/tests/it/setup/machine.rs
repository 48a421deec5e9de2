//! A machine with StackStorm, as the scripts see it: its directories, the real `st2` client, an engine that answers,
//! and a checkout of the repository whose executables do nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::st2;
use crate::support::{Server, Site};

pub struct Machine {
    pub site: Site,
    pub server: Server,
}

/// How a script ended, and everything it printed.
#[derive(Debug)]
pub struct Ended {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub text: String,
}

/// What the checkout has of the repository beside what is installed, which `st2-pack.sh` lists.
const NOT_INSTALLED: &[&str] = &[
    "secrets.json.example",
    "Cargo.toml",
    ".gitignore",
    "setup.sh",
    "update.sh",
    "scripts",
];

/// Stands for the compiler: its products do nothing, and don't end if their name is in `hold`; it fails while there is a file `broken` in the home directory,
/// and does not even say its version while there is `no-toolchain`.
const CARGO: &str = r#"#!/bin/sh
[ ! -e "$HOME/no-toolchain" ] || { echo "error: rustup could not choose a version of cargo to run" >&2; exit 1; }
[ "$1" = --version ] && exec echo "cargo 1.99.0 (0000000 2030-01-01)"
"$HOME/bin/interrupt" build || exit
[ ! -e "$HOME/broken" ] || { echo "error: could not compile laas-actions" >&2; exit 101; }
mkdir -p target/release
for main in crates/laas-actions/src/bin/*.rs sensors/*.yaml; do
    name=$(basename "${main%.*}")
    printf '#!/bin/sh\n[ ! -e "%s/hold/$(basename "$0")" ] || exec sleep 600\necho "{}"\n' "$HOME" >"target/release/$name"
    chmod 755 "target/release/$name"
done
"#;

/// The real client; `interrupt` may have something to say before and after. Unlike the engine, StackStorm would remember
/// an action that is no longer in its pack: what is in `remembered`.
const ST2: &str = r#"#!/bin/sh
"$HOME/bin/interrupt" "before $*" || exit
case $1/$2 in
    action/get) [ ! -e "$HOME/remembered/$3" ] || exit 0 ;;
    action/delete) rm "$HOME/remembered/$3"; exit ;;
esac
VENV/bin/st2 "$@"
code=$?
"$HOME/bin/interrupt" "after $*" || exit
exit $code
"#;

/// Ctrl-C, or the signal that the file `signal` names, at the moment that it names: all of the terminal's processes get
/// it. Once only.
const INTERRUPT: &str = r#"#!/bin/sh
[ -e "$HOME/signal" ] || exit 0
read -r signal moment <"$HOME/signal"
case $1 in
    "$moment"*) rm "$HOME/signal"; kill -"$signal" 0; sleep 60; exit 1 ;;
esac
"#;

impl Machine {
    pub fn new() -> Machine {
        let site = Site::new();
        for directory in ["virtualenvs", "home/bin", "checkout/crates/laas-actions/src"] {
            fs::create_dir_all(site.path(directory)).unwrap();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let copy = |from: PathBuf, to: PathBuf| {
            let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
            assert!(copied.success());
        };
        let script = fs::read_to_string(root.join("scripts/st2-pack.sh")).unwrap();
        let (_, rest) = script.split_once("\ncontents=(").unwrap();
        let (installed, _) = rest.split_once(')').unwrap();
        for name in installed.split_whitespace().chain(NOT_INSTALLED.iter().copied()) {
            copy(root.join(name), site.path("checkout"));
        }
        copy(
            root.join("crates/laas-actions/src/bin"),
            site.path("checkout/crates/laas-actions/src"),
        );
        let _ = fs::remove_dir_all(site.path("checkout/actions/bin"));
        let venv = st2::client();
        for (name, script) in [("cargo", CARGO), ("st2", ST2), ("interrupt", INTERRUPT)] {
            let script = script.replace("VENV", venv.to_str().unwrap());
            write_executable(&site.path("home/bin").join(name), &script);
        }
        let server = site.start();
        Machine { site, server }
    }

    /// A script of the checkout, not started yet.
    pub fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let home = self.site.path("home");
        let mut command = Command::new(self.site.path("checkout").join(script));
        command
            .args(arguments)
            .current_dir(&home)
            .env_clear()
            .env(
                "PATH",
                format!(
                    "{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    home.join("bin").display()
                ),
            )
            .env("HOME", &home)
            .env("LANG", "C.UTF-8")
            .env("ST2_API_URL", format!("{}/v1", self.server.url))
            .env("ST2_AUTH_URL", format!("{}/auth/v1", self.server.url))
            .env("ST2_STREAM_URL", format!("{}/stream/v1", self.server.url))
            .env("ST2_API_KEY", self.server.key())
            .env("ST2_PACKS_DIR", self.site.path("packs"))
            .env("ST2_CONFIGS_DIR", self.site.path("configs"))
            .env("ST2_VIRTUALENVS", self.site.path("virtualenvs"))
            .stdin(Stdio::null())
            .process_group(0);
        // SAFETY: `signal` may be called between fork and exec.
        unsafe {
            // Whoever runs the tests in the background has Ctrl-C ignored, and a shell keeps to that.
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        command
    }

    /// What the real client says.
    pub fn st2(&self, words: &[&str]) -> Ended {
        self.run("../home/bin/st2", words)
    }

    pub fn run(&self, script: &str, arguments: &[&str]) -> Ended {
        ended(&self.command(script, arguments).output().unwrap())
    }

    /// The next run gets this signal at that moment: `build`, or `before` or `after` a call of `st2`.
    pub fn interrupt(&self, signal: &str, moment: &str) {
        fs::write(self.site.path("home/signal"), format!("{signal} {moment}\n")).unwrap();
    }

    pub fn write(&self, relative: &str, content: &str) {
        fs::write(self.site.path(relative), content).unwrap();
    }

    pub fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.site.path(relative)).unwrap()
    }

    pub fn exists(&self, relative: &str) -> bool {
        self.site.path(relative).symlink_metadata().is_ok()
    }

    /// Changes what the checkout says about `ipmi_power`.
    pub fn describe(&self, description: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let original = fs::read_to_string(root.join("actions/ipmi_power.yaml")).unwrap();
        let changed = original
            .lines()
            .map(|line| match line.strip_prefix("description: ") {
                Some(_) => format!("description: {description}\n"),
                None => format!("{line}\n"),
            });
        self.write("checkout/actions/ipmi_power.yaml", &changed.collect::<String>());
    }

    /// What the installed file says about `ipmi_power`, and what the API says; `None` where it is not known.
    pub fn descriptions(&self) -> (Option<String>, Option<String>) {
        let file = fs::read_to_string(self.site.path("packs/laas/actions/ipmi_power.yaml")).ok();
        let line = file.as_deref().and_then(|text| {
            let mut lines = text.lines();
            lines
                .find_map(|line| line.strip_prefix("description: "))
                .map(str::to_string)
        });
        let (status, action) = self.server.get("/v1/actions/laas.ipmi_power");
        let known = (status == 200).then(|| action["description"].as_str().unwrap().to_string());
        (line, known)
    }

    /// What is left of a run that should have cleaned up behind itself.
    pub fn leftovers(&self) -> Vec<String> {
        let below = |directory: &str| {
            let entries = fs::read_dir(self.site.path(directory)).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect::<Vec<_>>()
        };
        let mut names = below("packs");
        names.extend(below("configs"));
        names.retain(|name| name.starts_with('.'));
        names
    }

    pub fn key(&self, name: &str) -> Value {
        self.server.get(&format!("/v1/keys/{name}?decrypt=true")).1
    }
}

pub fn ended(output: &Output) -> Ended {
    Ended {
        code: output.status.code(),
        text: String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
    }
}

impl Ended {
    #[track_caller]
    pub fn with(self, code: i32, words: &[&str]) -> Ended {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "`{word}` is not in {}", self.text);
        }
        self
    }
}

pub fn write_executable(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
