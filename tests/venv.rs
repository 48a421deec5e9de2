// Programs of PyPI for the tests of several crates, which include this file by its path.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A virtual environment below `target/` with these packages, as in `st2client==3.9.0`, made when there is none.
pub fn venv(packages: &[&str]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let name = packages.join("-").replace("==", "-");
    let venv = target.join(&name);
    // Tests of several processes come here at the same time.
    let lock = File::create(target.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let complete = venv.join("complete");
    if !complete.exists() {
        let _ = std::fs::remove_dir_all(&venv);
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        run(Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet"])
            .args(packages));
        File::create(complete).unwrap();
    }
    venv
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {why}");
}
