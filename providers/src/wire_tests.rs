use super::*;
use hickory_proto::rr::rdata::TXT;
use proptest::prelude::*;
use std::thread;

fn name(text: &str) -> Name {
    to_name(&text.parse().unwrap())
}

fn quick() -> Options {
    Options { timeout: Duration::from_millis(150), tries: 2, ..Options::default() }
}

/// A server for one test: hands each UDP packet to `respond` and sends back what it returns.
fn udp_server(mut respond: impl FnMut(Message) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            for answer in respond(Message::from_vec(&buffer[..length]).unwrap()) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    address
}

fn answer_to(query: &Message, text: &str) -> Message {
    let mut answer = query.clone().into_response();
    answer.metadata.authoritative = true;
    let txt = RData::TXT(TXT::new(vec![text.to_owned()]));
    answer.add_answer(Record::from_rdata(query.queries[0].name.clone(), 60, txt));
    answer
}

#[test]
fn two_thousand_questions_survive_a_server_that_drops_every_seventh() {
    let mut count = 0;
    let server = udp_server(move |query| {
        count += 1;
        if count % 7 == 0 { vec![] } else { vec![answer_to(&query, "here").to_vec().unwrap()] }
    });
    let questions: Vec<_> =
        (0..2000).map(|i| Question { name: name(&format!("s{i}.example.com")), rtype: RecordType::TXT }).collect();
    let options = Options { timeout: Duration::from_millis(300), tries: 6, ..Options::default() };
    let answers = ask_all(server, &questions, options);
    for (question, answer) in questions.iter().zip(&answers) {
        let Answer::Records(records) = answer else { panic!("{}: {answer:?}", question.name) };
        assert_eq!(records.answers[0].name, question.name);
    }
}

#[test]
fn forged_ids_and_other_questions_are_not_answers() {
    let server = udp_server(|query| {
        let mut wrong_id = answer_to(&query, "forged");
        wrong_id.metadata.id = query.id.wrapping_add(1);
        let mut other = query.clone();
        other.queries[0].name = name("other.example.com");
        let right = answer_to(&query, "right");
        [wrong_id, answer_to(&other, "forged"), query, right].map(|m| m.to_vec().unwrap()).to_vec()
    });
    let Answer::Records(records) = ask(server, &name("s1.example.com"), RecordType::TXT, quick()) else { panic!() };
    assert_eq!(records.answers[0].data, RData::TXT(TXT::new(vec!["right".into()])));
}

#[test]
fn each_failure_keeps_its_own_name() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(ask(closed, &name("a.example"), RecordType::TXT, quick()), Answer::ConnectionRefused);

    let servfail = udp_server(|query| {
        let mut answer = query.into_response();
        answer.metadata.response_code = ResponseCode::ServFail;
        vec![answer.to_vec().unwrap()]
    });
    assert_eq!(ask(servfail, &name("a.example"), RecordType::TXT, quick()), Answer::Rcode(ResponseCode::ServFail));

    // Listens on both, says nothing on either.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _udp = UdpSocket::bind(silent.local_addr().unwrap()).unwrap();
    let questions = vec![Question { name: name("a.example"), rtype: RecordType::TXT }; 1000];
    let started = Instant::now();
    let answers = ask_all(silent.local_addr().unwrap(), &questions, quick());
    assert!(answers.iter().all(|answer| *answer == Answer::Timeout));
    assert!(started.elapsed() < Duration::from_secs(2), "a dead server costs its tries once: {:?}", started.elapsed());
}

#[test]
fn the_negative_ttl_is_the_smaller_of_the_two() {
    let server = udp_server(|query| {
        let mut answer = query.into_response();
        answer.metadata.response_code = ResponseCode::NXDomain;
        answer.metadata.authoritative = true;
        let soa = SOA::new(name("ns.example"), name("host.example"), 1, 2, 3, 4, 900);
        answer.add_authority(Record::from_rdata(name("example"), 300, RData::SOA(soa)));
        vec![answer.to_vec().unwrap()]
    });
    let Answer::NxDomain(negative) = ask(server, &name("a.example"), RecordType::TXT, quick()) else { panic!() };
    assert_eq!(negative.ttl(), Some(300), "RFC 2308 section 5");
}

proptest! {
    #[test]
    fn hostile_octets_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let question = Question { name: name("s1._domainkey.example.com"), rtype: RecordType::TXT };
        for recursion in [false, true] {
            let _ = read_answer(&bytes, &question, recursion);
        }
    }

    #[test]
    fn a_damaged_answer_never_panics(at in 0usize..100, value in any::<u8>(), cut in 0usize..120) {
        let mut query = Message::query();
        query.add_query(Query::query(name("s1._domainkey.example.com"), RecordType::TXT));
        let mut bytes = answer_to(&query, "v=DKIM1; p=AAAA").to_vec().unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(bytes.len().saturating_sub(cut / 4));
        let question = Question { name: name("s1._domainkey.example.com"), rtype: RecordType::TXT };
        for recursion in [false, true] {
            let _ = read_answer(&bytes, &question, recursion);
        }
    }
}
