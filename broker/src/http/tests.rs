//! The door without a network: requests go into the router, answers come out, the service is a script.

use std::sync::Mutex;

use axum::body::{Body, to_bytes};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN,
    REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, Method, Request, Response, StatusCode};
use proptest::prelude::*;
use tower::ServiceExt;
use url::Url;

use super::verbs::Link;
use super::*;
use crate::domain::ids::{Mailbox, ProjectId, ResourceId};
use crate::service::{Answer, Arrival, Departure, Error, Invitation};

const TICKET: &str = "TicketTicketTicketTicketTicketTicketTicketT";
const STATE: &str = "StateStateStateStateStateStateStateStateSta";
const BINDING: &str = "BindingBindingBindingBindingBindingBindingB";

/// The service, as a test wants it; remembers who departed and what arrived.
#[derive(Clone)]
struct Play {
    invitation: Result<Invitation, Error>,
    answer: Result<Answer, Error>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    departed: Vec<Link>,
    arrived: Vec<(String, Option<String>, Arrival)>,
}

impl Default for Play {
    fn default() -> Self {
        let invitation = Invitation {
            requester: "Help <desk>".to_owned(),
            app: "Ticket system".to_owned(),
            mailbox: "ann@example.com".to_owned(),
            needs_click: true,
        };
        let answer = Answer::Connected(Mailbox::parse("ann@example.com").unwrap());
        Self { invitation: Ok(invitation), answer: Ok(answer), seen: Arc::default() }
    }
}

impl Verbs for Play {
    async fn invitation(&self, _: &Link) -> Result<Invitation, Error> {
        self.invitation.clone()
    }

    async fn depart(&self, link: &Link) -> Result<Departure, Error> {
        self.seen.lock().unwrap().departed.push(link.clone());
        let to = Url::parse("https://provider.example/authorize?state=s").unwrap();
        Ok(Departure { to, cookie: BINDING.into() })
    }

    async fn receive(
        &self,
        (project, app): (ProjectId, ResourceId),
        cookie: Option<&str>,
        arrival: Arrival,
    ) -> Result<Answer, Error> {
        let arrived = (format!("{project}/{app}"), cookie.map(str::to_owned), arrival);
        self.seen.lock().unwrap().arrived.push(arrived);
        self.answer.clone()
    }
}

impl Play {
    fn router(&self, public_url: &str) -> Router {
        let settings = HttpSettings {
            address: ([127, 0, 0, 1], 0).into(),
            public_url: Url::parse(public_url).unwrap(),
        };
        router(self.clone(), &settings, Entropy::seeded(1))
    }

