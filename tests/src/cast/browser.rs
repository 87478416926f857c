//! A scripted browser: follows redirects, keeps cookies, submits the one form on a page.
//!
//! It goes to loopback only, at most 20 hops at a time, and reads at most 1 MiB of a page. It runs no scripts, which is
//! the point: what it can do, a person without JavaScript can do. Next: [`form`] and [`cookies`], its two senses.

pub mod cookies;
pub mod form;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode};
use rustls::RootCertStore;
use url::{Host, Url};

use super::ca::{self, TestCa};
use cookies::Jar;
use form::Form;

const HOPS_MAX: usize = 20;
const PAGE_MAX: usize = 1024 * 1024;
const DEADLINE: Duration = Duration::from_secs(30);

/// A browser with its cookies.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    jar: Jar,
}

/// Where a walk ended.
#[derive(Clone, Debug)]
pub struct Page {
    /// The final URL.
    pub url: Url,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
    /// Every URL of the walk, the final one last.
    pub hops: Vec<Url>,
}

impl Page {
    /// The one form on the page.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn form(&self) -> Result<Form> {
        Form::only(&self.text).with_context(|| format!("on {}", self.url))
    }

    /// A member of the final URL's query.
    pub fn query(&self, name: &str) -> Option<String> {
        self.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

struct Step {
    method: Method,
    url: Url,
    body: Option<String>,
}

impl Browser {
    /// A browser without cookies that trusts no certificate.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new() -> Result<Self> {
        Self::with_tls(ca::client_config(RootCertStore::empty())?)
    }

    /// A browser that trusts a test run's certificates.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn trusting(ca: &TestCa) -> Result<Self> {
        Self::with_tls(ca.client_config()?)
    }

    #[expect(clippy::disallowed_methods, reason = "a browser is not the product's client")]
    fn with_tls(tls: rustls::ClientConfig) -> Result<Self> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .no_proxy()
            .timeout(DEADLINE)
            .build()?;
        Ok(Self { client, jar: Jar::default() })
    }

    /// Types a URL into the address bar and follows it to its end.
    ///
    /// # Errors
    /// It leaves loopback, goes in circles or fails.
    pub async fn open(&mut self, url: &str) -> Result<Page> {
        let url = Url::parse(url).with_context(|| format!("bad URL {url}"))?;
        self.walk(Step { method: Method::GET, url, body: None }, None).await
    }

    /// Follows a link on a page, which counts as coming from there.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn follow(&mut self, page: &Page, href: &str) -> Result<Page> {
        let url = page.url.join(href)?;
        self.walk(Step { method: Method::GET, url, body: None }, Some(&page.url)).await
    }

    /// Submits the one form of a page: its own fields, with `fields` put over them (a button counts as a field).
    ///
    /// # Errors
    /// There is not exactly one form, or as [`open`](Self::open).
    pub async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Result<Page> {
        let form = page.form()?;
        let body = form.filled(fields);
        let mut url = page.url.join(&form.action)?;
        let step = if form.is_post {
            Step { method: Method::POST, url, body: Some(body) }
        } else {
            url.set_query(Some(&body));
            Step { method: Method::GET, url, body: None }
        };
        self.walk(step, Some(&page.url)).await
    }

    /// The cookies it holds.
    pub fn cookies(&mut self) -> &mut Jar {
        &mut self.jar
    }

    async fn walk(&mut self, first: Step, from: Option<&Url>) -> Result<Page> {
        let mut hops: Vec<Url> = Vec::new();
        let mut step = first;
        let mut foreign = from.is_some_and(|from| from.host_str() != step.url.host_str());
        while hops.len() < HOPS_MAX {
            ensure_loopback(&step.url)?;
            // A walk that has touched another site stays a visit from there (SameSite).
            foreign |= hops.last().is_some_and(|last| last.host_str() != step.url.host_str());
            hops.push(step.url.clone());
            let page = self.fetch(&step, foreign, &hops).await?;
            match next(&step, &page)? {
                None => return Ok(page),
                Some(following) => step = following,
            }
        }
        bail!("more than {HOPS_MAX} hops: {hops:?}")
    }

    async fn fetch(&mut self, step: &Step, foreign: bool, hops: &[Url]) -> Result<Page> {
        let mut request = self.client.request(step.method.clone(), step.url.clone());
        if let Some(cookies) = self.jar.header(&step.url, foreign, step.method == Method::GET) {
            request = request.header(COOKIE, cookies);
        }
        if let Some(body) = &step.body {
            request = request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body.clone());
        }
        let mut response = request.send().await.with_context(|| format!("open {}", step.url))?;
        let (status, headers) = (response.status(), response.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            self.jar.store(&step.url, cookie.to_str()?);
        }
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            text.extend_from_slice(&chunk);
            ensure!(text.len() <= PAGE_MAX, "{} is larger than {PAGE_MAX} bytes", step.url);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Page { url: step.url.clone(), status, headers, text, hops: hops.to_vec() })
    }
}

fn next(step: &Step, page: &Page) -> Result<Option<Step>> {
    let Some(location) = page.headers.get(LOCATION).filter(|_| page.status.is_redirection()) else {
        return Ok(None);
    };
    let url = step.url.join(location.to_str()?)?;
    let keeps = matches!(page.status.as_u16(), 307 | 308);
    Ok(Some(match &step.body {
        Some(body) if keeps => Step { method: step.method.clone(), url, body: Some(body.clone()) },
        _ => Step { method: Method::GET, url, body: None },
    }))
}

fn ensure_loopback(url: &Url) -> Result<()> {
    let inside = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    ensure!(inside, "{url} leaves loopback");
    Ok(())
}
