//! The verbs over a real socket, with servers that behave and servers that do not.

use super::*;
use crate::domain::app::ClientAuthMethod;
use crate::domain::provider::Issued;
use crate::domain::refusal::{Reached, RefusalClass, Refused};
use crate::domain::secret::Secret;
use crate::entropy::Entropy;
use crate::providers::discovery::DiscoveryError;
use crate::providers::resolved::Urls;
use crate::providers::{AuthorizeRequest, ClientAuth, ClientVerdict, CodeGrant, TokenKind};

const TOKENS: &str = r#"{"access_token":"a","refresh_token":"r2","expires_in":60}"#;

fn auth() -> ClientAuth {
    ClientAuth { client_id: "client id".into(), secret: Some(Secret::from("p&ss=canary")) }
}

fn token() -> Secret {
    Secret::from("refresh+canary/1")
}

async fn refresh_with(
    settings: WireSettings,
    acts: Vec<Act>,
) -> (Result<Issued, Refused>, Vec<String>) {
    let rogue = Rogue::start(acts).await;
    let (client, _) = client(settings);
    let result = client.refresh(&provider("google", rogue.at), &auth(), &token(), "mail").await;
    (result, rogue.requests())
}

async fn refresh(act: Act) -> Result<Issued, Refused> {
    let (result, requests) = refresh_with(limits(), vec![act]).await;
    assert!(requests.len() <= 1, "one call is at most one request");
    result
}

fn told(result: Result<Issued, Refused>) -> (RefusalClass, String, Reached) {
    let refused = result.unwrap_err();
    let prints = format!("{refused} {refused:?}");
    assert!(!prints.contains("canary") && !prints.contains("127.0.0.1"), "{prints}");
    (refused.class, refused.code, refused.reached)
}

/// A deadline for servers that hang: however slow the machine, it passes.
fn hurried() -> WireSettings {
    WireSettings { total_deadline: Duration::from_millis(300), ..limits() }
}

#[tokio::test]
async fn a_refresh_sends_the_form_of_rfc_6749() {
    let (result, requests) = refresh_with(limits(), vec![Act::Json(200, TOKENS.to_owned())]).await;
    assert_eq!(result.unwrap().refresh_token, Some(Secret::from("r2")));
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /token HTTP/1.1"));
    assert!(head.to_ascii_lowercase().contains("content-type: application/x-www-form-urlencoded"));
    assert_eq!(
        body,
        "grant_type=refresh_token&refresh_token=refresh%2Bcanary%2F1&client_id=client+id&client_secret=p%26ss%3Dcanary"
    );
}

#[tokio::test]
async fn basic_authentication_form_encodes_both_halves_first() {
    let rogue = Rogue::json(200, TOKENS).await;
    let (client, _) = client(limits());
    let provider = provider("generic-oidc", rogue.at);
    client.refresh(&provider, &auth(), &token(), "mail").await.unwrap();
    client.revoke(&provider, &auth(), &token(), TokenKind::Refresh).await.unwrap();
    for request in rogue.requests() {
        // base64("client+id:p%26ss%3Dcanary")
        let head = request.to_ascii_lowercase();
        assert!(head.contains(
            &"authorization: Basic Y2xpZW50K2lkOnAlMjZzcyUzRGNhbmFyeQ==".to_ascii_lowercase()
        ));
        assert!(request.contains("Y2xpZW50K2lkOnAlMjZzcyUzRGNhbmFyeQ=="), "{request}");
        assert!(!request.contains("client_secret"));
    }
}

