//! What an operator types, with the `st2` of PyPI against the engine: images, captures, updates, wipes.

use laas_lab::machine::Phase;
use serde_json::json;

use crate::house::House;

const KEPT: &str = "opt/kept";

fn system(house: &House, host: &str) -> Option<(u32, String)> {
    let system = house.lab.machine(host)?.system()?;
    Some((system.image, system.os.id))
}

fn write(house: &House, host: &str, text: &str) {
    let root = house.lab.machine(host).unwrap().root().unwrap();
    std::fs::write(root.join(KEPT), text).unwrap();
}

fn read(house: &House, host: &str) -> Option<String> {
    let root = house.lab.machine(host)?.root()?;
    std::fs::read_to_string(root.join(KEPT)).ok()
}

fn has_image(house: &House, name: &str) -> bool {
    house.lab.fog().images().iter().any(|image| image["name"] == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_deployed_captured_and_updated_by_hand() {
    let house = House::start().await;
    house
        .st2(&["run", "laas.image_host", "host=pod1", "os=ubuntu"])
        .await
        .succeeded();
    assert_eq!(system(&house, "pod1"), Some((17, "ubuntu".into())));
    let key = house.key("ssh_host_key_pod1").await;

    write(&house, "pod1", "of the first");
    let captured = house
        .st2(&["run", "laas.capture_host", "host=pod1", "snapshot=base"])
        .await;
    captured.succeeded();
    assert!(has_image(&house, "base_v1"));
    assert_eq!(house.lab.machine("pod1").unwrap().phase(), Phase::Up);
    assert_eq!(read(&house, "pod1").as_deref(), Some("of the first"));
    // The image holds no SSH host key, so the host made another.
    assert_ne!(house.key("ssh_host_key_pod1").await, key);

    house
        .st2(&["run", "laas.image_host", "host=pod2", "snapshot=base"])
        .await
        .succeeded();
    assert_eq!(read(&house, "pod2").as_deref(), Some("of the first"));
    let keys = [
        house.key("ssh_host_key_pod1").await,
        house.key("ssh_host_key_pod2").await,
    ];
    assert_ne!(keys[0]["fingerprint"], keys[1]["fingerprint"]);

    let update = [
        "run",
        "laas.update_image",
        "host=pod1",
        "snapshot=base",
        "into=base",
    ];
    house.st2(&update).await.succeeded();
    assert!(has_image(&house, "base_v2"));
    write(&house, "pod1", "of the second");
    house
        .st2(&[
            "run",
            "laas.image_host",
            "host=pod1",
            "snapshot=base",
            "version=1",
        ])
        .await
        .succeeded();
    assert_eq!(read(&house, "pod1").as_deref(), Some("of the first"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_wiped_by_whoever_names_the_host_twice() {
    let house = House::start().await;
    house
        .st2(&["run", "laas.image_host", "host=pod1", "os=ubuntu"])
        .await
        .succeeded();
    let wrong = house
        .st2(&["run", "laas.wipe_host", "host=pod1", "confirm=pod2"])
        .await;
    assert!(wrong.text.contains("nothing was touched"), "{}", wrong.text);
    assert!(system(&house, "pod1").is_some());
    assert_eq!(house.lab.machine("pod1").unwrap().phase(), Phase::Up);
    house
        .st2(&["run", "laas.wipe_host", "host=pod1", "confirm=pod1"])
        .await
        .succeeded();
    assert_eq!(system(&house, "pod1"), None);
    assert_eq!(house.lab.machine("pod1").unwrap().phase(), Phase::Off);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_the_booked_hosts_are_switched_on_and_no_other() {
    let house = House::of_hosts(3, &crate::house::pack(), json!({})).await;
    let job = house.book();
    let state = house.settled(job).await;
    house.assert_done(&state).await;
    let power = |host: &str| house.lab.machine(host).unwrap().phase();
    house
        .st2(&[
            "run",
            "laas.ipmi_power",
            "host=pod1",
            "command=off",
            "booked=true",
        ])
        .await
        .succeeded();
    assert_eq!((power("pod1"), power("pod3")), (Phase::Off, Phase::Off));
    house.st2(&["run", "laas.boot_booked_hosts"]).await.succeeded();
    assert_ne!(power("pod1"), Phase::Off);
    assert_eq!(power("pod3"), Phase::Off);
}

/// A booking's snapshot: its user gets the host back as it was, and an image.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_running_booking_is_an_image_of_its_host() {
    let house = House::start().await;
    let job = house.book();
    let state = house.settled(job).await;
    house.assert_done(&state).await;
    write(&house, "pod1", "of the tenant");
    let number = house.lab.dashboard().snapshot("pod1").unwrap();
    let state = house.settled(job).await;
    house.assert_done(&state).await;
    assert_eq!(read(&house, "pod1").as_deref(), Some("of the tenant"));
    let image = format!("snapshot_{number}_v1");
    assert!(has_image(&house, &image), "{}", house.story().await);
    // Whoever books it gets the files, and nobody gets in who was let in before.
    let snapshot = format!("snapshot=snapshot_{number}");
    let other = ["run", "laas.image_host", "host=pod2", &snapshot, "booked=true"];
    house.st2(&other).await.succeeded();
    assert_eq!(read(&house, "pod2").as_deref(), Some("of the tenant"));
    let root = house.lab.machine("pod2").unwrap().root().unwrap();
    let keys = std::fs::read_to_string(root.join("home/opnfv/.ssh/authorized_keys")).unwrap_or_default();
    assert!(!keys.contains("laas-job"), "{keys}");
}
