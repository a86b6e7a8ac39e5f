//! Mail at a steady rate: half of it with a connection each, half over sessions that stay open.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Messages per second, all threads together.
pub const RATE: u32 = 20;
/// Sessions that stay open; each sends its share of half the rate.
const KEPT: u32 = 4;
/// Threads that open a connection for each message.
const FRESH: u32 = 4;

/// What the mail server answered.
#[derive(Debug, Default)]
pub struct Tally {
    /// The ids of the messages that were accepted.
    pub accepted: BTreeSet<String>,
    /// Replies that were not 2xx or 3xx, and sessions that broke: 0 in a good run.
    pub refused: Vec<String>,
}

/// Mail under way until it is told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    /// Kept sessions that are older than this are closed and opened again.
    generation: Arc<AtomicU32>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Load {
    pub fn start(server: SocketAddr) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let generation = Arc::new(AtomicU32::new(0));
        let threads = (0..KEPT + FRESH).map(|number| {
            let kept = number < KEPT;
            let client = Client { server, number, kept, stop: stop.clone(), generation: generation.clone() };
            thread::spawn(move || client.run())
        });
        Load { threads: threads.collect(), stop, generation }
    }

    /// Has every kept session end and begin anew, as a pool does when its connections get old.
    pub fn renew_sessions(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::SeqCst);
        let mut sum = Tally::default();
        for thread in self.threads {
            let tally = thread.join().unwrap();
            sum.accepted.extend(tally.accepted);
            sum.refused.extend(tally.refused);
        }
        sum
    }
}

/// Sends one message over a connection of its own.
pub fn send_one(server: SocketAddr, recipient: &str, id: &str) {
    let mut session = Session::open(server).unwrap();
    session.send(recipient, id).unwrap();
    session.quit();
}

struct Client {
    server: SocketAddr,
    number: u32,
    kept: bool,
    stop: Arc<AtomicBool>,
    generation: Arc<AtomicU32>,
}

impl Client {
    fn run(self) -> Tally {
        let threads = if self.kept { KEPT } else { FRESH };
        let interval = Duration::from_secs(1) * 2 * threads / RATE;
        let mut tally = Tally::default();
        let mut kept: Option<(u32, Session)> = None;
        // Not all at the same instant.
        let start = Instant::now() + interval * self.number / (KEPT + FRESH);
        for count in 0.. {
            thread::sleep((start + interval * count).saturating_duration_since(Instant::now()));
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let generation = self.generation.load(Ordering::SeqCst);
            if let Some((_, old)) = kept.take_if(|(born, _)| *born != generation) {
                old.quit();
            }
            let kind = if self.kept { "kept" } else { "fresh" };
            let id = format!("{kind}-{}-{count}", self.number);
            let sent = match kept.take() {
                Some((_, session)) => Ok(session),
                None => Session::open(self.server),
            }
            .and_then(|mut session| session.send("someone@elsewhere.example", &id).map(|()| session));
            match sent {
                Ok(session) if self.kept => kept = Some((generation, session)),
                Ok(session) => session.quit(),
                Err(why) => {
                    tally.refused.push(format!("{id}: {why}"));
                    continue;
                }
            }
            tally.accepted.insert(id);
        }
        if let Some((_, session)) = kept {
            session.quit();
        }
        tally
    }
}

struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    fn open(server: SocketAddr) -> Result<Session, String> {
        let stream = TcpStream::connect(server).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut session = Session { stream: BufReader::new(stream) };
        session.reply()?;
        session.command("EHLO client.rotation.example")?;
        Ok(session)
    }

    fn send(&mut self, recipient: &str, id: &str) -> Result<(), String> {
        self.command("MAIL FROM:<app@rotation.example>")?;
        self.command(&format!("RCPT TO:<{recipient}>"))?;
        self.command("DATA")?;
        self.command(&format!(
            "From: Application <app@rotation.example>\r\nTo: {recipient}\r\nSubject: number {id}\r\n\
             Date: Mon, 01 Jun 2026 12:00:00 +0000\r\nMessage-ID: <{id}@rotation.example>\r\nX-Test-Id: {id}\r\n\r\n\
             Hello,\r\n\r\nthis is message {id}.\r\n."
        ))
    }

    fn quit(mut self) {
        let _ = self.command("QUIT");
    }

    /// Anything but 2xx and 3xx is an error, with the reply in it.
    fn command(&mut self, line: &str) -> Result<(), String> {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes()).map_err(|e| e.to_string())?;
        self.reply()
    }

    fn reply(&mut self) -> Result<(), String> {
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).map_err(|e| e.to_string())?;
            match line.as_bytes() {
                _ if read == 0 => return Err("the connection was closed".to_owned()),
                [_, _, _, b'-', ..] => {}
                [b'2' | b'3', ..] => return Ok(()),
                _ => return Err(line.trim_end().to_owned()),
            }
        }
    }
}
