//! What the hosts with an HTTP API share: one client, one pace, and answers told apart by what they prove.
//!
//! A call that was never sent did not happen; one that was sent and not answered may have happened. Nothing here
//! sends a call twice unless the host said that it did not take it.

use std::fmt;
use std::io::Read;
use std::sync::Once;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use dkimctl_state::time::Time;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect;
use zeroize::Zeroizing;

use crate::ProviderError;
use crate::pace::Pace;

pub use reqwest::Method;

/// No answer of a DNS host is longer; what is, is not from one.
const LONGEST: u64 = 64 << 20;

/// A token or an API key. Never shown; wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: &str) -> Self {
        Secret(Zeroizing::new(text.trim().to_owned()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without this secret, for what a host says and we print.
    pub(crate) fn scrub(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(self.0.as_str(), "[secret]") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// One host's API.
pub(crate) struct Http {
    client: Client,
    pace: Pace,
    /// What the host is called in sentences.
    host: String,
    /// The host's time minus ours in its last answer, in seconds; `i64::MIN` before there was one.
    ahead: AtomicI64,
}

/// An answer of any status but 429.
pub(crate) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It was not sent, or the host says that it did not take it: nothing happened.
    Nothing(ProviderError),
    /// It was sent, and may have happened.
    Unknown(String),
}

impl From<Silence> for ProviderError {
    /// For calls that only ask.
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::Nothing(error) => error,
            Silence::Unknown(why) => ProviderError::Unreachable(why),
        }
    }
}

impl Http {
    /// `base` is only looked at for its scheme: without TLS no root certificates are needed.
    pub fn new(host: &str, base: &str, timeout: Duration, pace: Pace) -> Result<Self, ProviderError> {
        static STACK: Once = Once::new();
        // An error means that the program has chosen one already.
        STACK.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
        let client = Client::builder()
            .user_agent(concat!("dkimctl/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .tls_built_in_native_certs(!base.starts_with("http://"))
            // A token follows no redirect.
            .redirect(redirect::Policy::none())
            .build();
        let client = client.map_err(|error| {
            ProviderError::Unreachable(format!(
                "no HTTPS client can be made ({}), so {host} cannot be asked; install the system's root certificates \
                 (package ca-certificates)",
                chain(&error)
            ))
        })?;
        Ok(Http { client, pace, host: host.to_owned(), ahead: AtomicI64::new(i64::MIN) })
    }

    /// Sends one call, as often as the host says 429, and no more.
    pub fn send(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&'static str, String)],
        body: Option<&str>,
    ) -> Result<Answer, Silence> {
        loop {
            self.pace.wait();
            let request = dress(self.client.request(method.clone(), url), headers, body);
            let response = request.send().map_err(|error| self.silence(error))?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            self.note_time(&headers);
            if status == 429 {
                self.pace.refused(retry_after(&headers)).map_err(Silence::Nothing)?;
                continue;
            }
            self.pace.answered();
            if let Some(time) = exhausted(&headers) {
                self.pace.hold(time);
            }
            let mut body = Vec::new();
            response.take(LONGEST).read_to_end(&mut body).map_err(|error| self.no_answer(&error.to_string()))?;
            return Ok(Answer { status, body });
        }
    }

    /// The host's time by its last `Date` header.
    pub fn clock(&self) -> Option<Time> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        (ahead != i64::MIN).then(|| Time::from_unix(system_seconds().saturating_add(ahead)))
    }

    #[cfg(feature = "powerdns")]
    pub fn host(&self) -> &str {
        &self.host
    }

    fn note_time(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        if let Some(time) = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok()) {
            self.ahead.store(time.timestamp().saturating_sub(system_seconds()), Ordering::Relaxed);
        }
    }

    fn silence(&self, error: reqwest::Error) -> Silence {
        let error = error.without_url();
        if error.is_connect() || error.is_builder() {
            return Silence::Nothing(ProviderError::Unreachable(format!(
                "{} cannot be reached ({}), so nothing was changed; see that its name resolves here and that no \
                 firewall or proxy is in between",
                self.host,
                chain(&error)
            )));
        }
        self.no_answer(&chain(&error))
    }

    fn no_answer(&self, why: &str) -> Silence {
        Silence::Unknown(format!(
            "the call was sent to {} and no answer came ({why}): it may or may not have happened; run the same command \
             again, it looks before it writes",
            self.host
        ))
    }
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().filter(|c| !c.is_control()).take(300).collect()
    }
}

fn dress(request: RequestBuilder, headers: &[(&'static str, String)], body: Option<&str>) -> RequestBuilder {
    let request = headers.iter().fold(request, |request, (name, value)| match HeaderValue::from_str(value) {
        Ok(mut value) => {
            value.set_sensitive(true);
            request.header(*name, value)
        }
        // A token with a line break in it; the host will say that there is none.
        Err(_) => request,
    });
    match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_owned()),
        None => request,
    }
}

/// Seconds or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?.timestamp();
    Some(Duration::from_secs(u64::try_from(until.saturating_sub(system_seconds())).unwrap_or(0)))
}

/// How long nothing is left: `Ratelimit: "default";r=0;t=30` (draft-ietf-httpapi-ratelimit-headers).
fn exhausted(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("ratelimit")?.to_str().ok()?;
    let wait = |item: &str| {
        let value = |key: &str| item.split(';').find_map(|part| part.trim().strip_prefix(key)?.parse::<u64>().ok());
        (value("r=")? == 0).then(|| value("t="))?
    };
    text.split(',').filter_map(wait).max().map(Duration::from_secs)
}

fn system_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("host", &self.host).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_allowance_is_read_from_the_header() {
        let headers =
            |text: &'static str| HeaderMap::from_iter([("ratelimit".parse().unwrap(), HeaderValue::from_static(text))]);
        assert_eq!(exhausted(&headers("\"default\";r=50;t=30")), None);
        assert_eq!(exhausted(&headers("\"default\";r=0;t=30")), Some(Duration::from_secs(30)));
        assert_eq!(exhausted(&headers("\"burst\";r=0;t=2, \"default\";r=0;t=41")), Some(Duration::from_secs(41)));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new(" canary-1234\n");
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(secret.scrub("token canary-1234 is bad"), "token [secret] is bad");
    }
}
