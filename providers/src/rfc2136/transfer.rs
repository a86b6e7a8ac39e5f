//! The names of a zone, by a zone transfer (RFC 5936) that is asked for with the key.
//!
//! A server that allows no transfer lists nothing, which is no error. What comes is only looked at, and nothing is
//! written because of it, so the signatures of the answer are not verified.

use std::collections::BTreeSet;

use dkimctl_state::name::Fqdn;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{RData, RecordType};

use super::Rfc2136;
use crate::ProviderError;
use crate::wire::{self, from_name, to_name};

impl Rfc2136 {
    /// Every name of the zone at which TXT stands; `None` when the server does not let us see them.
    pub(super) fn transfer(&self, zone: &Fqdn) -> Result<Option<Vec<Fqdn>>, ProviderError> {
        let mut question = Message::query();
        question.add_query(Query::query(to_name(zone), RecordType::AXFR));
        let garbled = |what: &dyn std::fmt::Display| self.no_connection(&format!("the transfer is no DNS: {what}"));
        let mut question = question.to_vec().map_err(|error| garbled(&error))?;
        self.config.key.sign(&mut question, (self.now)().max(0) as u64).map_err(ProviderError::Auth)?;
        let mut stream = self.connect()?;
        let lost = |error: std::io::Error| self.no_connection(&error.to_string());
        wire::send_message(&mut stream, &question, self.config.timeout).map_err(lost)?;
        // It begins and ends with the SOA record (RFC 5936 section 2.2).
        let (mut names, mut ends) = (BTreeSet::new(), 0);
        while ends < 2 {
            let answer = wire::receive_message(&mut stream, self.config.timeout).map_err(lost)?;
            let answer = Message::from_vec(&answer).map_err(|error| garbled(&error))?;
            match answer.response_code {
                ResponseCode::NoError => {}
                ResponseCode::Refused | ResponseCode::NotAuth | ResponseCode::NotImp => return Ok(None),
                code => return Err(self.query_failed(zone, code)),
            }
            if answer.answers.is_empty() {
                return Err(garbled(&"a message without records"));
            }
            for record in &answer.answers {
                match &record.data {
                    RData::SOA(_) => ends += 1,
                    RData::TXT(_) => names.extend(from_name(&record.name)),
                    _ => {}
                }
            }
        }
        Ok(Some(names.into_iter().collect()))
    }
}
