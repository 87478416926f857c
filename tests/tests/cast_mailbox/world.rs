//! A provider and a mailbox for one test.

use anyhow::Result;
use e2e::cast::ca::TestCa;
use e2e::cast::mailbox::Mailbox;
use e2e::cast::mailbox::sasl;
use e2e::cast::mailbox::settings::{MailboxSettings, Mechanism};
use e2e::cast::provider::Provider;
use e2e::cast::provider::settings::ProviderSettings;
use e2e::cast::speaker::Speaker;

pub(crate) const ALICE: &str = "alice@example.test";
pub(crate) const BOB: &str = "bob@example.test";
pub(crate) const MAIL: &str = "From: Bob <bob@example.test>\r\nTo: alice@example.test\r\n\
                               Subject: first mail\r\n\r\nhello alice\r\n";

pub(crate) struct World {
    pub(crate) provider: Provider,
    pub(crate) mailbox: Mailbox,
    pub(crate) ca: TestCa,
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let provider = Provider::start(ProviderSettings::default()).await?;
        let ca = TestCa::generate()?;
        let mailbox = Mailbox::start(MailboxSettings::default(), provider.truth(), &ca).await?;
        mailbox.deliver(ALICE, MAIL)?;
        Ok(Self { provider, mailbox, ca })
    }

    /// A live access token of `user`.
    pub(crate) fn token(&self, user: &str) -> String {
        self.provider.issue(user, "mail").access.token
    }

    /// A connection to IMAP, greeted.
    pub(crate) async fn imap(&self) -> Result<Speaker> {
        let mut speaker = Speaker::connect(self.mailbox.addresses().imap).await?;
        speaker.expect("* OK").await?;
        Ok(speaker)
    }

    /// A connection to IMAP, logged in as alice, with INBOX selected.
    pub(crate) async fn inbox(&self) -> Result<Speaker> {
        let mut speaker = self.imap().await?;
        let response = sasl::response(Mechanism::Xoauth2, ALICE, &self.token(ALICE));
        speaker.send(&format!("a AUTHENTICATE XOAUTH2 {response}")).await?;
        speaker.expect("a OK").await?;
        speaker.send("b SELECT INBOX").await?;
        speaker.until("b OK").await?;
        Ok(speaker)
    }

    /// A connection to SMTP, after EHLO.
    pub(crate) async fn smtp(&self) -> Result<Speaker> {
        let mut speaker = Speaker::connect(self.mailbox.addresses().smtp).await?;
        speaker.expect("220").await?;
        speaker.send("EHLO test").await?;
        speaker.until("250 ").await?;
        Ok(speaker)
    }
}
