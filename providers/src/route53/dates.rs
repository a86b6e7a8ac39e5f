//! Reads the `Date` header of every answer: a second clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_route53::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_route53::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_route53::error::BoxError;
use chrono::DateTime;

/// Keeps the service's time minus ours, in seconds.
#[derive(Debug)]
pub(super) struct Dates(pub Arc<AtomicI64>);

impl Intercept for Dates {
    fn name(&self) -> &'static str {
        "dates"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(time) = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok()) {
            self.0.store(time.timestamp().saturating_sub(super::system_seconds()), Ordering::Relaxed);
        }
        Ok(())
    }
}
