//! The relay between two ends in memory, with time in our hands.

use std::future::pending;
use std::sync::Arc;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::sync::oneshot;

use super::pump::BUFFER;
use super::*;

fn terms() -> Terms {
    let words = Box::new(|why| match why {
        Farewell::Stopping => b"* BYE\r\n".to_vec(),
        _ => b"* BYE told\r\n".to_vec(),
    });
    Terms { idle: Duration::from_secs(2400), drain: Duration::from_secs(10), words }
}

/// Free behind each line.
struct Lines(bool);

impl Boundaries for Lines {
    fn to_server(&mut self, _: &[u8]) {}

    fn to_client(&mut self, bytes: &[u8]) {
        self.0 = bytes.last().map_or(self.0, |byte| *byte == b'\n');
    }

    fn is_free(&self) -> bool {
        self.0
    }
}

struct Scene {
    client: DuplexStream,
    server: DuplexStream,
    traffic: Arc<Traffic>,
    pool: Pool,
    stop: Option<oneshot::Sender<()>>,
    tell: Option<oneshot::Sender<Farewell>>,
    end: tokio::task::JoinHandle<End>,
}

fn scene(room: usize) -> Scene {
    scene_behind(room, b"")
}

/// The client was answered this before.
#[expect(clippy::disallowed_methods, reason = "a test has no Tasks")]
fn scene_behind(room: usize, answered: &'static [u8]) -> Scene {
    let (client, mut near) = duplex(room);
    let (server, mut far) = duplex(room);
    let (pool, traffic) = (Pool::default(), Arc::new(Traffic::default()));
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    let (inside, counts) = (pool.clone(), Arc::clone(&traffic));
    let end = tokio::spawn(async move {
        let stopping = async {
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        };
        let told = async {
            match told.await {
                Ok(why) => why,
                Err(_) => pending().await,
            }
        };
        let mut line = Lines(true);
        line.to_client(answered);
        let (terms, ends) = (terms(), (&mut near, &mut far));
        relay(ends, (&inside, &counts, &terms), &mut line, (stopping, told)).await
    });
    Scene { client, server, traffic, pool, stop: Some(stop), tell: Some(tell), end }
}

