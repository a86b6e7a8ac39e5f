//! Every sentence of this provider, and what each kind of failure proves.

use std::error::Error;

use aws_sdk_route53::error::{ProvideErrorMetadata, SdkError};

use crate::ProviderError;

/// Why a call brought no result, by what it proves.
#[derive(Debug, Clone)]
pub(super) enum Failed {
    /// Refused for something in it; nothing was done.
    Refused(ProviderError),
    /// Nothing was done, and no other call would fare better.
    Fatal(ProviderError),
    /// It may or may not have been done.
    Unknown(String),
}

impl From<Failed> for ProviderError {
    /// For calls that only ask.
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(error) | Failed::Fatal(error) => error,
            Failed::Unknown(why) => ProviderError::Unreachable(why),
        }
    }
}

pub(super) fn explain<E, R>(error: &SdkError<E, R>) -> Failed
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug,
{
    match error {
        SdkError::ConstructionFailure(_) => Failed::Fatal(unreachable(&chain(error))),
        SdkError::DispatchFailure(failure) => {
            let why = chain(error);
            let lower = why.to_ascii_lowercase();
            if lower.contains("credential") || lower.contains("identity") {
                return Failed::Fatal(no_credentials(&why));
            }
            let unsent = ["refused", "dns error", "certificate", "connect error", "connect timeout"];
            if failure.is_user() || unsent.iter().any(|sign| lower.contains(sign)) {
                return Failed::Fatal(unreachable(&why));
            }
            Failed::Unknown(no_answer(&why))
        }
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Failed::Unknown(no_answer(&chain(error))),
        SdkError::ServiceError(service) => {
            let inner = service.err();
            refusal(inner.code().unwrap_or("no code"), inner.message().unwrap_or("no reason given"))
        }
        _ => Failed::Unknown(no_answer(&chain(error))),
    }
}

fn refusal(code: &str, said: &str) -> Failed {
    let rejected = |next: &str| ProviderError::Rejected {
        code: code.to_owned(),
        message: format!("Route 53 refused: {said}; {next}"),
    };
    match code {
        "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "PriorRequestNotComplete"
        | "TooManyRequests" => Failed::Fatal(ProviderError::RateLimited { after: None }),
        "AccessDenied" | "AccessDeniedException" | "NotAuthorizedException" => {
            Failed::Fatal(ProviderError::Auth(format!(
                "AWS knows these credentials, but they may not do this ({code}: {said}), so nothing was changed; attach the \
             policy of docs/providers/route53.md"
            )))
        }
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "AuthFailure"
        | "RequestExpired" => Failed::Fatal(ProviderError::Auth(format!(
            "AWS does not accept these credentials ({code}: {said}), so nothing was changed; renew them, and see that \
             the clock is right: a signature holds for five minutes"
        ))),
        "NoSuchHostedZone" => Failed::Fatal(rejected(
            "the zone is gone, or belongs to another account; compare `aws route53 list-hosted-zones`",
        )),
        "InvalidChangeBatch" | "InvalidInput" | "LimitsExceeded" => Failed::Refused(rejected("nothing was changed")),
        "InternalFailure" | "InternalError" | "ServiceUnavailable" => Failed::Unknown(format!(
            "Route 53 has trouble of its own ({code}: {said}): it may or may not have happened"
        )),
        _ => Failed::Refused(rejected("nothing was changed")),
    }
}

fn no_credentials(why: &str) -> ProviderError {
    ProviderError::Auth(format!(
        "no AWS credentials were found ({why}), so Route 53 was not asked; set AWS_PROFILE or the AWS_ACCESS_KEY_ID pair, \
         or run where a container or instance role gives them"
    ))
}

fn unreachable(why: &str) -> ProviderError {
    ProviderError::Unreachable(format!(
        "Route 53 cannot be reached ({why}), so nothing was changed; see that its name resolves here and that no firewall \
         is in between"
    ))
}

fn no_answer(why: &str) -> String {
    format!(
        "the call was sent to Route 53 and no answer came ({why}): it may or may not have happened; run the same command \
         again, it looks before it writes"
    )
}

pub(super) fn ambiguous(id: &str) -> ProviderError {
    ProviderError::Rejected {
        code: "ambiguous zone".into(),
        message: format!(
            "the account has several zones of this name and visibility ({id}), and only one of them is delegated to; name \
             it in `zone_ids`"
        ),
    }
}

/// The messages of an error and of what caused it, each once.
fn chain(error: &dyn Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        source = inner.source();
    }
    texts.join(": ")
}
