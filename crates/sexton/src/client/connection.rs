//! HTTP requests over a unix socket.

use std::io::{self, Write};
use std::path::Path;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::ClientError;
use spec::text::describe;

/// A server on a unix socket; each request opens a connection.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    socket: &'a Path,
}

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status code.
    pub code: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl<'a> Connection<'a> {
    /// The server on this socket.
    #[must_use]
    pub const fn at(socket: &'a Path) -> Self {
        Self { socket }
    }

    /// Sends a GET request.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.request("GET", path).await
    }

    /// Sends a POST request.
    pub async fn post(&self, path: &str) -> Result<Answer, ClientError> {
        self.request("POST", path).await
    }

    async fn request(&self, method: &str, path: &str) -> Result<Answer, ClientError> {
        let answer = self.send(method, path).await?;
        let code = answer.status().as_u16();
        let body = answer.collect().await.map_err(|error| self.broken(&error))?.to_bytes().to_vec();
        Ok(Answer { code, body })
    }

    /// Writes the body of the response as it arrives. A closed pipe of the reader is not an error.
    pub async fn copy(&self, method: &str, path: &str, out: &mut impl Write) -> Result<(), ClientError> {
        let mut answer = self.send(method, path).await?;
        if answer.status().as_u16() >= 300 {
            let body = answer.collect().await.map_err(|error| self.broken(&error))?.to_bytes();
            return Err(ClientError::Refused(String::from_utf8_lossy(&body).trim().to_owned()));
        }
        while let Some(frame) = answer.frame().await {
            let frame = frame.map_err(|error| self.broken(&error))?;
            let Some(data) = frame.data_ref() else { continue };
            match out.write_all(data).and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                result => result?,
            }
        }
        Ok(())
    }

    async fn send(&self, method: &str, path: &str) -> Result<Response<Incoming>, ClientError> {
        let stream =
            UnixStream::connect(self.socket).await.map_err(|error| self.unreachable(describe(&error)))?;
        // Refuse a socket owned by another user.
        let peer = stream.peer_cred()?.uid();
        if peer != 0 && peer != rustix::process::geteuid().as_raw() {
            return Err(self.unreachable(format!("owned by user {peer}")));
        }
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        tokio::spawn(async move { drop(connection.await) });
        let request =
            Request::builder().method(method).uri(path).header("host", "sexton").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| ClientError::Refused(error.to_string()))?;
        sender.send_request(request).await.map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &hyper::Error) -> ClientError {
        self.unreachable(format!("connection lost: {error}"))
    }

    fn unreachable(&self, why: String) -> ClientError {
        ClientError::Unreachable { socket: self.socket.to_owned(), why }
    }
}
