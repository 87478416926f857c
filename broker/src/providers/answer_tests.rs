//! Answers as they come in the wild, without a network.

use zeroize::Zeroizing;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::providers::Presets;

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        retry_after: None,
        max_age: None,
        body: Zeroizing::new(body.as_bytes().to_vec()),
        whole: true,
    }
}

fn read_as(preset: &str, status: u16, body: &str) -> Result<Issued, Refused> {
    let presets = Presets::embedded().unwrap();
    let errors = &presets.find(preset).unwrap().errors;
    let sent = [&Secret::from("sent-canary secret")];
    Reading::of(errors, &sent).issued(Ok(answer(status, body)))
}

fn read(status: u16, body: &str) -> Result<Issued, Refused> {
    read_as("google", status, body)
}

fn access(issued: &Issued) -> &str {
    issued.access_token.as_ref().map_or("", Secret::expose)
}

fn refresh(issued: &Issued) -> &str {
    issued.refresh_token.as_ref().map_or("", Secret::expose)
}

#[test]
fn googles_answer_is_read() {
    let issued = read(
        200,
        r#"{"access_token":"ya29.a","expires_in":3599,"refresh_token":"1//r","scope":"https://mail.google.com/ openid","token_type":"Bearer","id_token":"a.b.c"}"#,
    )
    .unwrap();
    assert_eq!((access(&issued), refresh(&issued)), ("ya29.a", "1//r"));
    assert_eq!(issued.expires_in, Some(Duration::from_secs(3599)));
    assert_eq!(issued.scopes.unwrap(), ["https://mail.google.com/", "openid"]);
    assert_eq!(
        (issued.token_type.as_str(), issued.id_token.unwrap().expose()),
        ("Bearer", "a.b.c")
    );
}