#[tokio::test]
async fn a_public_client_sends_its_id_and_no_secret() {
    let rogue = Rogue::json(200, TOKENS).await;
    let (client, _) = client(limits());
    let public = ClientAuth { secret: None, ..auth() };
    let provider = provider("microsoft", rogue.at);
    client.refresh(&provider, &public, &token(), "mail").await.unwrap();
    let public_only = Resolved { client_auth: vec![ClientAuthMethod::None], ..provider };
    client.refresh(&public_only, &auth(), &token(), "graph").await.unwrap();
    for request in rogue.requests() {
        assert!(
            request.contains("client_id=client+id") && !request.contains("client_secret"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn microsoft_is_told_the_one_resource_it_shall_serve() {
    let rogue = Rogue::json(200, TOKENS).await;
    let (client, _) = client(limits());
    let provider = provider("microsoft", rogue.at);
    client.refresh(&provider, &auth(), &token(), "mail").await.unwrap();
    let unknown = client.refresh(&provider, &auth(), &token(), "calendar").await;
    assert_eq!(told(unknown), (RefusalClass::AppBroken, "unknown_target".into(), Reached::Never));
    let sent = rogue.requests();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].contains("scope=https%3A%2F%2Foutlook.office.com%2FIMAP.AccessAsUser.All+https%3A%2F%2Foutlook.office.com%2FSMTP.Send+offline_access"));
    assert!(!sent[0].contains("graph.microsoft.com"));
}

#[tokio::test]
async fn a_code_is_redeemed_with_its_verifier() {
    let rogue = Rogue::json(200, TOKENS).await;
    let (client, _) = client(limits());
    let (code, verifier) = (Secret::from("code/1"), Secret::from("verifier"));
    let redirect_uri = "http://localhost:8080/callback";
    let grant = CodeGrant { code: &code, verifier: &verifier, redirect_uri, target: "mail" };
    client.exchange_code(&provider("google", rogue.at), &auth(), &grant).await.unwrap();
    let request = rogue.requests().remove(0);
    for part in [
        "grant_type=authorization_code",
        "code=code%2F1",
        "code_verifier=verifier",
        "redirect_uri=http%3A%2F%2Flocalhost%3A8080%2Fcallback",
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    let bad = CodeGrant { redirect_uri: "not a url", ..grant };
    let refused =
        client.exchange_code(&provider("google", rogue.at), &auth(), &bad).await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.reached), ("bad_redirect_uri", Reached::Never));
}

#[tokio::test]
async fn the_consent_url_carries_everything_and_pkce_always() {
    let (client, _) = client(limits());
    let google = provider("google", "127.0.0.1:1".parse().unwrap());
    let verifier = Secret::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let request = AuthorizeRequest {
        redirect_uri: "https://broker.example/callback/google",
        state: "state-1",
        nonce: "nonce-1",
        verifier: &verifier,
        targets: &["mail".to_owned()],
        login_hint: Some("a+b@example.com"),
        prompt: None,
    };
    let query = |provider: &Resolved, request: &AuthorizeRequest<'_>| {
        let url = client.authorize_url(provider, request).unwrap();
        url.query_pairs().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>()
    };
    let mut seen = query(&google, &request);
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            "access_type=offline",
            "client_id=client id",
            "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "code_challenge_method=S256",
            "include_granted_scopes=false",
            "login_hint=a+b@example.com",
            "nonce=nonce-1",
            "prompt=consent",
            "redirect_uri=https://broker.example/callback/google",
            "response_type=code",
            "scope=openid email https://mail.google.com/",
            "state=state-1",
        ]
    );
    let microsoft = provider("microsoft", "127.0.0.1:1".parse().unwrap());
    let with_hint = query(&microsoft, &request);
    assert!(!with_hint.iter().any(|pair| pair.starts_with("prompt=")));
    let no_hint = AuthorizeRequest { login_hint: None, ..request };
    assert!(query(&microsoft, &no_hint).contains(&"prompt=select_account".to_owned()));
    let forced = AuthorizeRequest { prompt: Some("login"), ..request };
    let prompts: Vec<_> =
        query(&google, &forced).into_iter().filter(|pair| pair.starts_with("prompt=")).collect();
    assert_eq!(prompts, ["prompt=login"]);
}

#[tokio::test]
async fn a_port_without_a_server_is_surely_not_the_provider() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let result =
        client(limits()).0.refresh(&provider("google", at), &auth(), &token(), "mail").await;
    assert_eq!(told(result), (RefusalClass::Transient, "connect_failed".into(), Reached::Never));
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_it_open_whether_the_token_was_spent() {
    let broken = (RefusalClass::Transient, "connection_broken".to_owned(), Reached::Maybe);
    for act in [Act::CloseAfter, Act::Say("HTTP/1.1 2".into()), Act::Say("EHLO you\r\n\r\n".into())]
    {
        assert_eq!(told(refresh(act.clone()).await), broken, "{act:?}");
    }
    // Here it depends on who is first: the end of the connection, or the token on its way out.
    let kept = (RefusalClass::Transient, "unsent".to_owned(), Reached::Never);
    let met = told(refresh(Act::CloseBefore).await);
    assert!([broken, kept].contains(&met), "{met:?}");
}

