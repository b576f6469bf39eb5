//! Customer.io as production sees it: TLS, HTTP/2, and what a server of that kind does to its clients.
//!
//! It hands requests to an emulator and breaks answers, streams and connections on order.
//!
//! Not here: HTTP/1.1 ([`crate::proxy`]).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use segue::clock::{Clock as _, SystemClock};
use segue::emulator::{self, Emulator};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// What it does to every n-th request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Trick {
    /// Nothing.
    None,
    /// The stream is refused (`REFUSED_STREAM`), the request not done: it is safe to send it again.
    Refuse,
    /// The request is done, and its stream reset.
    Reset,
    /// The request is done, and its stream reset after half of the answer.
    Half,
    /// The request is done and answered, and the server takes no more on this connection (`GOAWAY`).
    GoAway,
    /// The server ends the connection with an error, and every request on it.
    Abort,
    /// The request is done and answered, and the connection dies without a word.
    Die,
    /// From this request on nothing comes on the connection any more, and it stays open.
    Hang,
}

/// The front. Connections go on for as long as the process does.
pub(crate) struct Front {
    addr: SocketAddr,
    authority: String,
    stage: Arc<Stage>,
}

/// What all its connections share.
struct Stage {
    emulator: Arc<Mutex<Emulator>>,
    trick: Mutex<(Trick, u64)>,
    requests: AtomicU64,
    connections: AtomicU64,
    distrusted: AtomicU64,
    played: Mutex<HashMap<Trick, u64>>,
}

impl Front {
    /// Begins to listen, with a certificate of an authority of its own.
    pub(crate) async fn start(emulator: &emulator::Running) -> Self {
        let authority = authority();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate =
            CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        // Who cannot speak it cannot connect.
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stage = Arc::new(Stage {
            emulator: emulator.emulator(),
            trick: Mutex::new((Trick::None, 1)),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            distrusted: AtomicU64::new(0),
            played: Mutex::default(),
        });
        let shared = Arc::clone(&stage);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&shared).welcome(socket, acceptor.clone()));
            }
        });
        Self { addr, authority: authority.pem(), stage }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.addr.port())
    }

    /// The certificate of its authority, in PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Plays a trick on every n-th request from now on.
    pub(crate) fn play(&self, trick: Trick, every: u64) {
        *self.stage.trick.lock().unwrap() = (trick, every);
    }

    /// How often a trick was played.
    pub(crate) fn played(&self, trick: Trick) -> u64 {
        self.stage.played.lock().unwrap().get(&trick).copied().unwrap_or(0)
    }

    /// Requests that came over HTTP/2, connections, and how many were given up for its certificate.
    pub(crate) fn counts(&self) -> [u64; 3] {
        let stage = &self.stage;
        [&stage.requests, &stage.connections, &stage.distrusted]
            .map(|count| count.load(Ordering::SeqCst))
    }
}

impl Stage {
    async fn welcome(self: Arc<Self>, socket: TcpStream, acceptor: TlsAcceptor) {
        let Ok(tls) = acceptor.accept(socket).await else {
            self.distrusted.fetch_add(1, Ordering::SeqCst);
            return;
        };
        self.connections.fetch_add(1, Ordering::SeqCst);
        if let Ok(connection) = h2::server::handshake(tls).await {
            self.serve(connection).await;
        }
    }

    async fn serve(self: Arc<Self>, mut connection: Connection<TlsStream<TcpStream>, Bytes>) {
        let (dies, mut death) = tokio::sync::mpsc::channel(1);
        loop {
            let accepted = tokio::select! {
                accepted = connection.accept() => accepted,
                _ = death.recv() => return,
            };
            let Some(Ok((request, respond))) = accepted else { return };
            let trick = self.next_trick();
            match trick {
                Trick::GoAway => connection.graceful_shutdown(),
                Trick::Abort => connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
                Trick::Hang => return std::future::pending().await,
                _ => {}
            }
            let (stage, dies) = (Arc::clone(&self), dies.clone());
            tokio::spawn(async move {
                // A client that has gone does not want its answer.
                let _ = stage.answer(request, respond, trick).await;
                if trick == Trick::Die {
                    // Time for the answer to leave.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    let _ = dies.send(()).await;
                }
            });
        }
    }

    fn next_trick(&self) -> Trick {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let (trick, every) = *self.trick.lock().unwrap();
        if number % every != every - 1 {
            return Trick::None;
        }
        *self.played.lock().unwrap().entry(trick).or_default() += 1;
        trick
    }

    async fn answer(
        &self,
        request: http::Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        trick: Trick,
    ) -> Result<(), h2::Error> {
        if trick == Trick::Refuse {
            respond.send_reset(Reason::REFUSED_STREAM);
            return Ok(());
        }
        let (head, mut stream) = request.into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = emulator::Request::new(head.method.as_str(), path, body);
        for (name, value) in &head.headers {
            request = request.with_header(name.as_str(), value.to_str().unwrap_or_default());
        }
        let done = self.emulator.lock().unwrap().handle(&request, SystemClock.now());
        if trick == Trick::Reset {
            respond.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        }
        let mut answer = http::Response::builder().status(done.status);
        for (name, value) in &done.headers {
            answer = answer.header(name, value);
        }
        let mut sending = respond.send_response(answer.body(()).unwrap(), false)?;
        if trick == Trick::Half {
            sending.send_data(done.body.slice(..done.body.len() / 2), false)?;
            sending.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        }
        sending.send_data(done.body, true)
    }
}

/// An authority that nobody knows.
pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}
