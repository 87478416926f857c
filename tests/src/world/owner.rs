//! The owner of a mailbox, in front of a browser without JavaScript.
//!
//! Clicks through our own pages and through the fake provider's; never knows a token. Next: [`crate::cast::browser`].

use anyhow::{Context, Result, ensure};

use crate::cast::browser::{Browser, Page};

/// Most pages a person clicks through.
const PAGES_MAX: usize = 6;

/// Somebody with a mailbox and a browser of their own.
#[derive(Debug)]
pub struct Owner {
    mailbox: String,
    browser: Browser,
}

impl Owner {
    /// The owner of `mailbox`, with a browser that has no cookies yet.
    ///
    /// # Errors
    /// No browser can be made.
    pub fn of(mailbox: &str) -> Result<Self> {
        Ok(Self { mailbox: mailbox.to_owned(), browser: Browser::new()? })
    }

    /// The browser, for what an ordinary owner would not do.
    pub fn browser(&mut self) -> &mut Browser {
        &mut self.browser
    }

    /// Opens a link, clicks and consents until there is nothing more to click; the page where that ends.
    ///
    /// # Errors
    /// A page cannot be opened, or there is no end.
    pub async fn accept(&mut self, link: &str) -> Result<Page> {
        let page = self.browser.open(link).await?;
        self.click_through(page, "allow").await
    }

    /// Opens a link and refuses at the provider.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn deny(&mut self, link: &str) -> Result<Page> {
        let page = self.browser.open(link).await?;
        self.click_through(page, "deny").await
    }

    /// Opens a link and clicks on our own page, up to the provider's.
    ///
    /// # Errors
    /// As [`accept`](Self::accept), or it does not get there.
    pub async fn walk_to_provider(&mut self, link: &str) -> Result<Page> {
        let mut page = self.browser.open(link).await?;
        for _ in 0..PAGES_MAX {
            if is_providers(&page) {
                return Ok(page);
            }
            page = self.browser.submit(&page, &[]).await?;
        }
        anyhow::bail!("the provider's page does not come: {}", page.text)
    }

    /// Goes on from a page; `decision` is what the provider's page is told.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn click_through(&mut self, mut page: Page, decision: &str) -> Result<Page> {
        for _ in 0..PAGES_MAX {
            let Ok(form) = page.form() else { return Ok(page) };
            ensure!(form.is_post, "a click that changes something is no POST: {}", page.text);
            page = if is_providers(&page) {
                let choice =
                    [("mailbox", self.mailbox.as_str()), ("other", ""), ("decision", decision)];
                self.browser.submit(&page, &choice).await?
            } else {
                self.browser.submit(&page, &[]).await?
            };
        }
        Err(anyhow::anyhow!("{}", page.text)).context("pages without end")
    }
}

fn is_providers(page: &Page) -> bool {
    page.url.path() == "/authorize" || page.text.contains("action=\"/authorize/decide\"")
}
