//! Every sentence of this provider, and which of the API's error codes mean what.

use super::endpoints::ApiError;
use crate::ProviderError;
use crate::http::{Answer, Secret};

/// The token is missing, unreadable, unknown, or has no right to this: 1000 and 1001 (invalid token), 6003 with 6111
/// (unreadable header), 9106, 9107 and 9109 (missing, or no access to the resource), 10000 (authentication error).
const AUTH: [u64; 8] = [1000, 1001, 6003, 6111, 9106, 9107, 9109, 10000];
/// "Please wait and consider throttling your request speed".
const SLOWER: u64 = 971;
/// "Invalid TTL".
const TTL: u64 = 9021;
/// "Could not route to ...": no such zone for this token.
const NO_ZONE: [u64; 2] = [7000, 7003];

pub(super) fn explain(answer: &Answer, errors: &[ApiError], writing: bool, token: &Secret) -> ProviderError {
    let codes = flat(errors);
    let said = match errors {
        [] => format!("HTTP {}: {}", answer.status, answer.text()),
        errors => errors.iter().map(sentence).collect::<Vec<_>>().join("; "),
    };
    let said = token.scrub(&said);
    let any = |known: &[u64]| codes.iter().any(|code| known.contains(code));
    if any(&[SLOWER]) {
        return ProviderError::RateLimited { after: None };
    }
    if any(&AUTH) || matches!(answer.status, 401 | 403) {
        let right = if writing { "change records (Zone / DNS / Edit)" } else { "see this (Zone / Zone / Read)" };
        return ProviderError::Auth(format!(
            "Cloudflare does not let this token {right}: {said}; nothing was changed: make a token with Zone / DNS / \
             Edit and Zone / Zone / Read for just these zones, at dash.cloudflare.com/profile/api-tokens"
        ));
    }
    let code = codes.first().map_or_else(|| format!("HTTP {}", answer.status), u64::to_string);
    let next = if said.to_ascii_lowercase().contains("quota exceeded") {
        "the zone holds as many records as its plan allows (Free: 200, or 1,000 for zones from before September 2024; \
         paid: 3,500); delete what is no longer needed, or upgrade the zone"
    } else if any(&NO_ZONE) {
        "the zone is gone, or this token has no right to it; compare the token's zone list"
    } else if any(&[TTL]) {
        "Cloudflare takes 60 to 86,400 seconds; set `ttl` accordingly"
    } else {
        "nothing was changed"
    };
    ProviderError::Rejected { code, message: format!("Cloudflare refused: {said}; {next}") }
}

pub(super) fn sees_nothing() -> ProviderError {
    ProviderError::Auth(
        "Cloudflare accepts this token, but it sees no zone, so nothing can be published; give it Zone / Zone / Read and \
         Zone / DNS / Edit for the zones it is to serve, at dash.cloudflare.com/profile/api-tokens"
            .into(),
    )
}

fn sentence(error: &ApiError) -> String {
    let ApiError { code, message, error_chain } = error;
    let why: Vec<String> = error_chain.iter().map(sentence).collect();
    if why.is_empty() { format!("{message} ({code})") } else { format!("{message} ({code}): {}", why.join(", ")) }
}

/// All codes, the innermost first: they say what is really wrong.
fn flat(errors: &[ApiError]) -> Vec<u64> {
    errors.iter().flat_map(|error| flat(&error.error_chain).into_iter().chain([error.code])).collect()
}