#[tokio::test]
async fn a_token_that_has_not_left_when_its_time_is_over_stays_here() {
    let (short, long) = (Duration::from_millis(100), Duration::from_secs(20));
    for (connect_deadline, arrives) in [(short, false), (long, true)] {
        let rogue = Rogue::json(200, TOKENS).await;
        let settings = WireSettings { connect_deadline, ..limits() };
        let wire = Wire::new(settings, Clock::manual(NOW)).unwrap();
        let request = http::Request::post(format!("http://{}/", rogue.at));
        let request = request.body(b"refresh_token=r1".to_vec()).unwrap();
        // The whole process sleeps between the decision to send and the connection.
        let asleep = async { std::thread::sleep(Duration::from_millis(300)) };
        let (answer, ()) = tokio::join!(wire.send(request), asleep);
        let reached = answer.as_ref().map_or_else(|error| error.reached(), |_| Reached::Answered);
        assert_eq!(reached == Reached::Never, !arrives, "{answer:?}");
        let seen = rogue.requests().iter().any(|request| request.contains("refresh_token=r1"));
        assert_eq!(seen, arrives);
    }
}

#[tokio::test]
async fn a_server_that_hangs_runs_into_the_deadline() {
    let (result, _) = refresh_with(hurried(), vec![Act::SayAndHang(String::new())]).await;
    assert_eq!(told(result), (RefusalClass::Transient, "deadline".into(), Reached::Maybe));
}

#[tokio::test]
async fn tokens_that_came_before_the_break_are_kept() {
    let broken = head(200, 5000, "") + TOKENS;
    let issued = refresh(Act::Say(broken.clone())).await.unwrap();
    assert_eq!(issued.refresh_token, Some(Secret::from("r2")));
    // The head must come before the deadline, the rest never comes: a slow machine gets more time.
    let mut kept = None;
    for seconds in [1, 4, 16] {
        let settings = WireSettings { total_deadline: Duration::from_secs(seconds), ..limits() };
        let (hung, _) = refresh_with(settings, vec![Act::SayAndHang(broken.clone())]).await;
        kept = kept.or(hung.ok());
        if kept.is_some() {
            break;
        }
    }
    assert_eq!(kept.unwrap().refresh_token, Some(Secret::from("r2")));
    let in_the_middle =
        head(200, 5000, "") + r#"{"access_token":"a","refresh_token":"r2-but-not-wh"#;
    let issued = refresh(Act::Say(in_the_middle)).await.unwrap();
    assert_eq!(issued.refresh_token, None, "half a token is no token");
}

#[tokio::test]
async fn a_flood_ends_at_the_cap() {
    let flooded = refresh(Act::Flood).await;
    assert_eq!(told(flooded), (RefusalClass::Ambiguous, "answer_cut".into(), Reached::Garbled));
    let rogue = Rogue::start(vec![Act::Flood]).await;
    let wire = Wire::new(limits(), Clock::manual(NOW)).unwrap();
    let request = http::Request::get(format!("http://{}/", rogue.at)).body(Vec::new()).unwrap();
    let answer = wire.send(request).await.unwrap();
    assert_eq!((answer.body.len(), answer.whole), (limits().answer_cap, false));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let trap = Rogue::json(200, TOKENS).await;
    for status in [301, 302, 303, 307, 308] {
        let away = head(status, 0, &format!("Location: http://{}/token\r\n", trap.at));
        let expected = (RefusalClass::Ambiguous, "redirected".to_owned(), Reached::Answered);
        assert_eq!(told(refresh(Act::Say(away)).await), expected, "{status}");
    }
    assert_eq!(trap.requests().len(), 0);
}

#[tokio::test]
async fn a_hotel_page_is_not_a_refusal() {
    let page = "<html>canary: log in to the hotel</html>";
    let html = head(200, page.len(), "Content-Type: text/html\r\n") + page;
    let expected = (RefusalClass::Ambiguous, "not_json".to_owned(), Reached::Garbled);
    assert_eq!(told(refresh(Act::Say(html)).await), expected);
    let empty = (RefusalClass::Ambiguous, "answer_empty".to_owned(), Reached::Garbled);
    assert_eq!(told(refresh(Act::Say(head(200, 0, ""))).await), empty);
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    for kind in ["text/plain", "text/html", "application/json; charset=utf-16", "nonsense", ""] {
        let plain = head(200, TOKENS.len(), &format!("Content-Type: {kind}\r\n")) + TOKENS;
        let issued = refresh(Act::Say(plain)).await.unwrap();
        assert_eq!(issued.refresh_token, Some(Secret::from("r2")), "{kind}");
    }
    let form = "access_token=a&refresh_token=r2&expires_in=60";
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let issued = refresh(Act::Say(head(200, form.len(), kind) + form)).await.unwrap();
    assert_eq!(issued.refresh_token, Some(Secret::from("r2")));
    assert_eq!(issued.expires_in, Some(Duration::from_secs(60)));
}

