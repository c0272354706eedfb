//! A TCP relay of our own between one process and one server, whose weather a test sets: connections cut, refused,
//! slowed, swallowed for a while, or left half open.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a relay does with the bytes it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Passes everything on.
    Clear,
    /// Resets every new connection.
    Refusing,
    /// Passes nothing on, and says nothing of it; what came is passed on when it is over.
    Swallowing,
    /// Passes each piece on after a while.
    Slow(Duration),
}

/// A relay. Dropping it closes everything.
pub(crate) struct Proxy {
    address: SocketAddr,
    controls: Controls,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Controls {
    weather: watch::Sender<Weather>,
    cuts: watch::Sender<u64>,
    halves: watch::Sender<u64>,
}

/// Why a relayed connection is no longer relayed.
enum End {
    Closed,
    Cut,
    HalfOpen,
}

impl Proxy {
    /// A relay on a free loopback port towards `server`.
    pub(crate) async fn towards(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", super::super::servers::free_port())).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let controls = Controls {
            weather: watch::Sender::new(Weather::Clear),
            cuts: watch::Sender::new(0),
            halves: watch::Sender::new(0),
        };
        let task = tokio::spawn(accept(listener, server, controls.clone()));
        Self { address, controls, task }
    }

    /// Its own address.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather for every connection, open or to come.
    pub(crate) fn set(&self, weather: Weather) {
        self.controls.weather.send_replace(weather);
    }

    /// Resets every open connection, on both sides.
    pub(crate) fn cut(&self) {
        self.controls.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends every open connection on the server's side only: the process hears nothing, ever.
    pub(crate) fn half_open(&self) {
        self.controls.halves.send_modify(|halves| *halves += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, controls: Controls) {
    loop {
        // Out of descriptors, say: the next try may do better.
        let Ok((client, _)) = listener.accept().await else { continue };
        tokio::spawn(relay(client, server, controls.clone()));
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr, controls: Controls) {
    let (mut cuts, mut halves) = (controls.cuts.subscribe(), controls.halves.subscribe());
    let refused = *controls.weather.borrow() == Weather::Refusing;
    let server = if refused { None } else { TcpStream::connect(server).await.ok() };
    let Some(mut server) = server else { return reset(&client) };
    let _quick = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let there = pump(from_client, to_server, controls.weather.subscribe());
        let back = pump(from_server, to_client, controls.weather.subscribe());
        tokio::select! {
            _ = async { tokio::join!(there, back) } => End::Closed,
            _ = cuts.changed() => End::Cut,
            _ = halves.changed() => End::HalfOpen,
        }
    };
    match end {
        End::Closed => {}
        End::Cut => {
            reset(&client);
            reset(&server);
        }
        End::HalfOpen => {
            drop(server);
            let mut unread = vec![0; 4096];
            tokio::select! {
                _ = cuts.changed() => reset(&client),
                () = async { while matches!(client.read(&mut unread).await, Ok(1..)) {} } => {}
            }
        }
    }
}

/// Makes the close to come a reset.
fn reset(stream: &TcpStream) {
    // A failure leaves a plain close, which ends the connection as well.
    let _set = stream.set_zero_linger();
}

/// One direction, until it ends.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut weather: watch::Receiver<Weather>) {
    let mut piece = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut piece).await.unwrap_or(0);
        pass(&mut weather).await;
        if read == 0 || to.write_all(&piece[..read]).await.is_err() {
            break;
        }
    }
    // The other side may have closed already.
    let _closed = to.shutdown().await;
}

/// Waits for as long as the weather asks.
async fn pass(weather: &mut watch::Receiver<Weather>) {
    let now = weather.wait_for(|weather| *weather != Weather::Swallowing).await.map_or(Weather::Clear, |now| *now);
    if let Weather::Slow(pause) = now {
        tokio::time::sleep(pause).await;
    }
}

mod tests {
    use super::*;

    /// Somebody who repeats what is said.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    async fn said_back(stream: &mut TcpStream) -> bool {
        if stream.write_all(b"hello").await.is_err() {
            return false;
        }
        let mut heard = [0; 5];
        let reading = tokio::time::timeout(Duration::from_millis(300), stream.read_exact(&mut heard)).await;
        matches!(reading, Ok(Ok(_)))
    }

    #[tokio::test]
    async fn a_relay_does_what_its_weather_says() {
        let proxy = Proxy::towards(echo().await).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(said_back(&mut stream).await);
        proxy.set(Weather::Swallowing);
        assert!(!said_back(&mut stream).await);
        proxy.set(Weather::Clear);
        let mut late = [0; 5];
        stream.read_exact(&mut late).await.unwrap();
        proxy.cut();
        assert!(!said_back(&mut stream).await);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(said_back(&mut stream).await);
        proxy.half_open();
        let silent = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut late)).await;
        assert!(silent.is_err(), "half open: neither an answer nor an end");
        proxy.set(Weather::Refusing);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(!said_back(&mut stream).await);
    }
}
