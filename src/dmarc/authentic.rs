//! Whether a report's mail is from whom it says: a DKIM signature of the reporter that verifies (RFC 9990 section 5.1
//! asks reporters for mail that passes DMARC; reports are as easily forged as any mail otherwise).

use std::cell::OnceCell;
use std::collections::HashMap;

use dkimctl_state::lifecycle::staging::evidence::Trust;
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::dmarc::org::by_suffix_list;
use dkimctl_state::record::txt::TxtText;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, Txt};

use crate::signers::probe::{Records, ready};

mod results;

/// How key records are looked up: `Ok` with the texts at the name, or why nobody knows.
pub type Lookup<'a> = dyn Fn(&Fqdn) -> Result<Vec<TxtText>, String> + 'a;

/// Who a message is from, as far as it is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub trust: Trust,
    /// The organization that signed; `None` if nobody is proved.
    pub organization: Option<String>,
    /// Why it is not verified.
    pub why: Option<String>,
}

pub struct Authenticator<'a> {
    lookup: &'a Lookup<'a>,
    /// The servers whose Authentication-Results are believed.
    trusted: Vec<String>,
    /// Made when the first signature is to be verified: most runs see none.
    verifier: OnceCell<Option<MessageAuthenticator>>,
    cache: HashMap<Fqdn, Result<Vec<TxtText>, String>>,
}

/// Signatures of one message that are looked at.
const MOST_SIGNATURES: usize = 5;

impl<'a> Authenticator<'a> {
    pub fn new(lookup: &'a Lookup<'a>) -> Self {
        Authenticator { lookup, trusted: Vec::new(), verifier: OnceCell::new(), cache: HashMap::new() }
    }

    /// Believes what these servers wrote into messages (RFC 8601): the operator's own, which take such fields of others
    /// out of the mail that comes in.
    pub fn trusting(self, authserv_ids: &[String]) -> Self {
        Authenticator { trusted: authserv_ids.to_vec(), ..self }
    }

    /// Whether some signature verifies whose domain is of the same organization as the message's From.
    pub fn origin(&mut self, raw: &[u8]) -> Origin {
        match self.signer(raw) {
            Ok(organization) => {
                Origin { trust: Trust::Verified, organization: Some(organization.to_string()), why: None }
            }
            Err(why) => Origin { trust: Trust::Unverified, organization: None, why: Some(why) },
        }
    }

    fn signer(&mut self, raw: &[u8]) -> Result<Fqdn, String> {
        let message = AuthenticatedMessage::parse(raw).ok_or("its header cannot be read")?;
        let from = match message.from.as_slice() {
            [one] => one.rsplit_once('@').and_then(|(_, domain)| domain.parse().ok()).map(|name| organization(&name)),
            _ => None,
        };
        let from = from.ok_or("it has no single From address")?;
        if !self.trusted.is_empty() {
            let vouched = results::vouched(raw, &self.trusted).unwrap_or_default();
            if vouched.iter().any(|domain| organization(domain) == from) {
                return Ok(from);
            }
        }
        if message.dkim_headers.is_empty() {
            return Err("it carries no DKIM signature".to_owned());
        }
        let mut records = HashMap::new();
        let mut why = format!("no signature is of {from}");
        for header in message.dkim_headers.iter().take(MOST_SIGNATURES) {
            let signature = &header.header;
            let aligned = signature.d.parse::<Fqdn>().is_ok_and(|domain| organization(&domain) == from);
            let Ok(name) = format!("{}._domainkey.{}", signature.s, signature.d).parse::<Fqdn>() else { continue };
            if !aligned {
                continue;
            }
            match self.key(&name) {
                Ok(texts) => match texts.first() {
                    Some(text) => {
                        let key = DomainKey::parse(text.as_bytes()).map_or_else(Txt::Error, Txt::from);
                        records.insert(format!("{name}."), key);
                    }
                    None => why = format!("there is no key at {name}"),
                },
                Err(unknown) => why = format!("the key at {name} could not be looked up: {unknown}"),
            }
        }
        if records.is_empty() {
            return Err(why);
        }
        // An empty resolver configuration: it has nobody to ask, and everything was looked up beforehand.
        let make = || MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default()).ok();
        let verifier = self.verifier.get_or_init(make).as_ref().ok_or("signatures cannot be verified here")?;
        let records = Records(records);
        let outputs = ready(verifier.verify_dkim(Parameters::new(&message).with_txt_cache(&records)))
            .ok_or("it asks for more than its key records")?;
        for output in &outputs {
            let Some(signature) = output.signature() else { continue };
            let aligned = signature.d.parse::<Fqdn>().is_ok_and(|domain| organization(&domain) == from);
            match output.result() {
                // RFC 6376 section 8.2: with l= anything may have been appended.
                DkimResult::Pass if aligned && signature.l == 0 => return Ok(from),
                DkimResult::Pass => {}
                DkimResult::Fail(error)
                | DkimResult::Neutral(error)
                | DkimResult::PermError(error)
                | DkimResult::TempError(error)
                    if aligned =>
                {
                    why = format!("its signature of {} does not verify: {error}", signature.d);
                }
                _ => {}
            }
        }
        Err(why)
    }

    fn key(&mut self, name: &Fqdn) -> Result<Vec<TxtText>, String> {
        // Reporters are few; who sends more names than this sends them to fill the memory.
        if self.cache.len() > 4096 {
            self.cache.clear();
        }
        let lookup = self.lookup;
        self.cache.entry(name.clone()).or_insert_with(|| lookup(name)).clone()
    }
}

fn organization(name: &Fqdn) -> Fqdn {
    by_suffix_list(name).unwrap_or_else(|| name.clone())
}

#[cfg(test)]
#[path = "authentic_tests.rs"]
mod tests;
