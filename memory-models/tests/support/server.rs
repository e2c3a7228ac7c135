//! An HTTP server on loopback that answers as a test tells it to, byte by byte where it is to
//! answer wrongly.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// A request as it came.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "not every test that includes this file looks at all")]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |(header, _): &&(String, String)| header.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }

    pub(crate) fn texts(&self) -> Vec<&str> {
        self.body["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
    }
}

/// What the server answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    status: u16,
    headers: String,
    body: String,
    /// Said to follow, and not sent.
    missing: usize,
    after: Duration,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl ToString) -> Self {
        Self { status, body: body.to_string(), ..Self::default() }
    }

    #[allow(dead_code, reason = "as above")]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.extend([name, ": ", value, "\r\n"]);
        self
    }

    #[allow(dead_code, reason = "not every test that includes this file answers so")]
    pub(crate) fn missing(mut self, bytes: usize) -> Self {
        self.missing = bytes;
        self
    }

    #[allow(dead_code, reason = "as above")]
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }

    /// A vector of `dimensions` for each text, which starts with the text's length.
    pub(crate) fn vectors(request: &Request, dimensions: usize) -> Self {
        let data: Vec<Value> = request
            .texts()
            .iter()
            .enumerate()
            .map(|(index, text)| {
                json!({"object": "embedding", "index": index, "embedding": vector(text, dimensions)})
            })
            .collect();
        let usage = json!({"prompt_tokens": 1, "total_tokens": 1});
        Self::new(200, json!({"object": "list", "data": data, "model": "m", "usage": usage}))
    }
}

/// What [`Reply::vectors`] makes of a text: of another length than 1.
pub(crate) fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![3.0; dimensions];
    vector[0] = text.len() as f32;
    vector
}

type Answer = dyn Fn(usize, &Request) -> Reply + Send + Sync;

/// A connection, behind TLS or not.
pub(crate) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Serves until the test's process ends.
#[derive(Clone)]
pub(crate) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    /// Requests under way, and the most of them at once.
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Server {
    /// Answers each request by its number, from 0, and what it says.
    pub(crate) fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_behind(|stream| Box::new(stream), answer)
    }

    /// The same behind what `accept` makes of a connection.
    pub(crate) fn start_behind(
        accept: impl Fn(TcpStream) -> Box<dyn Stream> + Send + Sync + 'static,
        answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            seen: Arc::default(),
            now: Arc::default(),
            most: Arc::default(),
        };
        let (serving, accept) = (server.clone(), Arc::new(accept));
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (server, answer, accept) = (serving.clone(), answer.clone(), accept.clone());
                // A client that goes away is no fault of the server.
                std::thread::spawn(move || {
                    let _ = server.exchange(accept(stream.unwrap()), &*answer);
                });
            }
        });
        server
    }

    fn exchange(&self, stream: Box<dyn Stream>, answer: &Answer) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let request = read(&mut stream)?;
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        let reply = answer(number, &request);
        std::thread::sleep(reply.after);
        self.now.fetch_sub(1, Ordering::SeqCst);
        let Reply { status, headers, body, missing, .. } = reply;
        let length = body.len() + missing;
        let stream = stream.get_mut();
        write!(
            stream,
            "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n{headers}\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )?;
        stream.flush()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    #[allow(dead_code, reason = "not every test that includes this file asks")]
    pub(crate) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

fn read(stream: &mut BufReader<impl Read>) -> std::io::Result<Request> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut request = Request { line: line.trim_end().to_owned(), headers, body: Value::Null };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    request.body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(request)
}
