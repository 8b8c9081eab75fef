//! `grpc.health.v1.Health/Check` over HTTP/2 without encryption. The two messages are encoded by hand
//! (health.proto of gRPC: `HealthCheckRequest { string service = 1; }`, `HealthCheckResponse { status = 1; }`).

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::{Body as _, Bytes};
use hyper::client::conn::http2;
use hyper::header::HeaderMap;
use hyper_util::rt::{TokioExecutor, TokioIo};

use net::http_client::ConnectionTask;

use super::{Checked, MAX_READ, Problem, connect};

/// `HealthCheckResponse.ServingStatus`.
const STATUS: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// Passes if the server reports SERVING.
pub(super) async fn serves(host: &str, port: u16, service: &str) -> Checked {
    let failed = |text: String| Problem::Failed(format!("gRPC: {text}"));
    let stream = connect(host, port).await?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let handshake =
        builder.max_header_list_size(16 << 10).handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(error.to_string()))?;
    let _task = ConnectionTask::spawn(connection);
    let request = Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", concat!("sexton/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(request_message(service)))
        .map_err(|error| failed(error.to_string()))?;
    let result = async {
        let answer = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
        let headers = answer.headers().clone();
        let mut body = answer.into_body();
        let (mut data, mut trailers) = (Vec::new(), None);
        while !body.is_end_stream() && data.len() < MAX_READ {
            let Some(frame) = body.frame().await else { break };
            match frame.map_err(|error| failed(error.to_string()))?.into_data() {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok((headers, data, trailers))
    }
    .await;
    let (headers, data, trailers) = result?;
    check_response(&headers, &data, trailers.as_ref()).map_err(failed)
}

/// A gRPC message: no compression, four bytes of length, the message.
fn request_message(service: &str) -> Bytes {
    let service = &service.as_bytes()[..service.len().min(120)];
    let mut message = Vec::new();
    if !service.is_empty() {
        message.extend_from_slice(&[0x0a, u8::try_from(service.len()).unwrap_or(0)]);
        message.extend_from_slice(service);
    }
    let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap_or(0)];
    framed.extend_from_slice(&message);
    framed.into()
}

/// Evaluates the response. A gRPC status is in the trailers, or in the headers of a response without a body.
fn check_response(headers: &HeaderMap, data: &[u8], trailers: Option<&HeaderMap>) -> Result<(), String> {
    let find = |name: &str| {
        let value = trailers.and_then(|trailers| trailers.get(name)).or_else(|| headers.get(name));
        value.and_then(|value| value.to_str().ok())
    };
    if let Some(code) = find("grpc-status").filter(|code| *code != "0") {
        let message = find("grpc-message").unwrap_or_default();
        return Err(match code {
            "12" => "the server has no health service".to_owned(),
            "5" => "the server does not know the service".to_owned(),
            _ => format!("status {code} {message}"),
        });
    }
    let message = data.get(5..).ok_or("the response has no message")?;
    let status = match message {
        [] => 0,
        [0x08, status, ..] => usize::from(*status),
        _ => return Err("the response is not a HealthCheckResponse".to_owned()),
    };
    if status == 1 { Ok(()) } else { Err(STATUS.get(status).unwrap_or(&"an unknown status").to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_responses_and_encodes_requests() {
        let none = HeaderMap::new();
        assert_eq!(check_response(&none, &[0, 0, 0, 0, 2, 8, 1], None), Ok(()));
        assert_eq!(check_response(&none, &[0, 0, 0, 0, 2, 8, 2], None), Err("NOT_SERVING".to_owned()));
        assert_eq!(check_response(&none, &[0, 0, 0, 0, 0], None), Err("UNKNOWN".to_owned()));
        assert_eq!(check_response(&none, &[0, 0], None), Err("the response has no message".to_owned()));
        let mut error = HeaderMap::new();
        error.insert("grpc-status", "12".parse().unwrap_or_else(|_| unreachable!()));
        assert_eq!(check_response(&error, &[], None), Err("the server has no health service".to_owned()));
        assert_eq!(&request_message("a")[..], [0, 0, 0, 0, 3, 0x0a, 1, b'a']);
        assert_eq!(&request_message("")[..], [0, 0, 0, 0, 0]);
    }
}
