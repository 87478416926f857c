//! A provider's IMAP server: it takes one kind of token and then does as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use adapter_testkit::xoauth2;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How it behaves.
#[derive(Clone)]
pub(crate) struct Manners {
    /// XOAUTH2 is taken with this token.
    pub(crate) token: &'static str,
    /// What it says after the login, in the same write as the answer to it.
    pub(crate) at_once: &'static [u8],
    pub(crate) after: After,
    pub(crate) tls: Option<(TlsAcceptor, Begin)>,
}

#[derive(Clone)]
pub(crate) enum After {
    /// Says OK to every line.
    Polite,
    /// Sends these bytes and its end, and remembers what it gets.
    Bytes(Arc<Vec<u8>>),
    /// Sends these bytes and nothing more.
    Stuck(Arc<Vec<u8>>),
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Begin {
    InTls,
    StartTls,
    /// Says more than the answer to STARTTLS in clear.
    Injecting,
}

/// What it heard.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) before_login: String,
    pub(crate) after_login: Vec<u8>,
    pub(crate) connections: usize,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) heard: Arc<Mutex<Heard>>,
}

impl Default for Manners {
    fn default() -> Self {
        Self { token: "tok-1", at_once: b"", after: After::Polite, tls: None }
    }
}

impl Server {
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let heard = Arc::clone(&server.heard);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                heard.lock().unwrap().connections += 1;
                tokio::spawn(serve(tcp, manners.clone(), Arc::clone(&heard)));
            }
        });
        server
    }
}

async fn serve(mut tcp: TcpStream, manners: Manners, heard: Arc<Mutex<Heard>>) -> Option<()> {
    tcp.set_nodelay(true).ok()?;
    match manners.tls.clone() {
        None => talk(tcp, true, manners, heard).await,
        Some((tls, Begin::InTls)) => talk(tls.accept(tcp).await.ok()?, true, manners, heard).await,
        Some((tls, begin)) => {
            tcp.write_all(b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\r\n")
                .await
                .ok()?;
            let line = line(&mut tcp, &heard).await?;
            let tag = line.split(' ').next()?;
            let mut answer = format!("{tag} OK go\r\n");
            if begin == Begin::Injecting {
                answer.push_str("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n");
            }
            tcp.write_all(answer.as_bytes()).await.ok()?;
            talk(tls.accept(tcp).await.ok()?, false, manners, heard).await
        }
    }
}

async fn talk<S>(
    mut stream: S,
    greet: bool,
    manners: Manners,
    heard: Arc<Mutex<Heard>>,
) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    const OFFERS: &str = "IMAP4rev1 SASL-IR AUTH=XOAUTH2";
    if greet {
        stream.write_all(format!("* OK [CAPABILITY {OFFERS}] hi\r\n").as_bytes()).await.ok()?;
    }
    loop {
        let line = line(&mut stream, &heard).await?;
        let mut words = line.split(' ');
        let (tag, verb) = (words.next()?, words.next()?);
        let right = line.contains(&xoauth2(manners.token));
        let answer = match verb {
            "CAPABILITY" => format!("* CAPABILITY {OFFERS}\r\n{tag} OK\r\n"),
            "AUTHENTICATE" if right => {
                let mut answer =
                    format!("{tag} OK [CAPABILITY IMAP4rev1 IDLE] in\r\n").into_bytes();
                answer.extend_from_slice(manners.at_once);
                stream.write_all(&answer).await.ok()?;
                return logged_in(stream, manners.after, heard).await;
            }
            "AUTHENTICATE" => {
                stream.write_all(b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n").await.ok()?;
                self::line(&mut stream, &heard).await?;
                format!("{tag} NO [AUTHENTICATIONFAILED] Invalid credentials\r\n")
            }
            _ => format!("{tag} BAD what\r\n"),
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

async fn logged_in<S>(mut stream: S, after: After, heard: Arc<Mutex<Heard>>) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match after {
        After::Bytes(bytes) => {
            let (mut reader, mut writer) = split(stream);
            let mut got = vec![];
            let (sent, read) = tokio::join!(
                async {
                    writer.write_all(&bytes).await?;
                    writer.shutdown().await
                },
                reader.read_to_end(&mut got)
            );
            heard.lock().unwrap().after_login = got;
            sent.and(read.map(drop)).ok()
        }
        After::Stuck(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            stream.read_to_end(&mut vec![]).await.map(drop).ok()
        }
        After::Polite => {
            let mut line = vec![];
            loop {
                line.push(stream.read_u8().await.ok()?);
                if line.ends_with(b"\r\n") {
                    heard.lock().unwrap().after_login.extend_from_slice(&line);
                    let text = String::from_utf8_lossy(&line).into_owned();
                    let answer = format!("{} OK done\r\n", text.split(' ').next()?);
                    stream.write_all(answer.as_bytes()).await.ok()?;
                    line.clear();
                }
            }
        }
    }
}

async fn line(stream: &mut (impl AsyncRead + Unpin), heard: &Mutex<Heard>) -> Option<String> {
    let mut line = vec![];
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.ok()?);
    }
    let line = String::from_utf8(line).ok()?;
    heard.lock().unwrap().before_login.push_str(&line);
    Some(line.trim_end().to_owned())
}
