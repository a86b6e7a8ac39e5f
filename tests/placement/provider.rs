//! A mailbox provider in small: takes mail by SMTP, writes its own fields above it as a large one does, and files it into
//! a Dovecot. It says that DKIM passes if the message carries a signature by the domain and selector that it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use super::headers::mail;
use crate::servers::dovecot::deliver;

/// Where mail for an address goes: the provider that is played, the mailbox, the folder.
#[derive(Debug, Clone)]
pub struct Rule {
    pub address: &'static str,
    pub plays: &'static str,
    pub user: &'static str,
    pub folder: &'static str,
}

pub struct Provider {
    pub address: SocketAddr,
    rules: Arc<Mutex<Vec<Rule>>>,
}

impl Provider {
    pub fn start(dovecot: PathBuf, rules: Vec<Rule>, selector: &'static str) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let rules = Arc::new(Mutex::new(rules));
        let shared = Arc::clone(&rules);
        // Ends with the test's process; it holds nothing but a port.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (rules, dovecot) = (Arc::clone(&shared), dovecot.clone());
                thread::spawn(move || session(stream, &rules, &dovecot, selector));
            }
        });
        Provider { address, rules }
    }

    /// Files mail for an address elsewhere from now on.
    pub fn file_into(&self, address: &str, folder: &'static str) {
        let mut rules = self.rules.lock().unwrap();
        rules.iter_mut().filter(|rule| rule.address == address).for_each(|rule| rule.folder = folder);
    }
}

fn session(mut stream: TcpStream, rules: &Mutex<Vec<Rule>>, dovecot: &std::path::Path, selector: &str) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let mut rule: Option<Rule> = None;
    stream.write_all(b"220 mx.provider.example\r\n").ok()?;
    while let Some(Ok(line)) = lines.next() {
        let verb = line.to_ascii_uppercase();
        let answer = match () {
            () if verb.starts_with("EHLO") => "250 mx.provider.example",
            () if verb.starts_with("RCPT") => {
                let rules = rules.lock().unwrap();
                rule = rules.iter().find(|rule| verb.contains(&rule.address.to_ascii_uppercase())).cloned();
                if rule.is_some() { "250 ok" } else { "550 5.1.1 nobody here" }
            }
            () if verb.starts_with("DATA") => {
                stream.write_all(b"354 go\r\n").ok()?;
                let mut message = String::new();
                for line in lines.by_ref().map_while(Result::ok).take_while(|line| line != ".") {
                    message.push_str(line.strip_prefix('.').unwrap_or(&line));
                    message.push_str("\r\n");
                }
                let rule = rule.take()?;
                deliver(dovecot, rule.user, rule.folder, written(&rule, &message, selector).as_bytes());
                "250 2.0.0 filed"
            }
            () if verb.starts_with("QUIT") => {
                let _ = stream.write_all(b"221 bye\r\n");
                return Some(());
            }
            () => "250 ok",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
    }
    Some(())
}

/// The provider's own fields, taken from its fixture, above what came.
fn written(rule: &Rule, message: &str, selector: &str) -> String {
    let fixture = mail(rule.plays);
    let own = &fixture[..fixture.find("DKIM-Signature: v=1").unwrap()];
    let header: String = message.split("\r\n\r\n").next().unwrap_or_default().split_whitespace().collect();
    let is_signed = header.contains("d=example.com;") && header.contains(&format!("s={selector};"));
    let own = own.replace("header.s=s2", &format!("header.s={selector}"));
    // The fixture's signature is not this message's.
    let own = own.replace(" header.b=Kx3dP0aY", "");
    let own = if rule.folder == "INBOX" { own.replace("dest:J", "dest:I") } else { own };
    let own = if is_signed { own } else { own.replace("dkim=pass", "dkim=none").replace("dmarc=pass", "dmarc=fail") };
    format!("{own}{message}")
}
