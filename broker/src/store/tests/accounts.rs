//! Accounts, and what hangs on them.

use super::engines::each_engine;
use super::samples::*;
use crate::domain::account::{Account, Standing};
use crate::domain::ids::Mailbox;
use crate::store::engine::run;
use crate::store::{AccountFilter, Error, PageRequest};

each_engine! {
    async fn an_account_comes_back_as_it_was_stored(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        let mut conn = store.read().await.unwrap();
        let read = conn.account(account.id).await.unwrap().unwrap();
        assert_eq!((read.unchecked(), read.mac()), (&account, [7; 32].as_slice()));
        let named = conn.account_by_name(&project(), &account.name).await.unwrap().unwrap();
        assert_eq!(named.unchecked(), &account);
        let boxed = conn.account_by_mailbox(&project(), &account.mailbox).await.unwrap().unwrap();
        assert_eq!(boxed.unchecked(), &account);
    }

    async fn a_change_of_an_account_names_the_version_it_follows(home) {
        let store = home.open().await;
        let (app, before) = settled(&store).await;
        let after = Account {
            mailbox: Mailbox::parse("other@example.com").unwrap(),
            sasl_user: String::new(),
            display_name: "Other".into(),
            labels: Default::default(),
            subject: "other".into(),
            authority: "other".into(),
            disabled: false,
            standing: Standing::Active,
            provider_code: "c".into(),
            provider_message: "m".into(),
            version: 2,
            updated_at: at(50),
            app: app.id,
            ..before
        };
        for expected in [Ok(()), Err(Error::Stale { what: "accounts" })] {
            let change = guard(&after);
            let done = store.write(move |tx| Box::pin(async move { tx.update_account(&change).await })).await;
            assert_eq!(done, expected);
        }
        let read = store.read().await.unwrap().account(after.id).await.unwrap().unwrap();
        assert_eq!(read.unchecked(), &after);
    }

    async fn two_accounts_cannot_share_a_mailbox(home) {
        let store = home.open().await;
        let (app, first) = settled(&store).await;
        let second = guard(&Account { mailbox: first.mailbox, ..account(&app, "bob") });
        let taken = store.write(move |tx| Box::pin(async move { tx.insert_account(&second).await })).await;
        assert_eq!(taken, Err(Error::Conflict { what: "accounts".into() }));
    }

    async fn accounts_are_listed_by_state(home) {
        let store = home.open().await;
        let (app, _) = settled(&store).await;
        let active = Account { disabled: false, standing: Standing::Active, ..account(&app, "bob") };
        let bob = guard(&active);
        store.write(move |tx| Box::pin(async move { tx.insert_account(&bob).await })).await.unwrap();
        for (filter, expected) in [
            (AccountFilter::All, vec!["ann", "bob"]),
            (AccountFilter::Disabled, vec!["ann"]),
            (AccountFilter::Standing(Standing::Active), vec!["bob"]),
            (AccountFilter::Standing(Standing::NeedsInteraction), vec![]),
        ] {
            let mut conn = store.read().await.unwrap();
            let page = conn.accounts(&project(), filter, &PageRequest::first()).await.unwrap();
            let names: Vec<_> = page.items.iter().map(|one| one.unchecked().name.as_str()).collect();
            assert_eq!(names, expected, "{filter:?}");
        }
        let counts = store.read().await.unwrap().counts(&project(), NOW).await.unwrap();
        assert_eq!(counts.apps, 1);
        assert_eq!(counts.accounts, [("active".to_owned(), 1), ("disabled".to_owned(), 1)]);
        assert_eq!(counts.rejected_apps, ["shop"]);
    }

    async fn an_account_takes_everything_of_its_own_along(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        let (caller, credential) = (caller("adapter"), credential(&account, "key"));
        let session = session(&caller, &credential);
        let id = account.id;
        let (guarded_caller, guarded_credential) = (guard(&caller), guard(&credential));
        store.write(move |tx| Box::pin(async move {
            tx.append_grant(&grant(&account, 1)).await?;
            tx.put_access_token(&token(&account, 1)).await?;
            tx.begin_attempt(&attempt(&account)).await?;
            tx.insert_caller(&guarded_caller).await?;
            tx.insert_credential(&guarded_credential).await?;
            tx.insert_mail_session(&session).await?;
            tx.delete_account(id, 1).await
        })).await.unwrap();
        let mut conn = store.read().await.unwrap();
        assert!(conn.grants(id).await.unwrap().is_empty());
        assert!(conn.access_tokens(id).await.unwrap().is_empty());
        assert!(conn.open_attempts().await.unwrap().is_empty());
        assert!(conn.credential(credential.id).await.unwrap().is_none());
        assert!(conn.caller(caller.id).await.unwrap().is_some());
    }

    async fn a_value_we_did_not_write_is_named(home) {
        let store = home.open().await;
        let (_, account) = settled(&store).await;
        store.write(|tx| Box::pin(async move { run!(tx, "update accounts set standing = 'fine'") })).await.unwrap();
        let error = store.read().await.unwrap().account(account.id).await.unwrap_err();
        let id = account.id.to_string();
        assert_eq!(error, Error::Corrupt { table: "accounts", column: "standing", id });
    }
}
