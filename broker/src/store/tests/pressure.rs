//! Counts of refused logins, from broker to broker.

use super::engines::each_engine;
use super::samples::at;
use crate::domain::guessing::{Network, Pressure, Subject};
use crate::store::Store;

async fn put(store: &Store, replica: &'static str, pressures: Vec<Pressure>, now: i64) {
    let written = store.write(move |tx| {
        Box::pin(async move { tx.put_login_pressure(replica, &pressures, (at(10), at(now))).await })
    });
    written.await.unwrap();
}

each_engine! {
    async fn a_broker_hears_what_the_others_counted_lately_and_not_itself(home) {
        let store = home.open().await;
        let network = Network::of("2001:db8::1".parse().unwrap());
        let counted = [
            Pressure { subject: Subject::Credential("abc".into()), count: 12.5 },
            Pressure { subject: Subject::Network(network), count: 3.0 },
            Pressure { subject: Subject::Adapter("callers/door".into()), count: 1.25 },
        ];
        put(&store, "one", vec![Pressure { subject: Subject::Credential("old".into()), count: 9.0 }], 20).await;
        put(&store, "one", counted.to_vec(), 30).await;
        let mut conn = store.read().await.unwrap();
        assert_eq!(conn.login_pressure("two", at(25)).await.unwrap(), counted, "the newest, heaviest first");
        assert_eq!(conn.login_pressure("two", at(31)).await.unwrap(), [], "too old");
        assert_eq!(conn.login_pressure("one", at(25)).await.unwrap(), [], "its own");
    }
}
