//! A system's packages: the real dpkg and apt where the system is a Debian,
//! stand-ins elsewhere, and a repository on the disk.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// The one package of every image.
pub const PACKAGE: &str = "lab-tools";
const FIRST_VERSION: &str = "1.0";

/// Where the repository is, on the system.
const REPOSITORY: &str = "srv/updates";

pub(super) fn is_debian(os: &str) -> bool {
    matches!(os, "ubuntu" | "debian")
}

/// The names under which the stand-in is found on a system that is no Debian.
pub(super) fn stand_ins(os: &str, version: &str) -> &'static [&'static str] {
    let major = version
        .split('.')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    match os {
        _ if is_debian(os) => &[],
        _ if os.contains("suse") => &["rpm", "zypper"],
        _ if major < 8 => &["rpm", "yum", "needs-restarting"],
        _ => &["rpm", "dnf", "needs-restarting"],
    }
}

/// What an image brings along.
pub(super) fn write(root: &Path, os: &str) -> io::Result<()> {
    let repository = root.join(REPOSITORY);
    fs::create_dir_all(&repository)?;
    if !is_debian(os) {
        let packages = root.join("var/lib/lab");
        fs::create_dir_all(&packages)?;
        fs::write(packages.join("packages"), format!("{PACKAGE} {FIRST_VERSION}\n"))?;
        return fs::write(repository.join("offered"), "");
    }
    for directory in [
        "etc/apt/apt.conf.d",
        "var/cache/apt/archives/partial",
        "var/lib/apt/lists/partial",
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
    ] {
        fs::create_dir_all(root.join(directory))?;
    }
    let status = format!("Status: install ok installed\n{}\n", control(FIRST_VERSION));
    let list = format!("var/lib/dpkg/info/{PACKAGE}.list");
    for (file, text) in [
        ("etc/apt/sources.list", "deb [trusted=yes] file:/srv/updates ./\n"),
        ("srv/updates/Packages", ""),
        ("var/lib/dpkg/status", &status),
        (&list, "/.\n"),
    ] {
        fs::write(root.join(file), text)?;
    }
    Ok(())
}

/// Puts a new version of [`PACKAGE`] into the repository, whose installation
/// runs `script`.
pub(super) fn offer(root: &Path, os: &str, version: &str, script: &str) -> io::Result<()> {
    let repository = root.join(REPOSITORY);
    if !is_debian(os) {
        fs::write(repository.join("script"), script)?;
        return fs::write(repository.join("offered"), format!("{PACKAGE} {version}\n"));
    }
    let build = tempfile::tempdir()?;
    let control_dir = build.path().join("DEBIAN");
    fs::create_dir(&control_dir)?;
    let installer = control_dir.join("postinst");
    fs::write(control_dir.join("control"), control(version))?;
    fs::write(&installer, format!("#!/bin/sh\nset -e\n{script}\n"))?;
    let deb = repository.join("package.deb");
    let command = "chmod 755 . DEBIAN DEBIAN/postinst && dpkg-deb --root-owner-group --build . \"$1\" >&2 && sha256sum <\"$1\"";
    let output = Command::new("sh")
        .args(["-c", command, "sh"])
        .arg(&deb)
        .current_dir(build.path())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    let sum = String::from_utf8_lossy(&output.stdout);
    let sum = sum.split_whitespace().next().unwrap_or_default();
    let size = fs::metadata(&deb)?.len();
    let entry = format!(
        "{}Filename: ./package.deb\nSize: {size}\nSHA256: {sum}\n",
        control(version)
    );
    fs::write(repository.join("Packages"), entry)
}

fn control(version: &str) -> String {
    format!(
        "Package: {PACKAGE}\nVersion: {version}\nArchitecture: all\nMaintainer: The lab <lab@example.org>\n\
         Description: what every image of the lab has\n"
    )
}
