//! The ways to tell `fog_image` which image is meant.

use crate::fog_image::{Lab, QUEUED, VERSIONS};
use serde_json::json;

#[test]
fn the_most_specific_way_to_name_an_image_counts() {
    for version in VERSIONS {
        for (args, image) in [
            (&["--image=21"][..], 21),
            (&["--name=centos-7"], 25),
            (&["--name=web_v1"], 26),
            (&["--os=ubuntu"], 17),
            (&["--os=centos"], 25),
            (&["--snapshot=web"], 27),
            (&["--snapshot=WEB"], 27),
            (&["--snapshot=web", "--version=1"], 26),
            (&["--snapshot=web_v2"], 29),
            (&["--snapshot=web", "--version=1", "--os=ubuntu"], 26),
            (&["--name=centos-7", "--snapshot=web", "--os=ubuntu"], 25),
            (
                &["--image=21", "--name=centos-7", "--snapshot=nothing", "--os=suse"],
                21,
            ),
        ] {
            let lab = Lab::of(version).with_snapshots();
            let started = lab.run(&[args, &["--start_only"]].concat()).done();
            assert_eq!(started["after"]["image"], image, "{version:?} {args:?}");
            assert_eq!(lab.fog.host_image("pod1"), Some(image));
            let tasks: Vec<_> = lab.fog.tasks().into_iter().map(|t| (t.image, t.state)).collect();
            assert_eq!(tasks, [(image, QUEUED)], "{version:?} {args:?}");
            let again = lab.run(&[args, &["--start_only"]].concat()).done();
            assert_eq!(again["changed"], false, "{version:?} {args:?}");
        }
    }
}

#[test]
fn an_image_that_will_not_do_is_refused_before_anything_is_touched() {
    type Trouble = fn(&Lab);
    let cases: [(Trouble, &[&str], &str); 18] = [
        (|_| (), &[], "give one of `image`, `name`, `snapshot` and `os`"),
        (|_| (), &["--version=1"], "of which snapshot"),
        (|_| (), &["--os=suse"], "no `suse_image`"),
        (|_| (), &["--os=plan9"], "plan9"),
        (|_| (), &["--image=99"], "image 99"),
        (|_| (), &["--image=23"], "disabled"),
        (|_| (), &["--name=centos-6"], "disabled"),
        (|_| (), &["--name=CENTOS-7"], "no image called `CENTOS-7`"),
        (|_| (), &["--name="], "no image called ``"),
        (|_| (), &["--snapshot=../etc"], "is not the name of a snapshot"),
        (|_| (), &["--snapshot=nothing"], "`nothing_v1`"),
        (
            |_| (),
            &["--snapshot=db"],
            "no complete version of the snapshot `db`",
        ),
        (
            |_| (),
            &["--snapshot=web", "--version=4"],
            "FOG has web_v1, web_v2, web_v3_incomplete",
        ),
        (|_| (), &["--snapshot=web", "--version=3"], "not completed"),
        (|_| (), &["--name=web_v3_incomplete"], "not completed"),
        (|_| (), &["--image=28"], "not completed"),
        (
            |lab| lab.fog.store_image(27, &[2]),
            &["--snapshot=web"],
            "storage group 2 has no node for it",
        ),
        (
            |lab| lab.fog.enable_node(1, false),
            &["--os=ubuntu"],
            "storage node `DefaultMember` is disabled",
        ),
    ];
    for version in VERSIONS {
        for (trouble, args, words) in &cases {
            let lab = Lab::of(version).with_snapshots();
            trouble(&lab);
            // What another has queued stays, too.
            let theirs = json!({"request": "theirs", "image": 22, "fog_task": 1, "state": "running"});
            lab.pack.set_key("image_pod1", &theirs);
            for more in [&["--request=ours"][..], &["--dry_run"]] {
                let failure = lab.run(&[*args, more].concat()).failed(2);
                assert!(
                    failure.to_string().contains(words),
                    "{version:?} {words}: {failure}"
                );
                assert_eq!(lab.writes(0), Vec::<String>::new(), "{version:?} {words}");
                assert_eq!(lab.pack.key("image_pod1"), theirs, "{version:?} {words}");
            }
        }
    }
}

#[test]
fn a_request_keeps_the_version_that_it_was_begun_with() {
    let lab = Lab::new().with_snapshots();
    let args = ["--snapshot=web", "--request=r", "--start_only"];
    let started = lab.run(&args).done();
    assert_eq!(started["after"]["image"], 27);
    assert_eq!(lab.add_image("web_v4"), 31);
    let again = lab.run(&args).done();
    assert_eq!(
        (&again["changed"], &again["fog_task"]),
        (&json!(false), &started["fog_task"])
    );
    let failure = lab.run(&["--name=web_v4", "--request=r"]).failed(2);
    assert!(
        failure["error"].as_str().unwrap().contains("of image 27, not 31"),
        "{failure}"
    );
    lab.image_host_with(27);
    let done = lab.run(&args).done();
    assert_eq!(
        (&done["changed"], &done["state"]),
        (&json!(false), &json!("done"))
    );
    // Another request gets the newest.
    let other = lab
        .run(&["--snapshot=web", "--request=other", "--start_only"])
        .done();
    assert_eq!(other["after"]["image"], 31);
}
