//! What the servers of locks and of ensembles have in common: answers of JSON, and none for browsers.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// An answer of JSON.
pub fn told(code: StatusCode, body: &Value) -> Response {
    (code, [(CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

/// A page that somebody looks at takes no locks and tells us nothing: whatever names its origin is refused.
pub async fn no_browsers(request: Request, next: Next) -> Response {
    if request.headers().contains_key(ORIGIN) {
        return told(StatusCode::FORBIDDEN, &json!({"error": "browsers are not served"}));
    }
    next.run(request).await
}
