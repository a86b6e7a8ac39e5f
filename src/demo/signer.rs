//! OpenDKIM's tables without OpenDKIM: the one thing beside the clock that is not the real one here.

use std::path::Path;

use dkimctl_state::lifecycle::seen::Answer as Served;
use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::time::Time;
use mail_auth::common::crypto::{Algorithm, Sha256, SigningKey};
use mail_auth::common::headers::{HeaderWriter, Writable};
use mail_auth::dkim::DkimSigner;

use super::DemoError;
use crate::files::read_private;
use crate::host::settings::HostSettings;
use crate::keygen::PrivateKey;
use crate::observe::Sweeper;
use crate::signers::milter::{Answer, Header, Message};
use crate::signers::opendkim::{OpenDkim, OpenDkimError};
use crate::signers::probe::{self, Expected, KeyLookup, Probed, Verdict};
use crate::signers::{self, KeyName, LoadedKey, Rows, Signer, SignerError, safekeys};

/// A message that was signed and verified.
#[derive(Debug, Clone)]
pub struct Proof {
    pub selector: String,
    /// The signature's header, as it stood on the message.
    pub header: String,
}

/// The real tables, and a signature made in this process.
pub struct DemoSigner {
    tables: OpenDkim,
    now: Time,
}

impl DemoSigner {
    pub fn open(host: &HostSettings, now: Time) -> Result<Self, OpenDkimError> {
        let signers::Settings::OpenDkim(tables) = host.signer.clone() else {
            unreachable!("the demonstration writes the configuration of an OpenDKIM")
        };
        Ok(DemoSigner { tables: OpenDkim::open(tables)?, now })
    }

    /// Signs as the tables say, and verifies with what the name server serves.
    pub fn prove(&self, domain: &SigningDomain, sweeper: &dyn Sweeper) -> Result<Proof, DemoError> {
        let probed = self.probe(domain);
        let rows = self.rows().map_err(|error| DemoError::Step(error.to_string()))?;
        let signing = rows.signing(domain).first().and_then(|name| rows.loaded.get(name));
        let selector = signing.and_then(|loaded| loaded.selector.clone());
        let selector = selector.ok_or_else(|| DemoError::Stuck("no key signs".to_owned()))?;
        let lookup = |name: &Fqdn| match sweeper.sweep(std::slice::from_ref(name), self.now).pop() {
            Some(sweep) => match sweep.answers.into_iter().map(|answer| answer.answer).next() {
                Some(Served::Txt { texts, .. }) if texts.len() == 1 => KeyLookup::Found(texts[0].clone()),
                Some(Served::Absent) => KeyLookup::Missing,
                _ => KeyLookup::Unknown("the name server did not answer".to_owned()),
            },
            None => KeyLookup::Missing,
        };
        let expected = [Expected { selector: selector.clone(), key: None }];
        let why = match probe::judge(&probed, domain, &expected, &lookup).pop() {
            Some(Verdict::Right) => {
                let Answer::Passed(headers) = probed.answer else {
                    return Err(DemoError::Stuck("unsigned".to_owned()));
                };
                let header = headers.first().map(|header| header.value.trim().to_owned()).unwrap_or_default();
                return Ok(Proof { selector: selector.to_string(), header });
            }
            Some(Verdict::Wrong { seen }) => seen,
            Some(Verdict::Unknown { why }) => why,
            None => "nothing was judged".to_owned(),
        };
        Err(DemoError::Unverified { selector: selector.to_string(), why })
    }

    fn sign(&self, domain: &SigningDomain, message: &Message) -> Result<Vec<Header>, String> {
        let rows = self.rows().map_err(|error| error.to_string())?;
        let mut headers = Vec::new();
        for name in rows.signing(domain) {
            let loaded = rows.loaded.get(name).ok_or("the SigningTable names a key that the KeyTable does not have")?;
            let (Some(path), Some(selector)) = (&loaded.path, &loaded.selector) else {
                return Err(format!("the row of {name} is incomplete"));
            };
            let pem = read_private(path).map_err(|error| error.to_string())?;
            let key = PrivateKey::from_pem(&*pem).map_err(|error| error.to_string())?;
            let signer = DkimSigner::from_key(TableKey(key))
                .domain(domain.as_str())
                .selector(selector.as_str())
                .headers(["From", "To", "Subject", "Date", "Message-ID"]);
            let signature = signer.sign(&octets(message)).map_err(|error| error.to_string())?;
            let text = signature.to_header();
            let value = text.strip_prefix("DKIM-Signature:").unwrap_or(&text).trim_end().to_owned();
            headers.push(Header { name: "DKIM-Signature".to_owned(), value });
        }
        Ok(headers)
    }
}

/// A key that the tables name.
struct TableKey(PrivateKey);

impl SigningKey for TableKey {
    type Hasher = Sha256;

    fn sign(&self, input: impl Writable) -> mail_auth::Result<Vec<u8>> {
        let mut octets = Vec::new();
        input.write(&mut octets);
        Ok(self.0.sign(&octets))
    }

    fn algorithm(&self) -> Algorithm {
        Algorithm::RsaSha256
    }
}

fn octets(message: &Message) -> Vec<u8> {
    let mut octets = Vec::new();
    for Header { name, value } in &message.headers {
        octets.extend(format!("{name}:{value}\r\n").into_bytes());
    }
    octets.extend(b"\r\n");
    octets.extend(&message.body);
    octets
}

impl Signer for DemoSigner {
    fn name(&self) -> &'static str {
        self.tables.name()
    }

    fn rows(&self) -> Result<Rows, SignerError> {
        self.tables.rows()
    }

    fn load(&self, keys: &[LoadedKey]) -> Result<bool, SignerError> {
        self.tables.load(keys)
    }

    fn sign_with(&self, domains: &[(SigningDomain, Vec<KeyName>)]) -> Result<bool, SignerError> {
        self.tables.sign_with(domains)
    }

    fn unload(&self, keys: &[KeyName]) -> Result<bool, SignerError> {
        self.tables.unload(keys)
    }

    fn reload(&self) -> Result<(), SignerError> {
        self.tables.reload()
    }

    fn probe(&self, domain: &SigningDomain) -> Probed {
        let message = probe::message(domain, self.now);
        let answer = match self.sign(domain, &message) {
            Ok(headers) => Answer::Passed(headers),
            Err(why) => Answer::NoAnswer { why },
        };
        Probed { message, answer }
    }

    /// No OpenDKIM opens these keys, and the directory may lie below one that an OpenDKIM would not trust.
    fn accepts(&self, _path: &Path) -> Result<(), Vec<safekeys::Problem>> {
        Ok(())
    }
}
