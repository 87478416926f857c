//! How an adapter ends.

use adapter_testkit::eventually;

use crate::server::Manners;
use crate::world::World;

#[tokio::test]
async fn at_a_stop_everybody_is_told_and_the_broker_hears_of_every_end() {
    let world = World::new(Manners::default()).await;
    let mut waiting = world.client().await;
    waiting.line().await;
    let mut session = world.logged_in().await;
    session.say("b NOOP\r\n").await;
    assert_eq!(session.line().await, "b OK done");
    let World { adapter, broker, .. } = world;
    assert!(adapter.stop().await, "all connections ended in time");
    let good_bye = b"* BYE Going down, please connect again\r\n";
    assert_eq!(waiting.rest().await, good_bye);
    assert_eq!(session.rest().await, good_bye);
    eventually(|| broker.memory().reports.iter().any(|report| report.ended)).await;
}
