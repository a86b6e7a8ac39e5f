//! Every sentence of this provider: what was seen, why it matters, what to do next. None holds the secret.

use super::*;

impl Rfc2136 {
    fn server(&self) -> &str {
        &self.config.server
    }

    pub(super) fn no_address(&self, why: &dyn fmt::Display) -> ProviderError {
        ProviderError::Unreachable(format!(
            "the name server `{}` has no address here ({why}), so nothing was asked or sent; `server` takes HOST:PORT, \
             and an address does as well as a name",
            self.server()
        ))
    }

    pub(super) fn no_connection(&self, why: &str) -> ProviderError {
        ProviderError::Unreachable(format!(
            "the name server {} cannot be reached ({why}), so nothing was changed; see that it runs, listens there on \
             UDP and TCP, and that no firewall is in between",
            self.server()
        ))
    }

    pub(super) fn no_answer(&self, error: &io::Error) -> String {
        format!(
            "the change was sent to {} and no answer came ({error}): it may or may not have happened; run the same \
             command again, it looks before it writes",
            self.server()
        )
    }

    pub(super) fn distrusted(&self, why: &str) -> String {
        format!(
            "the answer of {} is no proof: {why} (RFC 8945 section 5.3); something between here and there may alter \
             messages; run the same command again, it looks before it writes",
            self.server()
        )
    }

    pub(super) fn bad_key(&self) -> ProviderError {
        let Key { name, algorithm, .. } = &self.config.key;
        ProviderError::Auth(format!(
            "{} does not know a TSIG key `{name}` of {algorithm} (BADKEY), so it changes nothing for us; compare name \
             and algorithm with the `key` statement there",
            self.server()
        ))
    }

    pub(super) fn bad_signature(&self) -> ProviderError {
        ProviderError::Auth(format!(
            "{} knows the TSIG key `{}`, but with another secret (BADSIG), so it changes nothing for us; copy the \
             secret again, whole, in base64",
            self.server(),
            self.config.key.name
        ))
    }

    pub(super) fn bad_time(&self, server: i64, ours: i64) -> ProviderError {
        let (there, here) = (Time::from_unix(server), Time::from_unix(ours));
        ProviderError::Auth(format!(
            "the clocks differ: it is {there} at {} and {here} here (BADTIME), and signatures allow {} seconds; set \
             the wrong one, for every wait depends on ours",
            self.server(),
            message::FUDGE
        ))
    }

    pub(super) fn not_primary(&self, zone: &Fqdn, code: ResponseCode) -> ProviderError {
        rejected(
            code,
            format!(
                "{} is not the primary server of `{zone}`, so it cannot change it; name the primary in `server`, and \
                 the zone itself, not a name below it, in `zones`",
                self.server()
            ),
        )
    }

    pub(super) fn not_authoritative(&self, zone: &Fqdn) -> ProviderError {
        rejected(
            ResponseCode::NotAuth,
            format!(
                "{} does not answer for `{zone}` with authority, so what stands there is unknown; see that the zone is \
                 loaded there, and that this address may ask for it",
                self.server()
            ),
        )
    }

    pub(super) fn query_failed(&self, name: &Fqdn, code: ResponseCode) -> ProviderError {
        rejected(
            code,
            format!(
                "{} does not tell what stands at `{name}`, and unknown is not absent; the reason is in its log",
                self.server()
            ),
        )
    }

    pub(super) fn update_refused(&self, zone: &Fqdn, code: ResponseCode) -> ProviderError {
        let (server, key) = (self.server(), &self.config.key.name);
        let message = match code {
            ResponseCode::Refused => format!(
                "{server} does not let the key `{key}` change this name in `{zone}`; grant it in the zone's \
                 update-policy (docs/providers/rfc2136.md has the three lines)"
            ),
            ResponseCode::NotZone => {
                format!("{server} says that the name is not in `{zone}`; a zone below it may have been delegated")
            }
            ResponseCode::ServFail => format!(
                "{server} failed to change `{zone}`; often its journal cannot be written (a full disk, a directory \
                 that is not its own): the reason is in its log"
            ),
            _ => format!("{server} refused the change of `{zone}`; the reason is in its log"),
        };
        rejected(code, message)
    }

    pub(super) fn too_long(&self) -> ProviderError {
        ProviderError::Rejected {
            code: "too long".into(),
            message:
                "the change does not fit a DNS message of 65,535 octets; the values at this name must shrink first"
                    .into(),
        }
    }
}

fn rejected(code: ResponseCode, message: String) -> ProviderError {
    let code = match code {
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        ResponseCode::NotZone => "NOTZONE".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        other => format!("RCODE {}", u16::from(other)),
    };
    ProviderError::Rejected { code, message }
}
