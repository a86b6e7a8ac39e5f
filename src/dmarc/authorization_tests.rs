use std::sync::Arc;

use dkimctl_providers::DnsProvider;
use dkimctl_providers::memory::Memory;
use dkimctl_state::lifecycle::seen::{ServerAnswer, Sweep};
use dkimctl_state::store::memory::MemoryStore;

use super::*;

/// Name servers, each with its answer for every name.
struct Servers(Vec<Answer>);

impl Sweeper for Servers {
    fn sweep(&self, names: &[Fqdn], at: Time) -> Vec<Sweep> {
        let answer = |answer: &Answer| ServerAnswer { server: "ns".to_owned(), answer: answer.clone() };
        let answers: Vec<ServerAnswer> = self.0.iter().map(answer).collect();
        names.iter().map(|_| Sweep { at, answers: answers.clone(), negative_ttl: None, cname: None }).collect()
    }
}

struct Bench {
    host: Arc<Memory>,
    dns: Dns,
    servers: Servers,
    store: MemoryStore,
    name: Fqdn,
}

impl Bench {
    fn new() -> Bench {
        let zone: Fqdn = "reports.test".parse().unwrap();
        let host = Arc::new(Memory::new(&[zone], 7, || Time::from_unix(0)));
        let provider: Box<dyn DnsProvider> = Box::new(Arc::clone(&host));
        let dns = Dns::new(BTreeMap::from([("here".parse().unwrap(), provider)]));
        let name = "example.com._report._dmarc.in.reports.test".parse().unwrap();
        let servers = Servers(vec![Answer::Absent]);
        Bench { host, dns, servers, store: MemoryStore::new(uuid::Uuid::nil()).with_events(), name }
    }

    fn ensure(&mut self, record: &str) -> Vec<PolicyChange> {
        let record = DmarcRecord::parse(&record.into()).unwrap();
        let holders = |host: &Fqdn| match host.as_str().ends_with("reports.test") {
            true => vec!["here".parse().unwrap()],
            false => vec![],
        };
        let acting = Acting { by: "alice", now: Time::from_unix(60), ttl: 300 };
        let domain = "example.com".parse().unwrap();
        let hosts = Hosts { dns: &self.dns, servers: &self.servers };
        let changed = ensure(hosts, &mut self.store, &domain, Some(&record), &holders, &acting).unwrap();
        changed.into_iter().map(|changed| changed.change).collect()
    }

    fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.host.at(&self.name).texts().map(ToString::to_string).collect();
        texts.sort();
        texts
    }
}

const THERE: &str = "v=DMARC1; p=none; rua=mailto:d@in.reports.test,mailto:x@vendor.example,mailto:own@example.com";
const ELSEWHERE: &str = "v=DMARC1; p=none; rua=mailto:own@mail.example.com";

#[test]
fn leave_is_given_where_the_zone_is_ours_and_taken_back() {
    let mut bench = Bench::new();
    bench.host.edit_txt(&bench.name, 600, &["somebody's token"]);
    assert_eq!(bench.ensure(THERE), [PolicyChange::Written]);
    assert_eq!(bench.texts(), ["somebody's token", "v=DMARC1"]);
    let writes = bench.host.calls().writes;
    assert_eq!(bench.ensure(THERE), []);
    assert_eq!(bench.host.calls().writes, writes, "twice is once");
    assert_eq!(bench.ensure(ELSEWHERE), [PolicyChange::Removed]);
    assert_eq!(bench.texts(), ["somebody's token"]);
    let log = bench.store.events(None, 0, 10).unwrap();
    let log: Vec<String> = log.iter().map(|logged| serde_json::to_string(&logged.event.fact).unwrap()).collect();
    assert_eq!(log.len(), 2);
    assert!(log[1].contains("\"change\":\"removed\"") && log[1].contains(bench.name.as_str()), "{}", log[1]);
}

#[test]
fn what_others_gave_stays_theirs() {
    for theirs in [&["v=DMARC1"][..], &["v=DMARC1; rua=mailto:other@in.reports.test", "token"]] {
        let mut bench = Bench::new();
        bench.host.edit_txt(&bench.name, 600, theirs);
        let before = bench.texts();
        assert_eq!(bench.ensure(THERE), []);
        assert_eq!(bench.ensure(ELSEWHERE), []);
        assert_eq!(bench.texts(), before);
    }
    // What we wrote and somebody made longer is theirs as well.
    let mut bench = Bench::new();
    assert_eq!(bench.ensure(THERE), [PolicyChange::Written]);
    bench.host.edit_txt(&bench.name, 600, &["v=DMARC1; rua=mailto:other@in.reports.test"]);
    assert_eq!(bench.ensure(THERE), []);
    assert_eq!(bench.ensure(ELSEWHERE), []);
    assert_eq!(bench.texts(), ["v=DMARC1; rua=mailto:other@in.reports.test"]);
}

#[test]
fn a_leave_for_everybody_does_as_well() {
    let wild = || Answer::Txt { ttl: 300, texts: vec!["token".into(), "v=DMARC1;".into()] };
    for (servers, enough) in [
        (vec![wild(), wild()], true),
        // Some reporters would ask the one that does not show it.
        (vec![wild(), Answer::Absent], false),
        (vec![wild(), Answer::Unknown("timeout".to_owned())], false),
        (vec![], false),
    ] {
        let mut bench = Bench::new();
        bench.servers = Servers(servers.clone());
        assert_eq!(bench.ensure(THERE).is_empty(), enough, "{servers:?}");
        assert_eq!(bench.texts().is_empty(), enough);
        assert_eq!(bench.ensure(ELSEWHERE).is_empty(), enough);
        assert!(bench.texts().is_empty(), "only what we wrote is taken back");
    }
}
