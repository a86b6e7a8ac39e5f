use super::*;
use dkimctl_providers::wire::{self, Answer, Options};

fn fqdn(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn ask(server: &EmbeddedDns, name: &str, rtype: RecordType) -> Answer {
    wire::ask(server.address(), &to_name(&fqdn(name)), rtype, Options::default())
}

#[test]
fn says_what_is_there_and_what_is_not() {
    let records: Records = Default::default();
    records.write().unwrap().insert(fqdn("s1._domainkey.example.com"), vec![(60, Data::txt("v=DKIM1; p=A"))]);
    let mut zone = Zone::new(fqdn("example.com"));
    (zone.soa_ttl, zone.soa_minimum) = (900, 120);
    let server = EmbeddedDns::start(vec![zone], from_map(records.clone())).unwrap();

    let Answer::Records(found) = ask(&server, "s1._domainkey.example.com", RecordType::TXT) else { panic!() };
    assert!(found.authoritative && found.answers[0].ttl == 60);
    let Answer::NxDomain(none) = ask(&server, "s2._domainkey.example.com", RecordType::TXT) else { panic!() };
    assert!(none.authoritative && none.ttl() == Some(120));
    assert!(matches!(ask(&server, "_domainkey.example.com", RecordType::TXT), Answer::NoData(_)), "RFC 8020");
    for (name, rtype) in
        [("example.com", RecordType::SOA), ("example.com", RecordType::NS), ("ns.example.com", RecordType::A)]
    {
        assert!(matches!(ask(&server, name, rtype), Answer::Records(_)), "{name} {rtype}");
    }
    assert_eq!(ask(&server, "elsewhere.test", RecordType::TXT), Answer::Rcode(ResponseCode::Refused));

    let long = "x".repeat(3000);
    records.write().unwrap().insert(fqdn("long.example.com"), vec![(60, Data::txt(long.as_str()))]);
    let Answer::Records(found) = ask(&server, "long.example.com", RecordType::TXT) else { panic!("over TCP") };
    let RData::TXT(txt) = &found.answers[0].data else { panic!() };
    assert_eq!(txt.txt_data.concat(), long.as_bytes());
}

#[test]
fn ends_when_dropped() {
    let server = EmbeddedDns::start(vec![Zone::new(fqdn("example.com"))], |_| Found::NoName).unwrap();
    let address = server.address();
    drop(server);
    assert!(UdpSocket::bind(address).is_ok() && TcpStream::connect(address).is_err());
}