#[test]
fn the_token_type_may_be_missing_or_in_any_case() {
    for (json, expected) in [
        ("", "Bearer"),
        (r#","token_type":"bearer""#, "Bearer"),
        (r#","token_type":"BEARER""#, "Bearer"),
        (r#","token_type":null"#, "Bearer"),
        (r#","token_type":7"#, "Bearer"),
        (r#","token_type":"DPoP""#, "DPoP"),
    ] {
        let issued = read(200, &format!(r#"{{"access_token":"a"{json}}}"#)).unwrap();
        assert_eq!(issued.token_type, expected, "{json}");
    }
}

#[test]
fn the_lifetime_may_be_anything() {
    let year = Some(LONGEST_LIFE.as_secs());
    for (json, expected) in [
        ("3600", Some(3600)),
        ("3599.9", Some(3599)),
        ("\"3600\"", Some(3600)),
        ("\" 60 \"", Some(60)),
        ("0", Some(0)),
        ("-1", None),
        ("\"-1\"", None),
        ("\"soon\"", None),
        ("null", None),
        ("[]", None),
        ("\"NaN\"", None),
        ("\"inf\"", None),
        ("99999999999999999999999999", year),
        ("1e300", year),
        ("1e999", None),
    ] {
        let body = format!(
            r#"{{"access_token":"a","expires_in":{json},"refresh_token":"r","refresh_token_expires_in":{json}}}"#
        );
        let issued = read(200, &body).unwrap();
        assert_eq!(issued.expires_in.map(|life| life.as_secs()), expected, "{json}");
        if expected == year {
            assert_eq!(issued.refresh_expires_in, Some(LONGEST_REFRESH_LIFE));
        } else {
            // A refresh token of no life at all is Keycloak's word for one without an end.
            let expected = expected.filter(|seconds| *seconds > 0);
            let read = issued.refresh_expires_in.map(|life| life.as_secs());
            assert_eq!(read, expected, "{json}");
        }
        assert_eq!((access(&issued), refresh(&issued)), ("a", "r"), "{json}");
    }
}

#[test]
fn the_end_of_a_refresh_token_has_several_names() {
    let read_as = |preset: &str, json: &str| {
        let presets = Presets::embedded().unwrap();
        let preset = presets.find(preset).unwrap();
        let ends_together = preset.refresh.ends_with_access_token;
        let reading = Reading { ends_together, ..Reading::of(&preset.errors, &[]) };
        let body = format!(r#"{{"access_token":"a"{json}}}"#);
        let issued = reading.issued(Ok(answer(200, &body))).unwrap();
        issued.refresh_expires_in.map(|life| life.as_secs())
    };
    for (json, expected) in [
        (r#","refresh_token_expires_in":604799"#, Some(604_799)),
        (r#","refresh_expires_in":"1800""#, Some(1800)),
        (r#","rt_expires_in":1209600"#, Some(1_209_600)),
        (r#","refresh_token_expires_in":null,"refresh_expires_in":60"#, Some(60)),
        (r#","refresh_expires_in":0"#, None),
        (r#","refresh_token_expires_in":-1"#, None),
        (r#","refresh_token":"r","expires_in":60"#, None),
        ("", None),
    ] {
        assert_eq!(read_as("google", json), expected, "{json}");
    }
    let year = r#","refresh_token":"r","expires_in":31536000"#;
    assert_eq!(read_as("yandex", year), Some(31_536_000));
    assert_eq!(
        read_as("yandex", r#","expires_in":31536000"#),
        None,
        "the old token has its own end"
    );
    let said = r#","refresh_token":"r","expires_in":60,"refresh_expires_in":120"#;
    assert_eq!(read_as("yandex", said), Some(120));
}

#[test]
fn zohos_seconds_count_and_not_its_milliseconds() {
    let body = r#"{"access_token":"a","expires_in_sec":3600,"expires_in":3600000}"#;
    let issued = read_as("zoho", 200, body).unwrap();
    assert_eq!(issued.expires_in, Some(Duration::from_secs(3600)));
}

#[test]
fn no_token_is_dropped_because_of_its_neighbours() {
    for body in [
        r#"{"access_token":"a","refresh_token":"r","scope":{"x":[1]},"id_token":5,"expires_in":"x"}"#,
        r#"{"access_token":"a","refresh_token":"r","scope":"mail","#,
        r#"{"access_token":"a","refresh_token":"r","id_token":"eyJ"#,
        r#"{"access_token":"a","refresh_token":"r"} trailing <html>"#,
        r#"{"expires_in":1e999,"access_token":"a","refresh_token":"r"}"#,
        r#"{"expires_in":NaN,"access_token":"a","refresh_token" : "r"}"#,
        r#"{"refresh_token":"r","access_token":"a","error":""}"#,
        r#"{"refresh_token":"r","access_token":"a","error":null}"#,
        "\u{feff}\r\n {\"access_token\":\"a\",\"refresh_token\":\"r\"}\r\n",
        "access_token=a&token_type=bearer&refresh_token=r",
        ")]}',\n{\"access_token\":\"a\",\"refresh_token\":\"r\"}",
        "junk {\"access_token\":\"a\",\"refresh_token\":\"r\"}",
        r#"[{"access_token":"a","refresh_token":"r"}]"#,
        r#"{"data":{"access_token":"a","refresh_token":"r"}}"#,
        r#"{"access_token":"a","more":[1,{"tokens":[{"refresh_token":"r"}]}]}"#,
        r#"{"access_token":"a","refresh_token":"r","refresh_token":["x"]}"#,
        r#"{"access_token":"a","refresh_token":"r","error":"invalid_grant"}"#,
        r#"{"access_token":"a","refresh_token":"r","a":{"a":{"a":"#,
    ] {
        let issued = read(200, body).unwrap_or_else(|refused| panic!("{body}: {refused}"));
        assert_eq!((access(&issued), refresh(&issued)), ("a", "r"), "{body}");
    }
}

#[test]
fn of_double_fields_the_last_that_says_something_counts() {
    let issued = read(
        200,
        r#"{"access_token":"a1","refresh_token":"r1","access_token":"a2","refresh_token":""}"#,
    );
    let issued = issued.unwrap();
    assert_eq!((access(&issued), refresh(&issued)), ("a2", "r1"));
}

#[test]
fn a_refresh_token_without_an_access_token_still_comes_out() {
    let issued = read(200, r#"{"refresh_token":"r2","token_type":"Bearer"}"#).unwrap();
    assert_eq!((issued.access_token.is_none(), refresh(&issued)), (true, "r2"));
    let unusable =
        read(200, "{\"access_token\":\"a\\u0001auth=x\",\"refresh_token\":\"r2\"}").unwrap();
    assert_eq!((unusable.access_token.is_none(), refresh(&unusable)), (true, "r2"));
}

#[test]
fn a_refusal_that_brings_a_new_refresh_token_loses_nothing() {
    for body in [
        r#"{"error":"temporarily_unavailable","refresh_token":"r2"}"#,
        r#"{"error":"invalid_grant","refresh_token":"r2","access_token":""}"#,
        r#"{"error":{"status":"UNAVAILABLE","kept":{"refresh_token":"r2"}}}"#,
        r#"{"error":"invalid_scope","access_token":"a\u0000b","refresh_token":"r2"}"#,
    ] {
        let issued = read(400, body).unwrap_or_else(|refused| panic!("{body}: {refused}"));
        assert_eq!((issued.access_token.is_none(), refresh(&issued)), (true, "r2"), "{body}");
    }
    // The token that was refused, said again, is no new one; nor is an access token that an error only talks about.
    for body in [
        r#"{"error":"invalid_grant","refresh_token":"sent-canary secret"}"#,
        r#"{"error":"invalid_grant","request":{"refresh_token":"sent-canary secret"}}"#,
        r#"{"error":"invalid_grant","about":{"access_token":"old"}}"#,
        r#"{"error":"invalid_grant","refresh_token":""}"#,
    ] {
        assert_eq!(read(400, body).unwrap_err().class, RefusalClass::NeedsConsent, "{body}");
    }
}

#[test]
fn a_token_of_64_kib_is_a_token_like_any_other() {
    let long = "r".repeat(64 * 1024);
    let body = format!(r#"{{"access_token":"a","refresh_token":"{long}"}}"#);
    assert_eq!(refresh(&read(200, &body).unwrap()), long);
}

#[test]
fn bytes_that_are_no_text_spoil_only_what_they_stand_in() {
    let bytes = |body: &[u8]| {
        let answer = Answer { body: Zeroizing::new(body.to_vec()), ..answer(200, "") };
        Reading::of(&ErrorTables::default(), &[]).issued(Ok(answer))
    };
    let spoilt = b"{\"scope\":\"\xff\xfe\",\"access_token\":\"a\",\"refresh_token\":\"r\"}";
    let issued = bytes(spoilt).unwrap();
    assert_eq!((access(&issued), refresh(&issued)), ("a", "r"));
    // A refresh token with a hole in it would take the place of the good one that we have.
    let issued = bytes(b"{\"access_token\":\"a\",\"refresh_token\":\"r\xff\"}").unwrap();
    assert_eq!((access(&issued), issued.refresh_token.is_none()), ("a", true));
    assert_eq!(bytes(&[0xff; 64]).unwrap_err().code, "not_json");
    assert_eq!(bytes(&[0; 64]).unwrap_err().code, "not_json");
}

#[test]
fn an_endless_depth_is_not_followed() {
    let deep = "{\"a\":".repeat(10_000);
    assert_eq!(read(200, &deep).unwrap_err().code, "not_json");
    let body = format!("{{\"refresh_token\":\"r\",\"x\":{deep}");
    assert_eq!(refresh(&read(200, &body).unwrap()), "r");
}

#[test]
fn an_absent_refresh_token_is_absent() {
    for json in
        ["", r#","refresh_token":null"#, r#","refresh_token":"""#, r#","refresh_token":false"#]
    {
        let issued = read(200, &format!(r#"{{"access_token":"a"{json}}}"#)).unwrap();
        assert_eq!(issued.refresh_token, None, "{json}");
    }
}

#[test]
fn scopes_come_as_text_or_as_a_list() {
    let scopes = |json: &str| {
        read(200, &format!(r#"{{"access_token":"a","scope":{json}}}"#)).unwrap().scopes
    };
    assert_eq!(scopes(r#""a  b""#).unwrap(), ["a", "b"]);
    assert_eq!(scopes(r#"["a","b c"]"#).unwrap(), ["a", "b", "c"]);
    assert_eq!(scopes(r#""""#), None);
    assert_eq!(scopes("17"), None);
}

#[test]
fn an_error_counts_whatever_the_status_and_the_case() {
    let zoho = read(200, r#"{"error":"invalid_code"}"#).unwrap_err();
    assert_eq!((zoho.class, zoho.code.as_str()), (RefusalClass::NeedsConsent, "invalid_code"));
    let yahoo =
        read_as("custom", 401, r#"{"error":"INVALID_GRANT","error_description":"x"}"#).unwrap_err();
    assert_eq!((yahoo.class, yahoo.code.as_str()), (RefusalClass::NeedsConsent, "invalid_grant"));
    let api = read(503, r#"{"error":{"code":503,"status":"UNAVAILABLE","message":"try later"}}"#)
        .unwrap_err();
    assert_eq!((api.class, api.code.as_str()), (RefusalClass::Transient, "unavailable"));
    assert_eq!(api.words, "try later");
}

#[test]
fn googles_session_control_is_told_apart() {
    let body = r#"{"error":"invalid_grant","error_description":"reauth related error (invalid_rapt)","error_uri":"https://support.google.com/a/answer/9368756","error_subtype":"invalid_rapt"}"#;
    let refused = read(400, body).unwrap_err();
    assert_eq!(refused.class, RefusalClass::NeedsInteraction);
    assert_eq!(refused.suberror.as_deref(), Some("invalid_rapt"));
    assert_eq!(refused.words, "reauth related error (invalid_rapt)");
}

#[test]
fn microsofts_numbers_are_read_from_field_and_words() {
    let body = r#"{"error":"invalid_grant","error_description":"AADSTS70043: The refresh token has expired.\r\nTrace ID: 7f1a2b3c-0000-4000-8000-123456789abc","error_codes":[70043],"suberror":"token_expired"}"#;
    let refused = read_as("microsoft", 400, body).unwrap_err();
    assert_eq!((refused.class, refused.reached), (RefusalClass::NeedsConsent, Reached::Answered));
    assert!(refused.words.contains("Trace ID: 7f1a2b3c-0000-4000-8000-123456789abc"));
    let words_only =
        r#"{"error":"invalid_grant","error_description":"AADSTS53003: Access has been blocked"}"#;
    assert_eq!(
        read_as("microsoft", 400, words_only).unwrap_err().class,
        RefusalClass::BlockedByPolicy
    );
    let expired = r#"{"error":"invalid_client","error_description":"AADSTS7000222: expired","error_codes":[7000222]}"#;
    assert_eq!(read_as("microsoft", 401, expired).unwrap_err().class, RefusalClass::AppBroken);
}

#[test]
fn answers_that_say_nothing_are_not_believed() {
    for (status, body, class, code) in [
        (200, "", RefusalClass::Ambiguous, "answer_empty"),
        (200, "<html>Log in to the hotel</html>", RefusalClass::Ambiguous, "not_json"),
        (200, "[]", RefusalClass::Ambiguous, "not_json"),
        (200, "\"access_token\"", RefusalClass::Ambiguous, "not_json"),
        (200, "{}", RefusalClass::Ambiguous, "no_token"),
        (200, r#"{"access_token":null}"#, RefusalClass::Ambiguous, "no_token"),
        (302, "", RefusalClass::Ambiguous, "redirected"),
        (400, "{}", RefusalClass::Ambiguous, "no_error_code"),
        (404, "not found", RefusalClass::Ambiguous, "not_json"),
        (500, "<html>", RefusalClass::Transient, "not_json"),
        (429, "", RefusalClass::Throttled, "answer_empty"),
    ] {
        let refused = read(status, body).unwrap_err();
        assert_eq!((refused.class, refused.code.as_str()), (class, code), "{status} {body}");
        assert!(!refused.words.is_empty());
    }
}

#[test]
fn no_error_prints_what_was_sent_or_what_came() {
    let body = r#"{"error":"sent-canary secret","error_description":"bad token sent-canary secret or ya29.canaryCANARY0123456789","suberror":"sent-canary secret"}"#;
    let refused = read(400, body).unwrap_err();
    let prints = format!("{refused} {refused:?}");
    assert!(!prints.contains("canary") && !prints.contains("CANARY"), "{prints}");
    let issued = read(
        200,
        r#"{"access_token":"a-canary","refresh_token":"r-canary","id_token":"i-canary"}"#,
    )
    .unwrap();
    assert!(!format!("{issued:?}").contains("canary"));
    assert!(!format!("{:?}", answer(200, "canary")).contains("canary"));
}

#[test]
fn a_token_comes_out_of_every_cut_that_holds_it_whole() {
    let body = r#"{"token_type":"Bearer","refresh_token":"r-whole","expires_in":3600,"access_token":"a","scope":"x"}"#;
    let held = body.find("r-whole\"").unwrap() + "r-whole\"".len();
    for cut in 0..body.len() {
        let found = read(200, &body[..cut]).ok().and_then(|issued| issued.refresh_token);
        assert_eq!(found, (cut >= held).then(|| Secret::from("r-whole")), "{}", &body[..cut]);
    }
}

/// Something that may stand beside the token in an object.
fn neighbour() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("-1".to_owned()),
        Just("1e999".to_owned()),
        Just("[[{}]]".to_owned()),
        Just("{\"refresh_token\":\"\"}".to_owned()),
        any::<f64>().prop_map(|number| serde_json::json!(number).to_string()),
        ".{0,40}".prop_map(|text| serde_json::json!(text).to_string()),
    ];
    let name = prop_oneof![
        Just("expires_in".to_owned()),
        Just("refresh_token_expires_in".to_owned()),
        Just("scope".to_owned()),
        Just("token_type".to_owned()),
        Just("error".to_owned()),
        Just("error_description".to_owned()),
        Just("access_token".to_owned()),
        Just("id_token".to_owned()),
        "[a-z]{1,8}".prop_map(|name| format!("x_{name}")),
    ];
    (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"))
}

proptest! {
    /// The law of merging: a refresh token that came whole is never lost, whatever stands around it, whatever the status,
    /// and wherever the answer is cut behind it.
    #[test]
    fn a_refresh_token_that_came_whole_is_never_lost(
        status in 100_u16..600,
        token in "[!-~]{1,80}",
        before in vec(neighbour(), 0..4),
        after in vec(neighbour(), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let own = format!("\"refresh_token\":{}", serde_json::json!(token));
        let head = [before, vec![own]].concat().join(",");
        let body = format!("{{{head}{}}}", after.iter().map(|one| format!(",{one}")).collect::<String>());
        let held = 1 + head.len();
        let mut end = held + cut.index(body.len() - held + 1);
        while !body.is_char_boundary(end) {
            end += 1;
        }
        let issued = read(status, &body[..end]);
        prop_assert_eq!(issued.unwrap().refresh_token, Some(Secret::from(token)), "{}", &body[..end]);
    }

    /// Whatever bytes come, the reader ends, and what it says is short.
    #[test]
    fn no_bytes_can_break_the_reader(status in 100_u16..600, body in vec(any::<u8>(), 0..2000)) {
        let errors = ErrorTables::default();
        let answer = Answer { body: Zeroizing::new(body), ..answer(status, "") };
        if let Err(refused) = Reading::of(&errors, &[]).issued(Ok(answer)) {
            prop_assert!(refused.code.len() <= 64 && refused.words.len() <= 300);
        }
    }

    /// Neither what was sent nor what came is ever printed, wherever the provider puts it.
    #[test]
    fn no_secret_is_ever_printed(
        sent in "[a-zA-Z0-9+/=_. -]{0,12}canary[a-zA-Z0-9+/=_.-]{0,12}",
        came in "[a-zA-Z0-9+/=_.-]{0,12}CANARY[a-zA-Z0-9+/=_.-]{0,12}",
        shape in "[a-z :&=]{0,9}",
        field in prop_oneof![Just("error"), Just("error_description"), Just("suberror"), Just("message")],
        encoded in any::<bool>(),
        status in 200_u16..600,
    ) {
        let tables = ErrorTables::default();
        let sent = Secret::from(sent);
        let both = format!("{}{shape}{came}", sent.expose());
        let said = if encoded {
            let form = url::form_urlencoded::byte_serialize(sent.expose().as_bytes());
            form.chain([shape.as_str(), &came]).collect()
        } else {
            both
        };
        // The token that came cannot be used, so the answer is a refusal that holds it.
        let unusable = format!("{came}\u{1}");
        let body = serde_json::json!({"error": "x", "access_token": unusable, "id_token": came, field: said});
        let refused =
            Reading::of(&tables, &[&sent]).issued(Ok(answer(status, &body.to_string()))).unwrap_err();
        let prints = format!("{refused} {refused:?}");
        prop_assert!(!prints.to_ascii_lowercase().contains("canary"), "{}: {}", body, prints);
    }

    #[test]
    fn no_answer_can_break_the_reader(status in 100_u16..600, body in ".{0,200}") {
        if let Err(refused) = read(status, &body) {
            assert!(refused.code.len() <= 64 && refused.words.len() <= 300);
            assert!(refused.words.bytes().all(|b| (0x20..0x7f).contains(&b)));
        }
    }

    #[test]
    fn a_description_comes_out_short_and_printable(words in ".{0,600}", code in ".{0,100}") {
        let body = serde_json::json!({"error": code, "error_description": words}).to_string();
        if let Err(refused) = read(400, &body) {
            assert!(refused.code.len() <= 64 && refused.words.len() <= 300);
            assert!(refused.words.bytes().all(|b| (0x20..0x7f).contains(&b)));
        }
    }
}

#[test]
fn a_revocation_is_accepted_with_any_body() {
    let tables = ErrorTables::default();
    let reading = Reading::of(&tables, &[]);
    assert!(reading.accepted(Ok(answer(200, ""))).is_ok());
    assert!(reading.accepted(Ok(answer(200, "{}"))).is_ok());
    assert!(reading.accepted(Ok(answer(204, ""))).is_ok());
    assert_eq!(reading.accepted(Ok(answer(503, ""))).unwrap_err().class, RefusalClass::Transient);
    let refused =
        reading.accepted(Ok(answer(400, r#"{"error":"unsupported_token_type"}"#))).unwrap_err();
    assert_eq!(refused.code, "unsupported_token_type");
}
