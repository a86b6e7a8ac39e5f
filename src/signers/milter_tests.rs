use std::net::TcpListener;
use std::thread;

use super::*;

/// What a filter sends back for one command; every other one it continues.
type Script<'a> = (u8, &'a [(u8, &'a [u8])]);

/// Commands and their data, as a filter received them.
type Heard = Vec<(u8, Vec<u8>)>;

const EVERYTHING: [u8; 12] = [0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0, 0, 0];

/// A filter that follows a script, says `continue` to everything else, and returns what it heard.
fn filter(negotiation: Vec<u8>, script: Script<'_>) -> (Socket, thread::JoinHandle<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = Socket::Inet { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let at = script.0;
    let replies: Vec<(u8, Vec<u8>)> = script.1.iter().map(|(reply, data)| (*reply, data.to_vec())).collect();
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Heard::new();
        loop {
            let mut length = [0; 4];
            if stream.read_exact(&mut length).is_err() {
                return heard;
            }
            let mut packet = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut packet).unwrap();
            let command = packet[0];
            heard.push((command, packet[1..].to_vec()));
            let mut say = |command: u8, data: &[u8]| {
                let mut packet = (data.len() as u32 + 1).to_be_bytes().to_vec();
                packet.push(command);
                packet.extend_from_slice(data);
                let _ = stream.write_all(&packet);
            };
            match command {
                _ if command == at => replies.iter().for_each(|(reply, data)| say(*reply, data)),
                b'O' => say(b'O', &negotiation),
                b'D' | b'Q' => {}
                _ => {
                    let steps = u32::from_be_bytes(negotiation[8..12].try_into().unwrap());
                    let silent = [(b'C', step::NR_CONNECT), (b'L', step::NR_HEADER), (b'B', step::NR_BODY)];
                    if !silent.iter().any(|(of, bit)| *of == command && steps & bit != 0) {
                        say(b'c', &[]);
                    }
                }
            }
        }
    });
    (socket, heard)
}

fn client() -> Client {
    Client { address: "192.0.2.7".parse().unwrap(), timeout: Duration::from_millis(500), ..Client::default() }
}

fn letter() -> Message {
    let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
    Message {
        sender: "a@example.com".into(),
        recipient: "b@example.com".into(),
        headers: vec![header("From", " a@example.com"), header("Subject", " folded\r\n line")],
        body: vec![b'x'; CHUNK + 1],
    }
}

fn submit_to(negotiation: [u8; 12], script: Script<'_>) -> (Answer, Vec<(u8, Vec<u8>)>) {
    let (socket, heard) = filter(negotiation.to_vec(), script);
    let answer = submit(&socket, &client(), &letter());
    (answer, heard.join().unwrap())
}

#[test]
fn the_whole_conversation() {
    let (answer, heard) = submit_to(EVERYTHING, (0, &[]));
    assert_eq!(answer, Answer::Passed(vec![]));
    let commands: String = heard.iter().map(|(command, _)| *command as char).collect();
    assert_eq!(commands, "ODCHDMDRDTLLDNBBDEQ");
    let said = |command: u8| &heard.iter().find(|(of, _)| *of == command).unwrap().1[..];
    assert_eq!(said(b'C'), b"localhost\x004\0\x19192.0.2.7\0");
    assert_eq!(said(b'M'), b"<a@example.com>\0");
    assert_eq!(said(b'L'), b"From\0a@example.com\0", "no leading space unless it was asked for");
    assert_eq!(heard[11].1, b"Subject\0folded\n line\0");
    assert!(heard.iter().any(|(command, data)| *command == b'D' && data.starts_with(b"Ni\0DKIMCTLPROBE\0")));
}

#[test]
fn steps_that_a_filter_does_not_want_are_left_out() {
    let steps = step::NO_HELO
        | step::NO_MAIL
        | step::NO_RCPT
        | step::NO_DATA
        | step::NO_BODY
        | step::NR_HEADER
        | step::NR_CONNECT
        | step::LEADING_SPACE;
    let mut negotiation = EVERYTHING;
    negotiation[8..].copy_from_slice(&steps.to_be_bytes());
    let (answer, heard) =
        submit_to(negotiation, (b'E', &[(b'i', b"\0\0\0\x01DKIM-Signature\0 v=1;\n\td=x\0"), (b'c', b"")]));
    let added = Header { name: "DKIM-Signature".into(), value: " v=1;\r\n\td=x".into() };
    assert_eq!(answer, Answer::Passed(vec![added]));
    let commands: String = heard.iter().map(|(command, _)| *command as char).filter(|c| *c != 'D').collect();
    assert_eq!(commands, "OCLLNEQ");
    assert!(heard.iter().any(|(command, data)| *command == b'L' && data == b"From\0 a@example.com\0"));
}

