//! Whole bookings, undisturbed.

use crate::house::{House, of_action};

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_ends_with_eight_true_tasks_in_few_executions() {
    let house = House::start().await;
    let job = house.book();
    let job = house.settled(job).await;
    assert_eq!(job.tasks.len(), 8);
    house.assert_done(&job).await;
    let executions = house.executions().await;
    assert_eq!(of_action(&executions, "fulfill_job").len(), 1, "handed out once");
    let (hosts, users) = (2, 2);
    let most = 8 + 18 * hosts + 4 * users;
    assert!(
        executions.len() <= most,
        "{}: {}",
        executions.len(),
        house.story().await
    );
}
