//! A network that breaks on request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Where on its way a request is when it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing of it has gone out.
    BeforeTheRequest,
    /// Half of its bytes have.
    DuringTheRequest,
    /// All of it has, the server has answered, and nothing of the answer arrives. Where a call is
    /// one statement, its COMMIT is done and unheard of.
    AfterTheRequest,
    /// Half of the answer arrives.
    DuringTheAnswer,
    /// Connections end at their next request, and new ones in the middle of their first answer.
    DuringTheHandshake,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::BeforeTheRequest,
        Self::DuringTheRequest,
        Self::AfterTheRequest,
        Self::DuringTheAnswer,
        Self::DuringTheHandshake,
    ];

    /// As tests are named.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeTheRequest => "before_the_request",
            Self::DuringTheRequest => "during_the_request",
            Self::AfterTheRequest => "after_the_request",
            Self::DuringTheAnswer => "during_the_answer",
            Self::DuringTheHandshake => "during_the_handshake",
        }
    }
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The connection is reset.
    Reset,
    /// Nothing more comes, and nobody says so, until the network is repaired; it is reset then.
    Stall,
}

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// No connection lives, and none comes about.
    Cut,
    /// What goes through waits up to so long, in two pieces.
    Slow(Duration),
    /// One request in three meets this.
    Broken(Trouble, Phase),
}

/// Hands connections on to a server, over a network in a given state.
#[derive(Debug)]
pub struct Proxy {
    at: SocketAddr,
    network: Arc<Network>,
    _accepting: JoinSet<()>,
}

#[derive(Debug)]
struct Network {
    server: Mutex<String>,
    state: watch::Sender<State>,
    /// How often something broke.
    struck: watch::Sender<usize>,
    dice: Mutex<Rng>,
}

impl Proxy {
    /// A proxy before a server, named by host and port; its dice are from `seed`.
    pub async fn before(server: &str, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let network = Arc::new(Network {
            server: Mutex::new(server.to_owned()),
            state: watch::Sender::new(State::Open),
            struck: watch::Sender::new(0),
            dice: Mutex::new(Rng::with_seed(seed)),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&network)));
        Self { at, network, _accepting: accepting }
    }

    /// Where to connect, as host and port.
    pub fn address(&self) -> String {
        self.at.to_string()
    }

    /// Leads to another place from now on.
    pub fn lead_to(&self, server: &str) {
        server.clone_into(&mut self.network.server.lock());
    }

    /// Breaks one request in three from now on.
    pub fn break_at(&self, phase: Phase, trouble: Trouble) {
        self.network.state.send_replace(State::Broken(trouble, phase));
    }

    /// Ends all connections, and every new one at once.
    pub fn cut(&self) {
        self.network.state.send_replace(State::Cut);
    }

    /// Lets everything wait up to so long.
    pub fn slow_down(&self, most: Duration) {
        self.network.state.send_replace(State::Slow(most));
    }

    /// Ends the trouble.
    pub fn repair(&self) {
        self.network.state.send_replace(State::Open);
    }

    /// Waits until so much more has broken.
    pub async fn struck(&self, more: usize) {
        let mut struck = self.network.struck.subscribe();
        let then = *struck.borrow();
        let waiting = struck.wait_for(|now| *now >= then + more);
        let reached = tokio::time::timeout(Duration::from_mins(1), waiting).await.is_ok();
        assert!(reached, "hardly any request met its fault");
    }
}

async fn accept(listener: TcpListener, network: Arc<Network>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connection(client, Arc::clone(&network)));
    }
}

async fn connection(mut client: TcpStream, network: Arc<Network>) {
    let mut state = network.state.subscribe();
    let address = network.server.lock().clone();
    let handed_on = async {
        let mut server = TcpStream::connect(address).await.ok()?;
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let answer = Mutex::new(network.fate_of_a_new_connection());
        tokio::select! {
            () = network.requests(from_client, to_server, &answer) => {}
            () = network.answers(from_server, to_client, &answer) => {}
        }
        Some(())
    };
    let cut = async { drop(state.wait_for(|state| *state == State::Cut).await) };
    tokio::select! {
        _ = handed_on => {}
        () = cut => network.struck.send_modify(|struck| *struck += 1),
    }
    let _ = client.set_zero_linger();
}

/// What is to become of the next answer on a connection.
type Fate = Option<(Trouble, Phase)>;

impl Network {
    fn one_in(&self, many: u8) -> bool {
        self.dice.lock().u8(..many) == 0
    }

    fn fate_of_a_new_connection(&self) -> Fate {
        match *self.state.borrow() {
            State::Broken(trouble, Phase::DuringTheHandshake) if !self.one_in(3) => {
                Some((trouble, Phase::DuringTheAnswer))
            }
            _ => None,
        }
    }

    fn fate_of_a_request(&self) -> Fate {
        match *self.state.borrow() {
            State::Broken(trouble, Phase::DuringTheHandshake) => {
                self.one_in(3).then_some((trouble, Phase::BeforeTheRequest))
            }
            State::Broken(trouble, phase) => self.one_in(3).then_some((trouble, phase)),
            _ => None,
        }
    }

    /// Hands on what the client says; returns when the connection is to end.
    async fn requests(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, answer: &Mutex<Fate>) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let request = &buffer[..length];
            let fate = self.fate_of_a_request();
            let goes_out = match fate {
                Some((_, Phase::BeforeTheRequest)) => 0,
                Some((_, Phase::DuringTheRequest)) => length / 2,
                _ => length,
            };
            if let Some((_, Phase::AfterTheRequest | Phase::DuringTheAnswer)) = fate {
                *answer.lock() = fate;
            }
            if self.write(&mut to, &request[..goes_out]).await.is_err() {
                return;
            }
            if let (Some((trouble, _)), true) = (fate, goes_out < length) {
                return self.strike(trouble).await;
            }
        }
    }

    /// Hands on what the server says; returns when the connection is to end.
    async fn answers(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, answer: &Mutex<Fate>) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let fate = *answer.lock();
            let arrives = match fate {
                Some((_, Phase::AfterTheRequest)) => 0,
                Some(_) => length / 2,
                None => length,
            };
            if self.write(&mut to, &buffer[..arrives]).await.is_err() {
                return;
            }
            if let Some((trouble, _)) = fate {
                return self.strike(trouble).await;
            }
        }
    }

    async fn write(&self, to: &mut WriteHalf<'_>, bytes: &[u8]) -> std::io::Result<()> {
        let state = *self.state.borrow();
        let State::Slow(most) = state else { return to.write_all(bytes).await };
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for piece in [first, second] {
            let pause = most.mul_f64(self.dice.lock().f64());
            tokio::time::sleep(pause).await;
            to.write_all(piece).await?;
        }
        self.struck.send_modify(|struck| *struck += 1);
        Ok(())
    }

    async fn strike(&self, trouble: Trouble) {
        self.struck.send_modify(|struck| *struck += 1);
        if trouble == Trouble::Stall {
            let mut state = self.state.subscribe();
            let _ = state.wait_for(|state| !matches!(state, State::Broken(..))).await;
        }
    }
}
