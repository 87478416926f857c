//! A mail server that takes one token, then whatever comes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use adapter_testkit::xoauth2;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How it behaves.
#[derive(Clone)]
pub(crate) struct Manners {
    /// The token it takes.
    pub(crate) token: &'static str,
    /// What it says to any other, after the error challenge.
    pub(crate) refusal: &'static str,
}

impl Default for Manners {
    fn default() -> Self {
        Self { token: "tok-1", refusal: "535 5.7.8 Username and Password not accepted.\r\n" }
    }
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The lines before a login, all connections together.
    pub(crate) before_login: Arc<Mutex<Vec<String>>>,
    /// The bytes after it.
    pub(crate) after_login: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, before_login: Arc::default(), after_login: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, manners) = (serving.clone(), manners.clone());
                tokio::spawn(async move { server.talk(stream, manners).await });
            }
        });
        server
    }

    async fn talk(&self, mut stream: TcpStream, manners: Manners) -> Option<()> {
        stream.write_all(b"220 smtp.provider.example ESMTP\r\n").await.ok()?;
        loop {
            let line = line(&mut stream).await?;
            self.before_login.lock().unwrap().push(line.clone());
            let answer = match line.as_str() {
                _ if line.starts_with("EHLO ") => {
                    "250-x\r\n250-SIZE 1000\r\n250-DSN\r\n250 AUTH XOAUTH2\r\n"
                }
                "AUTH XOAUTH2" => "334 \r\n",
                "" => manners.refusal,
                _ if line == xoauth2(manners.token) => break,
                _ => "334 eyJzdGF0dXMiOiI0MDAifQ==\r\n",
            };
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
        stream.write_all(b"235 2.7.0 Accepted\r\n").await.ok()?;
        self.relayed(stream).await
    }

    /// Says every byte back.
    async fn relayed(&self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = [0; 4096];
        loop {
            let length = stream.read(&mut bytes).await.ok().filter(|length| *length > 0)?;
            self.after_login.lock().unwrap().extend_from_slice(&bytes[..length]);
            stream.write_all(&bytes[..length]).await.ok()?;
        }
    }
}

async fn line(stream: &mut TcpStream) -> Option<String> {
    let mut line = vec![];
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(line).ok()?.trim_end().to_owned())
}