#[tokio::test]
async fn a_refresh_token_of_64_kib_gets_through_the_wire() {
    let long = "r".repeat(64 * 1024);
    let body = format!(r#"{{"access_token":"a","refresh_token":"{long}","expires_in":60}}"#);
    let settings = WireSettings { answer_cap: WireSettings::default().answer_cap, ..limits() };
    let (issued, _) = refresh_with(settings, vec![Act::Json(200, body.clone())]).await;
    assert_eq!(issued.unwrap().refresh_token, Some(Secret::from(long)));
    // With too small a cap half of it would come, and half a token is no token.
    let issued = refresh(Act::Json(200, body)).await.unwrap();
    assert_eq!(issued.refresh_token, None);
}

#[tokio::test]
async fn a_client_id_goes_into_the_form_beside_basic_only_where_the_provider_wants_it() {
    for (preset, expected) in [("mailru", 1), ("yandex", 0), ("google", 1), ("microsoft", 1)] {
        let rogue = Rogue::json(200, TOKENS).await;
        let (client, _) = client(limits());
        client.refresh(&provider(preset, rogue.at), &auth(), &token(), "mail").await.unwrap();
        let request = rogue.requests().remove(0);
        assert_eq!(request.matches("client_id=client+id").count(), expected, "{preset}");
        let basic = request.to_ascii_lowercase().contains("authorization: basic ");
        assert_eq!(basic, ["mailru", "yandex"].contains(&preset), "{preset}");
        assert_eq!(request.contains("client_secret"), !basic, "{preset}");
    }
}

#[tokio::test]
async fn the_wish_to_wait_is_kept_and_capped() {
    for (value, expected) in [("30", Some(30)), ("315360000", Some(3600)), ("soon", None)] {
        let busy = head(429, 0, &format!("Retry-After: {value}\r\n"));
        let refused = refresh(Act::Say(busy)).await.unwrap_err();
        assert_eq!(refused.class, RefusalClass::Throttled);
        assert_eq!(refused.retry_after.map(|wait| wait.as_secs()), expected, "{value}");
    }
    for line in [
        "Retry-After: Fri, 15 Jan 2027 08:01:30 GMT",
        "retry-after: Fri, 15 Jan 2027 08:01:30 GMT",
        "RETRY-AFTER:   Friday, 15-Jan-27 08:01:30 GMT  ",
        "Retry-After: Fri Jan 15 08:01:30 2027",
        "Retry-After: 90\r\nRetry-After: 7",
    ] {
        let down = head(503, 0, &format!("{line}\r\n"));
        let refused = refresh(Act::Say(down)).await.unwrap_err();
        let expected = (RefusalClass::Transient, Some(Duration::from_secs(90)));
        assert_eq!((refused.class, refused.retry_after), expected, "{line}");
    }
}

/// Collects what is logged at any level on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn t15_no_line_of_the_log_holds_a_secret_at_any_level() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let body = r#"{"access_token":"a-canary","refresh_token":"r-canary","id_token":"i-canary"}"#;
    let bad = r#"{"error":"invalid_grant","error_description":"refresh+canary/1"}"#;
    for act in [Act::Json(200, body.into()), Act::Json(400, bad.into()), Act::CloseAfter] {
        let rogue = Rogue::start(vec![act]).await;
        let (client, _) = client(limits());
        let _ =
            client.refresh(&provider("generic-oidc", rogue.at), &auth(), &token(), "mail").await;
        let _ = client.userinfo(&provider("google", rogue.at), &token()).await;
    }
    let seen = || String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(!seen().contains("canary"), "{}", seen());
    tracing::info!("a planted canary");
    assert!(seen().contains("canary"), "a leak would be seen");
    drop(guard);
}

#[tokio::test]
async fn inner_addresses_are_not_called_without_the_operators_word() {
    let rogue = Rogue::json(200, TOKENS).await;
    let provider = provider("google", rogue.at);
    let public_only = WireSettings { addresses: AddressRule::default(), ..limits() };
    let result = client(public_only).0.refresh(&provider, &auth(), &token(), "mail").await;
    assert_eq!(told(result), (RefusalClass::AppBroken, "endpoint_refused".into(), Reached::Never));
    assert_eq!(rogue.requests().len(), 0);
    assert!(
        client(limits()).0.refresh(&provider, &auth(), &token(), "mail").await.is_ok(),
        "it would work"
    );
}

