//! `brokerctl drain` and `resume`: taking a broker out of service, and back.

use std::time::Duration;

use clap::Args;
use token_broker_client::v1;

use crate::failure::Failure;
use crate::session::Session;
use crate::views::drain::ServingView;

/// Between two looks at what it is at.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) const DRAIN_HELP: &str = "\
The broker that --server names refuses new calls of services and adapters (they go to another
broker or come back), its health and /readyz say so, and it starts no refresh; what runs comes to
its end. Administration and consent pages stay. `brokerctl resume` or a restart ends it.
Before maintenance: brokerctl drain --wait && systemctl stop token-broker
Exit code 5 if it is not idle in time.";

/// `brokerctl drain`
#[derive(Args, Debug)]
pub(crate) struct Drain {
    /// Wait until it answers no call and is at no refresh
    #[arg(long)]
    wait: bool,
    /// For how long at most
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::when::span, requires = "wait")]
    at_most: Duration,
}

impl Drain {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let admin = &session.admin;
        let ask = || admin.system();
        let began = tokio::time::Instant::now();
        let mut stands = admin.ask(ask().drain_broker(v1::DrainBrokerRequest {})).await?;
        while self.wait && !is_idle(stands) && began.elapsed() < self.at_most {
            tokio::time::sleep(LOOK).await;
            stands = admin.ask(ask().drain_broker(v1::DrainBrokerRequest {})).await?;
        }
        session.out.show(&ServingView::from(stands))?;
        if self.wait && !is_idle(stands) {
            return Err(Failure::Busy {
                what: "the broker is not idle yet".into(),
                remedy: "wait on with `brokerctl drain --wait`, or stop it: it gives them `drain_seconds`".into(),
            });
        }
        Ok(())
    }
}

pub(crate) async fn resume(session: &Session) -> Result<(), Failure> {
    let ask = v1::ResumeBrokerRequest {};
    let stands = session.admin.ask(session.admin.system().resume_broker(ask)).await?;
    session.out.show(&ServingView::from(stands))
}

fn is_idle(stands: v1::ServingState) -> bool {
    stands.calls_in_flight == 0 && stands.refreshes_in_flight == 0
}