#[test]
fn added_headers_stand_where_the_filter_put_them() {
    let (answer, _) = submit_to(
        EVERYTHING,
        (
            b'E',
            &[
                (b'p', b""),
                (b'h', b"Last\0 2\0"),
                (b'i', b"\0\0\0\x01Second\x001\0"),
                (b'i', b"\0\0\0\0First\x001\0"),
                (b'm', b"\0\0\0\x01Subject\0changed\0"),
                (b'a', b""),
            ],
        ),
    );
    let Answer::Passed(added) = answer else { panic!("{answer:?}") };
    let added: Vec<String> = added.iter().map(|header| format!("{}:{}", header.name, header.value)).collect();
    assert_eq!(added, ["First: 1", "Second: 1", "Last:  2"]);
}

#[test]
fn a_filter_that_decides_early_is_understood() {
    let refused = |at, reply: &str| Answer::Refused { at, reply: reply.into() };
    let cases: [(Script<'_>, Answer); 6] = [
        ((b'C', &[(b'a', b"")]), Answer::Ignored { at: "connect" }),
        ((b'N', &[(b'a', b"")]), Answer::Ignored { at: "the end of the header" }),
        ((b'N', &[(b't', b"")]), refused("the end of the header", "451 4.7.1 (temporary failure)")),
        ((b'M', &[(b'r', b"")]), refused("MAIL", "550 5.7.1 (rejected)")),
        (
            (b'E', &[(b'y', b"451 4.7.0 resource\r\n unavailable\0")]),
            refused("the end of the message", "451 4.7.0 resource unavailable"),
        ),
        ((b'E', &[(b'd', b"")]), refused("the end of the message", "discarded")),
    ];
    for (script, wanted) in cases {
        assert_eq!(submit_to(EVERYTHING, script).0, wanted);
    }
}

#[test]
fn nonsense_and_silence_are_no_answer() {
    let cases: [(Script<'_>, &str); 8] = [
        ((b'O', &[(b'O', b"\0\0\0\x06")]), "negotiation"),
        ((b'O', &[(b'c', b"")]), "negotiation"),
        ((b'O', &[(b'O', &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0])]), "version 9"),
        ((b'C', &[]), "in time"),
        ((b'C', &[(b'?', b"")]), "answered connect with `?`"),
        ((b'C', &[(b'i', b"\0\0\0\0X\0y\0")]), "answered connect with `i`"),
        ((b'E', &[(b'h', b"no value")]), "without a name or a value"),
        ((b'N', &[(b'4', b"")]), "shutting down"),
    ];
    for (script, word) in cases {
        let (answer, _) = submit_to(EVERYTHING, script);
        let Answer::NoAnswer { why } = &answer else { panic!("{word}: {answer:?}") };
        assert!(why.contains(word) && why.starts_with("inet:"), "{why}");
    }
    // An SMTP server where a filter was expected: `220 ` reads as a length of half a gigabyte.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || listener.accept().unwrap().0.write_all(b"220 mail.example ESMTP\r\n"));
    let answer = submit(&Socket::Inet { host: "127.0.0.1".into(), port }, &client(), &letter());
    server.join().unwrap().unwrap();
    assert!(matches!(&answer, Answer::NoAnswer { why } if why.contains("no milter")), "{answer:?}");
    let answer = submit(&Socket::Local("/nonexistent/socket".into()), &client(), &letter());
    assert!(matches!(&answer, Answer::NoAnswer { why } if why.starts_with("local:/nonexistent")), "{answer:?}");
}

#[test]
fn a_drip_of_octets_does_not_stretch_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for byte in [0, 0, 0xff, 0].into_iter().chain(std::iter::repeat(b'O')) {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    let began = Instant::now();
    let answer = submit(&Socket::Inet { host: "127.0.0.1".into(), port }, &client(), &letter());
    assert!(matches!(answer, Answer::NoAnswer { .. }));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn sockets_are_written_as_opendkim_writes_them() {
    for (text, wanted) in [
        ("inet:8891@localhost", "inet:8891@localhost"),
        ("inet:8891", "inet:8891@127.0.0.1"),
        ("INET:8891@0.0.0.0", "inet:8891@127.0.0.1"),
        ("inet6:8891@[::1]", "inet6:8891@[::1]"),
        ("inet6:8891", "inet6:8891@[::1]"),
        ("local:/run/o.sock", "local:/run/o.sock"),
        ("unix:/run/o.sock", "local:/run/o.sock"),
        ("/run/o.sock", "local:/run/o.sock"),
    ] {
        let socket: Socket = text.parse().unwrap();
        assert_eq!(socket.to_string(), wanted);
        assert_eq!(wanted.parse::<Socket>().unwrap(), socket);
    }
    for bad in ["", "8891", "inet:", "inet:0", "inet:99999", "inet:8891@", "local:run/o.sock", "tcp:1@x"] {
        assert!(bad.parse::<Socket>().is_err(), "{bad:?}");
    }
}
