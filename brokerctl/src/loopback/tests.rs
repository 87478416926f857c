//! The listener with a browser played over TCP.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn get(port: u16, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    say(port, request.as_bytes()).await
}

async fn say(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn waiting() -> (Waiting, u16) {
    let listener = Listener::bind().await.unwrap();
    let port = listener.port;
    assert_eq!(listener.uri(), format!("http://localhost:{port}/"));
    (listener.expecting("right".into()), port)
}

#[tokio::test]
async fn strangers_and_garbage_do_not_end_the_wait_and_the_owner_gets_the_outcome() {
    let (mut waiting, port) = waiting().await;
    let idle = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    assert!(get(port, "/?state=wrong&code=stolen").await.starts_with("HTTP/1.1 400"));
    assert!(get(port, "/favicon.ico").await.starts_with("HTTP/1.1 404"));
    assert!(say(port, &[0xff; 20_000]).await.starts_with("HTTP/1.1 400"));

    let browser = tokio::task::JoinSet::from_iter([get(port, "/?state=right&code=abc")]);
    let callback = waiting.next().await;
    assert_eq!((callback.code.expose(), callback.error.as_str()), ("abc", ""));
    callback.answer(Page::connected("ann@example.com"));
    waiting.close().await;
    let page = browser.join_all().await.remove(0);
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("ann@example.com"), "{page}");
    drop(idle);
}

#[tokio::test]
async fn the_second_callback_is_told_so() {
    let (mut waiting, port) = waiting().await;
    let first = tokio::task::JoinSet::from_iter([get(port, "/?state=right&error=access_denied")]);
    let callback = waiting.next().await;
    assert_eq!(callback.error, "access_denied");
    let second = get(port, "/?state=right&code=late").await;
    assert!(second.starts_with("HTTP/1.1 409") && second.contains("Already answered"), "{second}");
    callback.answer(Page::denied());
    waiting.close().await;
    assert!(first.join_all().await[0].contains("Not connected"));
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let listener = Listener::bind().await.unwrap();
    for socket in &listener.sockets {
        assert!(socket.local_addr().unwrap().ip().is_loopback());
    }
}
