//! JSON responses and the refusal of browsers, for the lock server and ensembles.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// Returns a JSON response.
pub fn json_response(code: StatusCode, body: &Value) -> Response {
    (code, [(CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

/// Refuses requests with an `Origin` header, so that web pages cannot send any.
pub async fn no_browsers(request: Request, next: Next) -> Response {
    if request.headers().contains_key(ORIGIN) {
        return json_response(StatusCode::FORBIDDEN, &json!({"error": "browsers are not served"}));
    }
    next.run(request).await
}