async fn exchange(room: usize, up: &[u8], down: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let Scene { client, server, traffic, end, stop, .. } = scene(room);
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (mut server_in, mut server_out) = tokio::io::split(server);
    let (mut at_server, mut at_client) = (vec![], vec![]);
    let (_, _, sent, answered) = tokio::join!(
        async {
            client_out.write_all(up).await.unwrap();
            client_out.shutdown().await.unwrap();
        },
        async {
            server_out.write_all(down).await.unwrap();
            server_out.shutdown().await.unwrap();
        },
        server_in.read_to_end(&mut at_server),
        client_in.read_to_end(&mut at_client),
    );
    sent.unwrap();
    answered.unwrap();
    assert_eq!(end.await.unwrap(), End::Finished);
    assert_eq!((traffic.up(), traffic.down()), (up.len() as u64, down.len() as u64));
    drop(stop);
    (at_server, at_client)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_bytes_arrive_as_they_were_sent(
        up in proptest::collection::vec(any::<u8>(), 0..100_000),
        down in proptest::collection::vec(any::<u8>(), 0..100_000),
        room in 1usize..70_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // One byte at a time is slow, so not all of it.
        let cut = room.saturating_mul(500);
        let (up, down) = (&up[..up.len().min(cut)], &down[..down.len().min(cut)]);
        let (at_server, at_client) = runtime.block_on(exchange(room, up, down));
        prop_assert!(at_server == up && at_client == down);
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_of_one_direction_leaves_the_other_alone() {
    let mut scene = scene(1024);
    scene.client.write_all(b"last words").await.unwrap();
    scene.client.shutdown().await.unwrap();
    let mut heard = vec![];
    scene.server.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"last words");
    scene.server.write_all(b"and the answer").await.unwrap();
    drop(scene.server);
    let mut answer = vec![];
    scene.client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"and the answer");
    assert_eq!(scene.end.await.unwrap(), End::Finished);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_stops_the_writer() {
    let mut scene = scene(1024);
    let flood = vec![7; 1 << 20];
    let wrote = tokio::time::timeout(Duration::from_secs(5), scene.server.write_all(&flood)).await;
    assert!(wrote.is_err(), "a megabyte went somewhere");
    assert!(scene.traffic.down() <= 2 * BUFFER as u64);
}

#[tokio::test(start_paused = true)]
async fn no_buffer_is_held_while_nothing_flows() {
    let mut scene = scene(1024);
    scene.client.write_all(b"a NOOP\r\n").await.unwrap();
    let mut heard = [0; 8];
    scene.server.read_exact(&mut heard).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let spare = scene.pool.0.lock().unwrap().len();
    assert!((1..=2).contains(&spare), "{spare} buffers lie in the pool, so none is in use");
}

#[tokio::test(start_paused = true)]
async fn half_an_hour_of_silence_is_no_reason_to_hang_up() {
    let mut scene = scene(1024);
    sleep(Duration::from_secs(31 * 60)).await;
    scene.client.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    scene.server.read_exact(&mut heard).await.unwrap();
    let begun = Instant::now();
    assert_eq!(scene.end.await.unwrap(), End::Idle);
    assert!(begun.elapsed() >= Duration::from_secs(2400));
}

#[tokio::test(start_paused = true)]
async fn a_stop_between_two_answers_is_told() {
    let mut scene = scene(1024);
    scene.server.write_all(b"a OK done\r\n").await.unwrap();
    let mut heard = [0; 11];
    scene.client.read_exact(&mut heard).await.unwrap();
    scene.stop.take().unwrap().send(()).unwrap();
    let mut rest = vec![];
    scene.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"* BYE\r\n");
    assert_eq!(scene.end.await.unwrap(), End::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_carried_nothing_is_told_at_once() {
    let mut scene = scene(1024);
    let begun = Instant::now();
    scene.stop.take().unwrap().send(()).unwrap();
    let mut rest = vec![];
    scene.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"* BYE\r\n");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn half_a_line_behind_the_answer_to_the_login_is_not_broken_by_a_farewell() {
    let mut scene = scene_behind(1024, b"a OK Logged in\r\n* 3 EXI");
    scene.stop.take().unwrap().send(()).unwrap();
    let mut rest = vec![];
    scene.client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_an_answer_adds_nothing_to_it() {
    let mut scene = scene(1024);
    scene.server.write_all(b"* 1 FETCH (BODY[] {1000}\r\nhalf a li").await.unwrap();
    scene.stop.take().unwrap().send(()).unwrap();
    let begun = Instant::now();
    let mut heard = vec![];
    scene.client.read_to_end(&mut heard).await.unwrap();
    assert!(heard.ends_with(b"half a li"));
    assert!(begun.elapsed() >= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_told_to_end_is_told_why_at_once() {
    let mut scene = scene(1024);
    let begun = Instant::now();
    scene.tell.take().unwrap().send(Farewell::Revoked).unwrap();
    let mut rest = vec![];
    scene.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"* BYE told\r\n");
    assert_eq!(scene.end.await.unwrap(), End::Told(Farewell::Revoked));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_nearly_over_may_end_first() {
    let mut scene = scene(1024);
    scene.server.write_all(b"* 1 FETCH (half").await.unwrap();
    sleep(Duration::from_millis(1)).await;
    scene.tell.take().unwrap().send(Farewell::Operator).unwrap();
    sleep(GRACE / 2).await;
    scene.client.write_all(b"b NOOP\r\n").await.unwrap();
    scene.server.write_all(b" of it)\r\n").await.unwrap();
    let mut rest = vec![];
    scene.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"* 1 FETCH (half of it)\r\n* BYE told\r\n");
    let mut heard = vec![];
    scene.server.read_to_end(&mut heard).await.unwrap();
    assert!(heard.is_empty(), "a client that is told to go is not carried for any more");
}

#[tokio::test(start_paused = true)]
async fn in_the_middle_of_a_long_answer_a_session_ends_without_a_word() {
    let mut scene = scene(1 << 20);
    let half = vec![b'x'; 100_000];
    scene.server.write_all(&half).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let begun = Instant::now();
    scene.tell.take().unwrap().send(Farewell::Revoked).unwrap();
    let mut heard = vec![];
    scene.client.read_to_end(&mut heard).await.unwrap();
    assert!(heard == half, "what came is whole, and nothing is added");
    assert!(begun.elapsed() <= GRACE, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_cannot_hold_its_session_open() {
    let mut scene = scene(16);
    let begun = Instant::now();
    let flood = scene.server.write_all(&[b'x'; 4096]);
    assert!(tokio::time::timeout(Duration::from_millis(1), flood).await.is_err());
    scene.tell.take().unwrap().send(Farewell::Revoked).unwrap();
    assert_eq!(scene.end.await.unwrap(), End::Told(Farewell::Revoked));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
