//! Accounts that are being given back.

use super::engines::each_engine;
use super::samples::*;
use crate::clock::Time;
use crate::domain::ids::AccountId;
use crate::store::Store;

async fn begin(store: &Store, account: AccountId, now: Time) {
    let begin =
        store.write(move |tx| Box::pin(async move { tx.begin_giving_back(account, now).await }));
    begin.await.unwrap();
}

async fn end(store: &Store, account: AccountId) -> bool {
    store.write(move |tx| Box::pin(async move { tx.end_giving_back(account).await })).await.unwrap()
}

each_engine! {
    async fn who_is_given_back_is_found_since_the_first_time_and_over_once_with_its_grants(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        let (id, mark) = (account.id, grant(&account, 1));
        store.write(move |tx| Box::pin(async move { tx.append_grant(&mark).await })).await.unwrap();
        assert!(!end(&store, id).await);
        assert_eq!(store.read().await.unwrap().grants(id).await.unwrap().len(), 1, "nobody wanted that");
        begin(&store, id, at(5)).await;
        begin(&store, id, at(9)).await;
        let mut conn = store.read().await.unwrap();
        assert_eq!(conn.giving_back(None, 10).await.unwrap(), [(id, at(5))]);
        assert_eq!(conn.giving_back(Some(id), 10).await.unwrap(), [], "the next page");
        drop(conn);
        assert!(end(&store, id).await);
        assert!(!end(&store, id).await);
        let mut conn = store.read().await.unwrap();
        assert_eq!(conn.giving_back(None, 10).await.unwrap(), []);
        assert_eq!(conn.grants(id).await.unwrap(), []);
    }
}
