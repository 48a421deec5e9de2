//! Where installers come from: a real Git repository and a real archive, each served on the host's loopback, and what
//! goes wrong with them.

use crate::hosts::Stand;
use serde_json::{Value, json};

const INSTALLER: &str = "\
title: Demo
names: [demo]
versions:
  - {name: branch, reference: main, source: \"git://127.0.0.1/demo.git\"}
  - {name: tag, reference: v1, source: \"git://127.0.0.1/demo.git\"}
  - {name: archive, reference: v3, source: \"http://127.0.0.1:8000/demo.tar.gz\"}
scenarios:
  virtual: [\"*-*-*-*\"]
timeout: 60
after_reboot: again
";

/// Makes the repository, whose tag is older than its branch, and the archive.
const MAKE: &str = "mkdir -p /srv/git /srv/files/demo-3 && git init --quiet --initial-branch=main /srv/work && cd /srv/work && \
    export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a && \
    echo tagged >what && git add what && git commit --quiet -m 1 && git tag v1 && \
    echo newest >what && git commit --quiet -a -m 2 && git clone --quiet --bare /srv/work /srv/git/demo.git && \
    cd /srv/files && echo archived >demo-3/what && head -c 300000 /dev/urandom >demo-3/more && tar -czf demo.tar.gz demo-3 && \
    cp demo.tar.gz good.tar.gz";
const GIT: &str = "setsid git daemon --reuseaddr --export-all --base-path=/srv/git --listen=127.0.0.1 \
    </dev/null >/dev/null 2>&1 &";
const WEB: &str = "setsid /opt/web.py </dev/null >/dev/null 2>&1 &";
/// While there is `/etc/half`, the server closes every connection in the middle of its answer.
const WEB_SERVER: &str = "#!/usr/bin/python3
import http.server, os
os.chdir('/srv/files')
class Handler(http.server.SimpleHTTPRequestHandler):
    def copyfile(self, source, target):
        whole = source.read()
        target.write(whole[:len(whole) // 2] if os.path.exists('/etc/half') else whole)
http.server.ThreadingHTTPServer(('127.0.0.1', 8000), Handler).serve_forever()
";

impl Stand {
    fn with_sources() -> Self {
        let mut stand = Self::deployed("ubuntu", "22.04");
        let own = stand.lab.directory().join("installers");
        let demo = own.join("demo");
        std::fs::create_dir_all(&demo).unwrap();
        for (file, text) in [
            ("installer.yaml", INSTALLER),
            ("deploy.tera", "cp source/what /etc/what"),
            ("verify.tera", "cat /etc/what"),
        ] {
            std::fs::write(demo.join(file), text).unwrap();
        }
        stand.pack.config["software"] = json!({ "installers": own });
        stand.executable("/opt/web.py", WEB_SERVER);
        stand.as_root(MAKE);
        stand.serve(GIT, 9418);
        stand.serve(WEB, 8000);
        stand
    }

    fn serve(&self, server: &str, port: u16) {
        self.as_root(server);
        self.as_root(&format!(
            "until bash -c ': </dev/tcp/127.0.0.1/{port}' 2>/dev/null; do sleep 0.05; done"
        ));
    }

    fn demo(&self, version: &str) -> crate::pack::Ended {
        let version = format!("--software_version={version}");
        self.deploy(&[
            "--host=pod1",
            "--installer=demo",
            "--scenario=a-b-c-noha",
            &version,
        ])
    }
}

#[test]
fn each_version_comes_from_its_own_source() {
    let mut stand = Stand::with_sources();
    for (version, found) in [("branch", "newest"), ("tag", "tagged"), ("archive", "archived")] {
        let done = stand.demo(version).done();
        assert_eq!(
            (&done["changed"], &done["found"]),
            (&json!(true), &json!([found])),
            "{done}"
        );
        assert_eq!(stand.demo(version).done()["changed"], false);
    }
    // The lab's mirror is used instead of all of them.
    stand.pack.config["software"]["sources"] = json!({"demo": "file:///srv/git/demo.git"});
    stand.as_root("pkill -f '[g]it-daemon' && pkill -f [w]eb.py");
    assert_eq!(stand.demo("tag").done()["found"], json!(["tagged"]));
}

#[test]
fn a_source_that_fails_is_said_and_the_next_run_finishes() {
    let stand = Stand::with_sources();
    let damage = "printf xxxxxxxx | dd of=/srv/files/demo.tar.gz bs=1 seek=200000 conv=notrunc 2>/dev/null";
    let restore = "cp /srv/files/good.tar.gz /srv/files/demo.tar.gz && rm -f /etc/half";
    for (version, broken, words, mended) in [
        (
            "tag",
            "git -C /srv/git/demo.git tag -d v1",
            "v1 not found",
            "git -C /srv/git/demo.git tag v1 main~1",
        ),
        ("branch", "pkill -f '[g]it-daemon'", "unable to connect", GIT),
        ("archive", "pkill -f [w]eb.py", "Failed to connect", WEB),
        ("archive", "touch /etc/half", "curl: (18)", restore),
        ("archive", damage, "invalid compressed data", restore),
        ("archive", "rm /srv/files/demo.tar.gz", "404", restore),
        (
            "archive",
            "echo '<html>' >/srv/files/demo.tar.gz",
            "gzip",
            restore,
        ),
    ] {
        // One that has succeeded is only told of again.
        stand.as_root("rm -rf /etc/what /var/lib/laas-software");
        stand.as_root(broken);
        let failure = stand.demo(version).failed(1);
        assert_eq!(failure["done"]["phase"], "fetch", "{broken}: {failure}");
        let log = failure["done"]["log"].to_string();
        assert!(log.contains(words), "{broken}: {failure}");
        let hint = failure["hint"].as_str().unwrap();
        assert!(hint.contains("does the host reach `"), "{broken}: {failure}");
        assert_eq!(
            stand.read("/etc/what"),
            "",
            "nothing is installed of half a source"
        );
        match mended {
            GIT => stand.serve(GIT, 9418),
            WEB => stand.serve(WEB, 8000),
            mended => stand.as_root(mended),
        }
        let done = stand.demo(version).done();
        assert_ne!(done["found"], Value::Array(Vec::new()), "{broken}: {done}");
    }
}
