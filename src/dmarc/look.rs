//! Everything that DNS shows around a domain's DMARC record.

use dkimctl_state::name::Fqdn;
use dkimctl_state::record::dmarc::lint::Context;
use dkimctl_state::record::dmarc::org::{Step, authorization_name, tree_walk};
use dkimctl_state::record::dmarc::{looks_like_dmarc, read, record_name};
use dkimctl_state::record::txt::TxtText;

use crate::spf::resolver::{Data, Kind, QueryName, Reply, Resolver};

/// What was seen.
#[derive(Debug, Clone)]
pub struct Looked {
    /// `None` if the record itself could not be asked for.
    pub context: Option<Context>,
    /// What DNS did not tell, as sentences.
    pub unknown: Vec<String>,
}

/// Asks for the record, for the domains above, and for whom reports are sent to.
pub fn look(resolver: &dyn Resolver, domain: &Fqdn) -> Looked {
    let mut unknown = Vec::new();
    let Ok(name) = record_name(domain) else {
        return Looked { context: None, unknown: vec![format!("{domain} is too long for a DMARC record")] };
    };
    let Some(found) = texts(resolver, &name, &mut unknown) else {
        return Looked { context: None, unknown: vec![unknown.join("; ")] };
    };
    let mut context = Context { texts: found, ..Context::default() };
    context.apex = texts_or_none(resolver, domain, &mut unknown);
    let record = context.texts.iter().filter(|text| looks_like_dmarc(text)).find_map(|text| read(text).0);
    for host in record.iter().flat_map(|record| &record.aggregate).filter_map(|uri| uri.host()) {
        if let Some(Ok(name)) = authorization_name(domain, &host)
            && let Some(found) = texts(resolver, &name, &mut unknown)
        {
            context.authorizations.insert(name, found);
        }
        if let Some(takes) = takes_mail(resolver, &host, &mut unknown) {
            context.mail_hosts.insert(host, takes);
        }
    }
    let walk = tree_walk(domain, |_, name| match texts(resolver, name, &mut unknown) {
        None => Step::Unknown("DNS gave no answer".to_owned()),
        Some(texts) => {
            let mut records = texts.iter().filter(|text| looks_like_dmarc(text)).filter_map(|text| read(text).0);
            match (records.next(), records.next()) {
                (Some(record), None) => Step::Record(Box::new(record)),
                _ => Step::Nothing,
            }
        }
    });
    context.parent = walk.asked.iter().skip(1).find_map(|(_, step)| match step {
        Step::Record(record) => record.subdomains.or(record.policy),
        _ => None,
    });
    context.organizational = walk.organizational;
    unknown.sort();
    unknown.dedup();
    Looked { context: Some(context), unknown }
}

fn texts(resolver: &dyn Resolver, name: &Fqdn, unknown: &mut Vec<String>) -> Option<Vec<TxtText>> {
    let query = QueryName::parse(name.as_str())?;
    match resolver.ask(&query, Kind::Txt) {
        Reply::Found(data) => {
            let text = |data| if let Data::Txt { text, .. } = data { Some(text) } else { None };
            Some(data.into_iter().filter_map(text).collect())
        }
        Reply::Nothing { .. } => Some(Vec::new()),
        Reply::Failed(why) => {
            unknown.push(format!("{name}: {why}"));
            None
        }
    }
}

fn texts_or_none(resolver: &dyn Resolver, name: &Fqdn, unknown: &mut Vec<String>) -> Vec<TxtText> {
    texts(resolver, name, unknown).unwrap_or_default()
}

/// Whether a host has an MX or an address (RFC 5321 section 5.1); `None` if DNS did not say.
fn takes_mail(resolver: &dyn Resolver, host: &Fqdn, unknown: &mut Vec<String>) -> Option<bool> {
    let query = QueryName::parse(host.as_str())?;
    for kind in [Kind::Mx, Kind::A, Kind::Aaaa] {
        match resolver.ask(&query, kind) {
            Reply::Found(_) => return Some(true),
            Reply::Nothing { .. } => {}
            Reply::Failed(why) => {
                unknown.push(format!("{host}: {why}"));
                return None;
            }
        }
    }
    Some(false)
}
