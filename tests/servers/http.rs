//! A small HTTP/1.1 server for the fakes, and a client as plain, for those who are to do it wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, key: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Close the connection instead of answering.
    pub silent: bool,
}

impl Response {
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Response { status, body: body.into(), ..Response::default() }
    }

    pub fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.push((header.into(), value.into()));
        self
    }
}

/// Listens on a free port of 127.0.0.1 until dropped.
pub struct HttpServer {
    pub address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl HttpServer {
    pub fn start(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stopped, handler) = (Arc::new(AtomicBool::new(false)), Arc::new(handler));
        let stop = stopped.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (handler, stop) = (handler.clone(), stop.clone());
                thread::spawn(move || {
                    if let Ok(stream) = stream {
                        let _ = stream.set_nodelay(true);
                        serve(stream, &*handler, &stop);
                    }
                });
            }
        });
        HttpServer { address, stopped }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers on one connection, with or without TLS around it.
pub fn serve(stream: impl Read + Write, handler: &dyn Fn(&Request) -> Response, stopped: &AtomicBool) {
    let mut stream = BufReader::new(stream);
    while let Some((start, headers, body)) = read_message(&mut stream) {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        let mut parts = start.split(' ');
        let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key), unescape(value))
        };
        let query = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
        let request = Request { method: method.into(), path: unescape(path), query, headers, body };
        let response = handler(&request);
        if response.silent {
            return;
        }
        let mut head = format!("HTTP/1.1 {} .\r\ncontent-length: {}\r\n", response.status, response.body.len());
        for (name, value) in &response.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let answer = format!("{head}\r\n{}", response.body);
        if stream.get_mut().write_all(answer.as_bytes()).and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}

type Message = (String, Vec<(String, String)>, String);

fn read_message(reader: &mut impl BufRead) -> Option<Message> {
    let mut start = String::new();
    reader.read_line(&mut start).ok().filter(|&read| read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some((start.trim_end().to_owned(), headers, String::from_utf8_lossy(&body).into_owned()))
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|digit| (*digit as char).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            (b'+', ..) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One call, as raw as it gets; returns the status and the body.
pub fn call(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let (start, _, body) = read_message(&mut BufReader::new(stream)).expect("an answer");
    (start.split(' ').nth(1).unwrap().parse().unwrap(), body)
}