    async fn ask(&self, request: Request<Body>) -> Response<Body> {
        self.router("https://broker.example").oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response<Body> {
        self.ask(request(Method::GET, path, &[], "")).await
    }

    fn departures(&self) -> usize {
        self.seen.lock().unwrap().departed.len()
    }
}

fn request(
    method: Method,
    path: &str,
    headers: &[(HeaderName, &str)],
    body: &str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

async fn html(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

fn header(response: &Response<Body>, name: HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn invitation() -> String {
    format!("/consent/{TICKET}")
}

fn callback(query: &str) -> String {
    format!("/oauth/callback/default/google?{query}")
}

/// Opens the page and returns the cookie it set and the token in its form.
async fn opened(play: &Play, path: &str) -> (String, String) {
    let response = play.get(path).await;
    let cookie = header(&response, SET_COOKIE).split(';').next().unwrap().to_owned();
    let page = html(response).await;
    let (_, rest) = page.split_once("name=\"token\" value=\"").unwrap();
    (cookie, rest.split('"').next().unwrap().to_owned())
}

#[tokio::test]
async fn the_page_names_who_asks_for_which_mailbox_and_has_one_button() {
    let play = Play::default();
    for path in [invitation(), format!("/renew/{TICKET}")] {
        let response = play.get(&path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, CONTENT_TYPE), "text/html; charset=utf-8");
        let page = html(response).await;
        for part in ["Help &lt;desk&gt;", "Ticket system", "ann@example.com", "lang=\"en\""] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert_eq!(page.matches("<button").count(), 1);
    }
    assert_eq!(play.departures(), 0, "showing starts nothing");
}

#[tokio::test]
async fn a_click_sends_the_browser_to_the_provider_with_its_binding() {
    let play = Play::default();
    let (cookie, token) = opened(&play, &invitation()).await;
    let headers = [(COOKIE, cookie.as_str()), (ORIGIN, "https://broker.example")];
    let body = format!("token={token}");
    let response = play.ask(request(Method::POST, &invitation(), &headers, &body)).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&response, LOCATION), "https://provider.example/authorize?state=s");
    let bound = header(&response, SET_COOKIE);
    assert!(bound.starts_with(&format!("__Host-token-broker-consent={BINDING};")), "{bound}");
    assert!(bound.contains("SameSite=Lax") && bound.contains("Secure"), "{bound}");
    assert_eq!(header(&response, REFERRER_POLICY), "no-referrer");
    let departed = &play.seen.lock().unwrap().departed;
    assert_eq!((departed.len(), departed[0].end.as_str()), (1, TICKET));
}

#[tokio::test]
async fn a_form_from_elsewhere_starts_nothing() {
    let play = Play::default();
    let (cookie, token) = opened(&play, &invitation()).await;
    let body = format!("token={token}");
    let other = "token=OtherOtherOtherOther".to_owned();
    let fetched = HeaderName::from_static("sec-fetch-site");
    let forged: [(&[(HeaderName, &str)], &String); 6] = [
        (&[], &body),
        (&[(COOKIE, &cookie)], &other),
        (&[(COOKIE, &cookie)], &String::new()),
        (&[(COOKIE, &cookie), (ORIGIN, "https://evil.example")], &body),
        (&[(COOKIE, &cookie), (ORIGIN, "null")], &body),
        (&[(COOKIE, &cookie), (fetched, "same-site")], &body),
    ];
    for (headers, body) in forged {
        let response = play.ask(request(Method::POST, &invitation(), headers, body)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{headers:?}");
    }
    assert_eq!(play.departures(), 0);
    let honest = request(Method::POST, &invitation(), &[(COOKIE, &cookie)], &body);
    assert_eq!(play.ask(honest).await.status(), StatusCode::SEE_OTHER, "the guard can let through");
}

#[tokio::test]
async fn the_user_of_an_application_departs_at_once_but_not_for_a_mere_look() {
    let mut play = Play::default();
    play.invitation.as_mut().unwrap().needs_click = false;
    let looked = play.ask(request(Method::HEAD, &invitation(), &[], "")).await;
    assert_eq!((looked.status(), play.departures()), (StatusCode::OK, 0));
    assert_eq!(play.get(&invitation()).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(play.departures(), 1);
}

#[tokio::test]
async fn the_answer_reaches_the_service_with_its_cookie_and_ends_it() {
    let play = Play::default();
    let cookie = format!("__Host-token-broker-consent={BINDING}");
    let path = callback(&format!("state={STATE}&code=4%2F0"));
    let response = play.ask(request(Method::GET, &path, &[(COOKIE, &cookie)], "")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(header(&response, SET_COOKIE).contains("Max-Age=0"));
    assert!(
        html(response).await.contains("ann@example.com is connected. You may close this page.")
    );
    let seen = play.seen.lock().unwrap();
    let (place, bound, arrival) = &seen.arrived[0];
    assert_eq!((place.as_str(), bound.as_deref()), ("default/google", Some(BINDING)));
    assert_eq!((arrival.state.as_str(), arrival.code.as_ref().unwrap().expose()), (STATE, "4/0"));
}

#[tokio::test]
async fn the_browser_goes_back_to_the_application_that_asked() {
    let to = Url::parse("https://app.example/done?code=x").unwrap();
    let play = Play { answer: Ok(Answer::GoTo(to)), ..Play::default() };
    let response = play.get(&callback(&format!("state={STATE}&code=c"))).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&response, LOCATION), "https://app.example/done?code=x");
}

#[tokio::test]
async fn a_refused_answer_has_words_and_keeps_the_cookie_of_a_consent_on_its_way() {
    let words = "You did not allow it. Nothing was stored.";
    let refused = Error::ConsentNotUsable(words.to_owned());
    let play = Play { answer: Err(refused), ..Play::default() };
    let response = play.get(&callback(&format!("state={STATE}&error=access_denied"))).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(header(&response, SET_COOKIE), "");
    assert!(html(response).await.contains(words));
}

#[tokio::test]
async fn a_look_at_the_callback_uses_nothing_up() {
    let play = Play::default();
    let path = callback(&format!("state={STATE}&code=c"));
    let response = play.ask(request(Method::HEAD, &path, &[], "")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(play.seen.lock().unwrap().arrived.is_empty());
}

#[tokio::test]
async fn every_answer_carries_the_headers_whatever_it_is() {
    let play = Play { answer: Err(Error::ours("broken")), ..Play::default() };
    let mut answers = Vec::new();
    for path in [
        "/",
        "/favicon.ico",
        "/consent/short",
        "/consent/%FF%FE%FF%FE%FF%FE%FF%FE%FF%FE",
        &invitation(),
        &callback("state=x"),
        &callback(&format!("state={STATE}")),
        "/oauth/callback/No%20Project/google",
    ] {
        answers.push(play.get(path).await);
        answers.push(play.ask(request(Method::DELETE, path, &[], "")).await);
        answers.push(play.ask(request(Method::HEAD, path, &[], "")).await);
    }
    let long = "x".repeat(LONGEST_BODY + 1);
    answers.push(play.ask(request(Method::POST, &invitation(), &[], &long)).await);
    assert_eq!(answers.last().unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    for response in answers {
        let status = response.status();
        let policy = header(&response, CONTENT_SECURITY_POLICY);
        assert!(policy.contains("default-src 'none'"), "{status}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{status}: {policy}");
        assert_eq!(header(&response, X_CONTENT_TYPE_OPTIONS), "nosniff", "{status}");
        assert_eq!(header(&response, CACHE_CONTROL), "no-store", "{status}");
        assert_eq!(header(&response, STRICT_TRANSPORT_SECURITY), "max-age=31536000", "{status}");
        let referrer = header(&response, REFERRER_POLICY).to_owned();
        let has_form = policy.contains("form-action 'self'");
        assert_eq!(referrer, if has_form { "same-origin" } else { "no-referrer" }, "{status}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_not_meant_is_405() {
    let play = Play::default();
    let short = "/consent/short".to_owned();
    for path in ["/nowhere", &short, "/oauth/callback/No%20Project/google", "/consent/", "//"] {
        assert_eq!(play.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for (method, path) in [
        (Method::PUT, invitation()),
        (Method::POST, "/".to_owned()),
        (Method::POST, callback(&format!("state={STATE}"))),
    ] {
        let response = play.ask(request(method, &path, &[], "")).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert!(header(&response, ALLOW).contains("GET"), "{path}");
        assert!(html(response).await.contains("<h1>"));
    }
}

#[tokio::test]
async fn an_internal_error_reveals_nothing() {
    let invitation_fails = Play { invitation: Err(Error::ours("canary")), ..Play::default() };
    let response = invitation_fails.get(&invitation()).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!html(response).await.contains("canary"));
}

#[tokio::test]
async fn too_many_at_once_are_told_so() {
    let play = Play::default();
    let settings = HttpSettings {
        address: ([127, 0, 0, 1], 0).into(),
        public_url: Url::parse("http://localhost:1").unwrap(),
    };
    let site = Site { origin: String::new(), https: false };
    let shared = Shared {
        verbs: play.clone(),
        site,
        entropy: Entropy::seeded(1),
        gate: Arc::new(Semaphore::new(0)),
    };
    let full = Router::new()
        .route("/", get(async || "in"))
        .layer(from_fn_with_state(shared, guard::bound::<Play>));
    let response = full.oneshot(request(Method::GET, "/", &[], "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&response, RETRY_AFTER), "5");
    let open = router(play, &settings, Entropy::seeded(1));
    let response = open.oneshot(request(Method::GET, "/", &[], "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn on_this_machine_cookies_and_headers_do_without_https() {
    let play = Play::default();
    let router = play.router("http://localhost:8642");
    let response = router.oneshot(request(Method::GET, &invitation(), &[], "")).await.unwrap();
    assert_eq!(header(&response, STRICT_TRANSPORT_SECURITY), "");
    let cookie = header(&response, SET_COOKIE);
    assert!(cookie.starts_with("token-broker-form=") && !cookie.contains("Secure"), "{cookie}");
    assert!(header(&response, CONTENT_SECURITY_POLICY).contains("http://localhost:*"));
}

#[tokio::test]
async fn a_request_in_flight_is_answered_after_the_stop() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (arrived, in_flight) = tokio::sync::oneshot::channel();
    let (let_go, gate) = tokio::sync::oneshot::channel::<()>();
    let waits = Arc::new(Mutex::new(Some((arrived, gate))));
    let slow = get(move || {
        let (arrived, gate) = waits.lock().unwrap().take().unwrap();
        async move {
            arrived.send(()).unwrap();
            gate.await.unwrap();
            "answered"
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let own = tasks.clone();
    let door = Router::new().route("/", slow);
    let served = tasks.spawn(async move { connections::serve(listener, door, &own).await });

    let mut browser = tokio::net::TcpStream::connect(address).await.unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    in_flight.await.unwrap();
    tasks.stop();
    served.await.unwrap();
    let_go.send(()).unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("answered"), "{answer}");
    assert!(tasks.drain(std::time::Duration::from_secs(20)).await);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_a_browser_sends_comes_back_in_a_page(
        noise in "[ -~]{0,40}", name in "(state|code|iss|error|error_description|x)", cookie in "[!-:<-~]{0,40}",
    ) {
        let sent = format!("canary\"'<{noise}");
        let escaped: String = url::form_urlencoded::byte_serialize(sent.as_bytes()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let play = Play { answer: Err(Error::EtagMismatch), ..Play::default() };
        for path in [
            callback(&format!("{name}={escaped}")),
            callback(&format!("state={STATE}&{name}={escaped}")),
            format!("{}?{name}={escaped}", invitation()),
            format!("/consent/{escaped}"),
            format!("/{escaped}?{escaped}"),
        ] {
            let headers = [(COOKIE, format!("__Host-token-broker-form=canary{cookie}"))];
            let headers = headers.each_ref().map(|(name, value)| (name.clone(), value.as_str()));
            for method in [Method::GET, Method::POST] {
                let asked = request(method, &path, &headers, &escaped);
                let page = runtime.block_on(async { html(play.ask(asked).await).await });
                prop_assert!(!page.contains("canary"), "{} answers {}", path, page);
            }
        }
    }
}
