//! `fog_image`, killed at any moment and run again.

use crate::fog_image::{CANCELLED, COMPLETE, Lab, REQUEST, VERSIONS};
use crate::pack::wait_for;
use laas_lab::faults::Kind;
use serde_json::json;

#[test]
fn killed_before_any_request_it_is_finished_by_the_next_run() {
    for version in VERSIONS {
        // Another one's task has to be cancelled first, so that every kind of request is met.
        let clean = Lab::of(version);
        clean.run(&["--image=22", "--start_only"]).done();
        let before = clean.fog.requests().len();
        clean.run_request(&["--start_only"]).done();
        let requests = u32::try_from(clean.fog.requests().len() - before).unwrap();
        assert!(requests >= 8, "{requests}");
        for skip in 0..requests {
            let lab = Lab::of(version);
            lab.run(&["--image=22", "--start_only"]).done();
            lab.fault(Kind::Hang, skip, Some(1));
            let running = lab.start_request();
            wait_for("the request to kill at", || lab.met());
            running.kill();
            let next = lab.start_request();
            lab.image_host();
            let next = next.end().done();
            assert_eq!(next["state"], "done", "{version:?} {skip}");
            let tasks: Vec<_> = lab.fog.tasks().into_iter().map(|t| (t.image, t.state)).collect();
            assert_eq!(tasks, [(22, CANCELLED), (17, COMPLETE)], "{version:?} {skip}");
        }
    }
}

/// A small generator (splitmix64): what it gives depends on nothing but the seed.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn killed_at_random_moments_it_ends_with_exactly_one_deploy() {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let given = std::env::var("LAAS_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let mut seed = given.unwrap_or(now.as_nanos() as u64);
    println!("LAAS_TEST_SEED={seed}");
    for round in 0..10 {
        let lab = Lab::of(VERSIONS[round % 2]).with_snapshots();
        let args = ["--snapshot=web", "--request=r"];
        std::thread::scope(|scope| {
            let machine = scope.spawn(|| lab.image_host_with(27));
            let running = lab.start(&args);
            std::thread::sleep(std::time::Duration::from_millis(random(&mut seed) % 300));
            running.kill();
            let next = lab.run(&args).done();
            assert_eq!(next["state"], "done", "{round}: {next}");
            machine.join().unwrap();
        });
        let tasks: Vec<_> = lab.fog.tasks().into_iter().map(|t| (t.image, t.state)).collect();
        assert_eq!(tasks, [(27, COMPLETE)], "{round}");
        assert_eq!(lab.run(&args).done()["changed"], false, "{round}");
    }
}

#[test]
fn killed_while_waiting_it_finds_the_end_that_it_missed() {
    for record in [
        json!({"request": REQUEST, "image": 17, "fog_task": null, "state": "starting"}),
        json!({"request": REQUEST, "image": 17, "fog_task": 1, "state": "running"}),
    ] {
        let lab = Lab::new();
        lab.run_request(&["--start_only"]).done();
        lab.image_host();
        lab.pack.set_key("image_pod1", &record);
        let next = lab.run_request(&[]).done();
        assert_eq!(
            (&next["changed"], &next["state"], &next["fog_task"]),
            (&json!(false), &json!("done"), &json!(1))
        );
        assert_eq!(lab.fog.tasks().len(), 1);
        assert_eq!(lab.pack.key("image_pod1")["state"], "done");
    }
}
