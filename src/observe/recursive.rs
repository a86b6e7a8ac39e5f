//! Recursive resolvers: where they are, and what they see once all authoritative servers agree.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use dkimctl_providers::wire;
use dkimctl_state::lifecycle::seen::{Answer, ServerAnswer, Sweep};
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::Time;
use hickory_proto::rr::{RData, RecordType};

use super::{Batches, Config, ask_batches, from_name, nothing_yet, question, why_unknown};

/// Asks each configured resolver for each name. Only for names that every authoritative server serves already:
/// before that the question itself does harm, for its answer is remembered.
pub fn check_recursives(config: &Config, names: &[Fqdn], at: Time) -> Vec<Sweep> {
    let mut sweeps: Vec<Sweep> = names.iter().map(|_| nothing_yet(at)).collect();
    let questions = || names.iter().map(|name| question(name, RecordType::TXT)).enumerate().collect();
    let batches: Batches<usize> = config.resolvers.iter().map(|&resolver| (resolver, questions())).collect();
    let options = wire::Options { recursion: true, ..config.options };
    for (server, index, answer) in ask_batches(batches, options) {
        let sweep = &mut sweeps[index];
        let answer = read(&answer, sweep);
        sweep.answers.push(ServerAnswer { server: server.to_string(), answer });
    }
    sweeps.iter_mut().for_each(|sweep| sweep.answers.sort_by(|a, b| a.server.cmp(&b.server)));
    sweeps
}

/// A resolver gives the whole chain of aliases and what stands at its end.
fn read(answer: &wire::Answer, sweep: &mut Sweep) -> Answer {
    match answer {
        wire::Answer::Records(records) => {
            let (mut ttl, mut texts) = (0, Vec::new());
            for record in &records.answers {
                match &record.data {
                    RData::TXT(txt) => {
                        ttl = record.ttl.max(ttl);
                        texts.push(TxtText::join(txt.txt_data.iter().map(|chunk| &**chunk)));
                    }
                    RData::CNAME(target) => {
                        let longest = sweep.cname.as_ref().map_or(record.ttl, |(_, ttl)| record.ttl.max(*ttl));
                        sweep.cname = from_name(&target.0).map(|target| (target, longest)).or(sweep.cname.take());
                    }
                    _ => {}
                }
            }
            texts.sort();
            if texts.is_empty() { Answer::Absent } else { Answer::Txt { ttl, texts } }
        }
        wire::Answer::NxDomain(negative) | wire::Answer::NoData(negative) => {
            sweep.negative_ttl = sweep.negative_ttl.max(negative.ttl());
            Answer::Absent
        }
        other => Answer::Unknown(why_unknown(other)),
    }
}

/// The resolvers of this host (resolv.conf(5)); none if the file cannot be read.
pub fn system_resolvers() -> Vec<SocketAddr> {
    parse_resolv_conf(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

pub(super) fn parse_resolv_conf(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, 53))
    };
    text.lines().filter_map(address).collect()
}
