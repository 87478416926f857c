//! An answer before it becomes bytes, so that a fault can still bend it.
//!
//! Knows HTTP and OAuth's error form; decides nothing. Token answers always carry `Cache-Control: no-store` (RFC 6749
//! section 5.1). Next: [`super::stage`].

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::faults::{ExpiresIn, Fault};

/// Status, headers and a body that is still text.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers, without `Content-Length`.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
    /// The ids of the access token and of the refresh token in it.
    pub carries: [Option<usize>; 2],
}

impl Answer {
    /// A JSON answer.
    pub fn json(status: StatusCode, body: &Value) -> Self {
        Self::text(status, "application/json", body.to_string())
    }

    /// A text answer of the given type.
    pub fn text(status: StatusCode, content_type: &'static str, body: String) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { status, headers, body, carries: [None; 2] }
    }

    /// A bare status.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::text(status, "text/plain", String::new())
    }

    /// An OAuth error with a description (RFC 6749 section 5.2): 401 for `invalid_client`, else 400.
    pub fn error(error: &str, description: &str) -> Self {
        let status = match error {
            "invalid_client" | "invalid_token" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::json(status, &json!({"error": error, "error_description": description}))
    }

    /// This answer and one more header; a value that is no header value is left out.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// This answer, known to carry these tokens: access, refresh.
    pub fn carrying(self, carries: [Option<usize>; 2]) -> Self {
        Self { carries, ..self }
    }

    /// This answer, bent by a fault that keeps the real one; other faults leave it as it is.
    pub fn bent(mut self, fault: &Fault) -> Self {
        if *fault == Fault::WrongContentType {
            return self.with(CONTENT_TYPE, "text/plain");
        }
        let Ok(Value::Object(mut members)) = serde_json::from_str(&self.body) else { return self };
        match fault {
            Fault::DuplicateKeys => {
                let twice = |(name, value): (&String, &Value)| {
                    format!("\"{name}\":\"wrong\",\"{name}\":{value}")
                };
                self.body =
                    format!("{{{}}}", members.iter().map(twice).collect::<Vec<_>>().join(","));
                return self;
            }
            Fault::ExpiresIn { form } => bend_expiry(&mut members, *form),
            Fault::TokenTypeMissing => drop(members.remove("token_type")),
            Fault::TokenTypeLower => drop(members.insert("token_type".to_owned(), json!("bearer"))),
            Fault::NoRefreshToken => {
                members.remove("refresh_token");
                self.carries[1] = None;
            }
            _ => return self,
        }
        self.body = Value::Object(members).to_string();
        self
    }
}

fn bend_expiry(members: &mut serde_json::Map<String, Value>, form: ExpiresIn) {
    let Some(real) = members.remove("expires_in") else { return };
    let value = match form {
        ExpiresIn::Omit => return,
        ExpiresIn::String => json!(real.to_string()),
        ExpiresIn::Negative => json!(-1),
        ExpiresIn::Huge => json!(i64::MAX),
    };
    members.insert("expires_in".to_owned(), value);
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
