//! `brokerctl status`: the broker in one screen.

use token_broker_client::v1;

use crate::failure::Failure;
use crate::session::Session;
use crate::views::status::StatusView;

pub(crate) async fn run(session: &Session) -> Result<(), Failure> {
    let ask = v1::GetSystemStatusRequest {};
    let status = session.admin.ask(session.admin.system().get_system_status(ask)).await?;
    session.out.show(&StatusView::from(status))
}
