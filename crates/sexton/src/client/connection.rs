//! Asking over a unix socket.

use std::io::{self, Write};
use std::path::Path;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::ErrandError;
use spec::text::describe;

/// The way to a socket; each question has a connection of its own.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    socket: &'a Path,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The code.
    pub code: u16,
    /// The rest.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl<'a> Connection<'a> {
    /// To this socket.
    #[must_use]
    pub const fn at(socket: &'a Path) -> Self {
        Self { socket }
    }

    /// Asks for something.
    pub async fn get(&self, path: &str) -> Result<Answer, ErrandError> {
        self.whole("GET", path).await
    }

    /// Asks for something to be done.
    pub async fn post(&self, path: &str) -> Result<Answer, ErrandError> {
        self.whole("POST", path).await
    }

    async fn whole(&self, method: &str, path: &str) -> Result<Answer, ErrandError> {
        let answer = self.send(method, path).await?;
        let code = answer.status().as_u16();
        let body = answer.collect().await.map_err(|error| self.broken(&error))?.to_bytes().to_vec();
        Ok(Answer { code, body })
    }

    /// Writes what is answered, as it comes. Whoever does not want to read on makes no error of it.
    pub async fn copy(&self, method: &str, path: &str, out: &mut impl Write) -> Result<(), ErrandError> {
        let mut answer = self.send(method, path).await?;
        if answer.status().as_u16() >= 300 {
            let body = answer.collect().await.map_err(|error| self.broken(&error))?.to_bytes();
            return Err(ErrandError::Refused(String::from_utf8_lossy(&body).trim().to_owned()));
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

    async fn send(&self, method: &str, path: &str) -> Result<Response<Incoming>, ErrandError> {
        let stream =
            UnixStream::connect(self.socket).await.map_err(|error| self.unreachable(describe(&error)))?;
        // An impostor is not asked for anything.
        let peer = stream.peer_cred()?.uid();
        if peer != 0 && peer != rustix::process::geteuid().as_raw() {
            return Err(self.unreachable(format!("it belongs to user {peer}")));
        }
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        tokio::spawn(async move { drop(connection.await) });
        let request =
            Request::builder().method(method).uri(path).header("host", "sexton").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| ErrandError::Refused(error.to_string()))?;
        sender.send_request(request).await.map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &hyper::Error) -> ErrandError {
        self.unreachable(format!("it broke off: {error}"))
    }

    fn unreachable(&self, why: String) -> ErrandError {
        ErrandError::Unreachable { socket: self.socket.to_owned(), why }
    }
}
