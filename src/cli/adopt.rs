use std::collections::BTreeMap;
use std::path::PathBuf;

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::Key;
use dkimctl_state::lifecycle::seen::{Answer, Sweep, View};
use dkimctl_state::name::{Fqdn, Label, Selector, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, PublicKey, key_in};
use dkimctl_state::record::txt::TxtText;

use super::error::{Error, Exit};
use super::machine::{Looker, WriteState};
use super::shell::Shell;
use super::{drive, request};
use crate::files;
use crate::keygen::PrivateKey;
use crate::report::run::RunReport;
use crate::vault::{AgeVault, Vault as _};

/// Take over a selector that already signs
///
/// The private key and the live record are verified against each other: every name server has to show the key's public
/// half. The key is sealed, and from then on rotated like any other.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl adopt example.com --selector mail --key /etc/opendkim/keys/example.com/mail.private")]
pub struct Args {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
    /// The selector that signs
    #[arg(long, value_name = "SELECTOR")]
    selector: Selector,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let settings = shell.one(&config, &args.domain)?;
    let key = PrivateKey::from_pem(&*files::read_private(&args.key)?)
        .map_err(|error| Error::new(format!("{}: {error}", args.key.display())))?;
    if key.algorithm() == Algorithm::Rsa && is_short(&key) {
        let sentence = "the RSA key is shorter than 2048 bits (RFC 8301 section 3.2); rotate soon";
        shell.warn(sentence);
    }
    let looker = Looker::new(&config, &[&settings])?;
    let name = args.selector.record_name(&args.domain);
    let at = shell.now();
    let names = BTreeMap::from([(name.clone(), settings.providers.clone())]);
    let seen = looker.look(&names, at, settings.policy.clock_tolerance);
    compare(&name, seen.sweep(&name), key.public())?;

    let mut state = WriteState::open(shell, &config, "adopt")?;
    let vault = AgeVault::open(&config.state, config.secrets.all_recipients()?)?;
    let sealed = vault.adopt(&key)?;
    let holds = |provider: &&Label| {
        let texts = seen.view(&name, provider).map(View::texts).unwrap_or_default();
        texts.iter().any(|text| key_in(text).as_ref() == Some(key.public()))
    };
    let fact = Fact::Adopted {
        key: Key {
            fingerprint: key.fingerprint(),
            selector: args.selector.clone(),
            algorithm: sealed.algorithm,
            public: sealed.public,
            adopted_text: as_it_stands(seen.sweep(&name)),
            sealed: at,
            blob_sha256: sealed.blob_sha256,
            record_at: settings.providers.iter().filter(holds).map(|provider| (provider.clone(), at)).collect(),
            delivered: BTreeMap::new(),
            wiped: BTreeMap::new(),
            shredded: None,
        },
    };
    request::commit(shell, &mut state.store, &args.domain, vec![fact])?;
    shell.say(format_args!("{}: {} key taken over", args.selector, key.algorithm()));
    let mut report = RunReport::default();
    drive::once(shell, &config, &mut state, &[settings], &mut report)?;
    drive::tell(shell, &config, &report)
}

/// Every name server shows this key, and nothing else.
fn compare(name: &Fqdn, sweep: Option<&Sweep>, key: &PublicKey) -> Result<(), Error> {
    let answers = sweep.map(|sweep| sweep.answers.as_slice()).unwrap_or_default();
    if answers.is_empty() {
        return Err(Error::new(format!("{name}: no name server could be asked, so nothing was taken over")));
    }
    for answer in answers {
        let wrong = match &answer.answer {
            Answer::Txt { texts, .. } => match texts.as_slice() {
                [text] if key_in(text).as_ref() == Some(key) => continue,
                [text] if key_in(text).is_some() => "it shows another key than the file's".to_owned(),
                [_] => "what it shows is no key record".to_owned(),
                several => format!("it shows {} records, and verifiers take none of them", several.len()),
            },
            Answer::Absent => "it shows no record".to_owned(),
            Answer::Unknown(why) => format!("it could not be asked: {why}"),
        };
        return Err(Error::new(format!("{name} at {}: {wrong}; nothing was taken over", answer.server)));
    }
    Ok(())
}

/// The record as the servers show it; another tool may have written it with other tags than ours.
fn as_it_stands(sweep: Option<&Sweep>) -> Option<TxtText> {
    sweep?.answers.iter().find_map(|answer| match &answer.answer {
        Answer::Txt { texts, .. } => texts.first().cloned(),
        _ => None,
    })
}

/// The SPKI of an RSA key of 2048 bits has 294 octets (RFC 8017 appendix A.1.1).
fn is_short(key: &PrivateKey) -> bool {
    key.public().as_bytes().len() < 290
}
