//! HTTP requests over a unix socket.

use std::io::{self, Write};
use std::path::Path;

use hyper::Method;
use net::http_client::{HttpError, HttpRequest, HttpResponse};
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
        let mut response = self.send(method, path).await?;
        let body = response.body(usize::MAX).await.map_err(|error| self.broken(&error))?;
        Ok(Answer { code: response.status.as_u16(), body })
    }

    /// Writes the body of the response as it arrives. A closed pipe of the reader is not an error.
    pub async fn copy(&self, method: &str, path: &str, out: &mut impl Write) -> Result<(), ClientError> {
        let mut response = self.send(method, path).await?;
        if response.status.as_u16() >= 300 {
            let body = response.body(usize::MAX).await.map_err(|error| self.broken(&error))?;
            return Err(ClientError::Refused(String::from_utf8_lossy(&body).trim().to_owned()));
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            match out.write_all(&chunk).and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                result => result?,
            }
        }
        Ok(())
    }

    async fn send(&self, method: &str, path: &str) -> Result<HttpResponse, ClientError> {
        let stream =
            UnixStream::connect(self.socket).await.map_err(|error| self.unreachable(describe(&error)))?;
        // Refuse a socket owned by another user.
        let peer = stream.peer_cred()?.uid();
        if peer != 0 && peer != rustix::process::geteuid().as_raw() {
            return Err(self.unreachable(format!("owned by user {peer}")));
        }
        let method = method.parse::<Method>().map_err(|error| ClientError::Refused(error.to_string()))?;
        let request = HttpRequest::new(method, "sexton", path);
        net::http_client::send(stream, request).await.map_err(|error| match error {
            HttpError::Invalid(why) => ClientError::Refused(why),
            error => self.broken(&error),
        })
    }

    fn broken(&self, error: &HttpError) -> ClientError {
        self.unreachable(format!("connection lost: {error}"))
    }

    fn unreachable(&self, why: String) -> ClientError {
        ClientError::Unreachable { socket: self.socket.to_owned(), why }
    }
}
