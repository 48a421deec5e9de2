//! Signs of life, and the end of an action that the engine has given up: by `fog_image`, which is waited for longest.

use crate::claims::Engine;
use crate::fog_image::{Lab, QUEUED};
use crate::pack::wait_for;
use std::sync::atomic::Ordering;

const SIGN: &str = "alive_a1";

fn lab() -> Lab {
    Lab::new().timing("heartbeat", 1)
}

fn sign(engine: &Engine) -> Option<String> {
    engine.keys.lock().unwrap().get(SIGN).cloned()
}

#[test]
fn an_action_gives_signs_of_life_until_its_end() {
    let mut lab = lab();
    let (engine, _server) = lab.under_an_engine();
    let running = lab.start_request();
    let first = wait_for("a sign of life", || sign(&engine));
    wait_for("the next one", || sign(&engine).filter(|next| *next != first));
    lab.image_host();
    running.end().done();
    assert_eq!(sign(&engine), None);
    // It is over before its first one.
    lab.run_request(&["--start_only"]).done();
    assert_eq!(sign(&engine), None);
}

#[test]
fn an_action_that_was_given_up_stops_and_leaves_its_work_to_the_next_one() {
    let mut lab = lab();
    let (engine, _server) = lab.under_an_engine();
    let running = lab.start_request();
    lab.wait_for_polling();
    engine.live.lock().unwrap().clear();
    running.end().failed(4);
    assert_eq!(lab.task(1).state, QUEUED);
}

#[test]
fn an_action_whose_result_nobody_will_read_stops() {
    let mut lab = lab();
    let (_engine, _server) = lab.under_an_engine();
    let mut running = lab.start_request();
    lab.wait_for_polling();
    running.do_not_listen();
    wait_for("its end", || running.has_ended().then_some(()));
    assert_eq!(lab.task(1).state, QUEUED);
}

#[test]
fn an_action_whose_own_token_is_revoked_is_worth_another_try() {
    let mut lab = lab();
    let (engine, _server) = lab.under_an_engine();
    let running = lab.start_request();
    lab.wait_for_polling();
    engine.is_token_revoked.store(true, Ordering::SeqCst);
    let failure = running.end().failed(3);
    assert!(failure.to_string().contains("token"), "{failure}");
    assert_eq!(lab.task(1).state, QUEUED);
    // At once, where it asks for something.
    let failure = lab.run_request(&[]).failed(3);
    assert!(
        failure["error"].as_str().unwrap().contains("refuses our token"),
        "{failure}"
    );
    engine.is_token_revoked.store(false, Ordering::SeqCst);
    let next = lab.run_request(&["--start_only"]).done();
    assert_eq!(next["fog_task"], 1);
}