#[tokio::test]
async fn a_made_up_token_tells_a_good_client_from_a_bad_one() {
    let entropy = Entropy::seeded(3);
    let verdict = async |status, body: &str| {
        let rogue = Rogue::json(status, body).await;
        client(limits()).0.verify_client(&provider("google", rogue.at), &auth(), &entropy).await
    };
    assert_eq!(verdict(400, r#"{"error":"invalid_grant"}"#).await, ClientVerdict::Accepted);
    assert!(matches!(
        verdict(401, r#"{"error":"invalid_client"}"#).await,
        ClientVerdict::Rejected(_)
    ));
    assert!(matches!(
        verdict(400, r#"{"error":"invalid_request"}"#).await,
        ClientVerdict::Unclear(_)
    ));
    assert!(matches!(verdict(503, "").await, ClientVerdict::Unclear(_)));
    // Entra complains so about a malformed token, perhaps before it looked at the secret.
    let body = r#"{"error":"invalid_grant","error_codes":[9002313]}"#;
    let rogue = Rogue::json(400, body).await;
    let microsoft = provider("microsoft", rogue.at);
    let unclear = client(limits()).0.verify_client(&microsoft, &auth(), &entropy).await;
    assert!(matches!(unclear, ClientVerdict::Unclear(_)));
}

#[tokio::test]
async fn userinfo_is_asked_with_the_token_in_the_header() {
    let rogue = Rogue::json(200, r#"{"sub":"1","email":"a@example.com"}"#).await;
    let (client, _) = client(limits());
    let provider = provider("google", rogue.at);
    let claims = client.userinfo(&provider, &Secret::from("at-1")).await.unwrap();
    assert_eq!(claims["email"], "a@example.com");
    let request = rogue.requests().remove(0);
    assert!(request.starts_with("GET /userinfo HTTP/1.1") && request.contains("Bearer at-1"));
    let urls = Urls { userinfo: None, revocation: None, ..provider.urls.clone() };
    let without = Resolved { urls, ..provider };
    let refused = client.userinfo(&without, &token()).await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.reached), ("no_endpoint", Reached::Never));
    let refused = client.revoke(&without, &auth(), &token(), TokenKind::Access).await.unwrap_err();
    assert_eq!(refused.code, "no_endpoint");
}

#[tokio::test]
async fn discovery_pins_only_what_the_right_issuer_says() {
    let metadata = |issuer: &str| {
        format!(
            r#"{{"issuer":"{issuer}","authorization_endpoint":"http://{{at}}/a","token_endpoint":"http://{{at}}/t","jwks_uri":"http://{{at}}/k"}}"#
        )
    };
    let (client, _) = client(limits());
    let honest = Rogue::json(200, &metadata("http://{at}/realm")).await;
    let found = client.discover(&format!("http://{}/realm", honest.at)).await.unwrap();
    assert_eq!(found.endpoints.token, format!("http://{}/t", honest.at));
    assert!(honest.requests()[0].starts_with("GET /.well-known/oauth-authorization-server/realm "));

    let liar = Rogue::json(200, &metadata("http://evil.example")).await;
    let found = client.discover(&format!("http://{}", liar.at)).await;
    assert_eq!(found, Err(DiscoveryError::IssuerMismatch));
    assert_eq!(liar.requests().len(), 2, "both places were looked at");

    let inward = r#"{"issuer":"http://{at}","authorization_endpoint":"http://{at}/a","token_endpoint":"http://169.254.169.254/t"}"#;
    let inward = Rogue::json(200, inward).await;
    let found = client.discover(&format!("http://{}", inward.at)).await;
    assert!(
        matches!(found, Err(DiscoveryError::Refused { field: "token_endpoint", .. })),
        "{found:?}"
    );

    let silent = Rogue::json(404, "").await;
    let found = client.discover(&format!("http://{}", silent.at)).await;
    assert!(matches!(found, Err(DiscoveryError::Unreachable(_))));
    let found = client.discover("http://provider.example").await;
    assert!(
        matches!(found, Err(DiscoveryError::Unreachable(refused)) if refused.reached == Reached::Never)
    );
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_if_its_file_says_so() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let tasks = Tasks::new();
    drop(tasks.spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
            let _ = tls.read(&mut [0; 4096]).await;
            let _ = tls.write_all(head(204, 0, "").as_bytes()).await;
            let _ = tls.shutdown().await;
        }
    }));
    let ask = async |extra_ca_file| {
        let wire =
            Wire::new(WireSettings { extra_ca_file, ..limits() }, Clock::manual(NOW)).unwrap();
        let request = http::Request::get(&url).body(Vec::new()).unwrap();
        wire.send(request).await.map(|answer| answer.status)
    };
    assert_eq!(ask(None).await, Err(crate::providers::wire::WireError::Connect));
    assert_eq!(ask(Some(file)).await, Ok(204));
}
