//! A provider that never confirms that it forgot a grant is asked for seven days, and then no more.

use std::time::Duration;

use anyhow::Result;
use e2e::cast::provider::faults::{Endpoint, Fault, Rule};
use e2e::world::crowd::until;
use e2e::world::{Engine, Timelapse};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_provider_that_never_confirms_is_given_up_after_seven_days_and_not_before() -> Result<()>
{
    for engine in Engine::each()? {
        let mut house = Timelapse::start(engine, 1, 100.0).await?;
        let mailbox = house.mailboxes[0].clone();
        let rule = Rule::token(Fault::Status { status: 503, retry_after: None });
        house.provider.fault(Rule { endpoint: Some(Endpoint::Revoke), ..rule });
        house.operator.ctl(&["account", "revoke", &mailbox]).await?;
        house.pass(DAY * 6, DAY).await;
        house.restart().await?;
        let asked = || house.provider.truth().stats().calls.get("revoke").copied();
        until("it is asked again", PATIENCE, async || Ok(asked() == Some(2))).await?;
        assert!(house.operator.account(&mailbox).await?.revocation_pending);
        house.pass(DAY, DAY).await;
        house.restart().await?;
        let over = async || Ok(!house.operator.account(&mailbox).await?.revocation_pending);
        until("it is given up", PATIENCE, over).await?;
        let asked = house.provider.truth().stats().calls.get("revoke").copied();
        assert_eq!(asked, Some(3), "the last time at the end of the seven days");
        let audit = house.operator.audit().await?;
        let told: Vec<_> = audit.iter().filter(|record| record.event == "grant.revoked").collect();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].granted, told[0].detail.as_str()), (false, "given_up"));
        house.end().await?;
    }
    Ok(())
}
