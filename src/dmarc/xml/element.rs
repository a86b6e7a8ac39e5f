//! The elements of the schema (RFC 9990 appendix A), and which may stand in which.

use super::record;

/// The elements of the schema, by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum El {
    Feedback,
    Metadata,
    OrgName,
    Email,
    ReportId,
    ReporterError,
    Range,
    Begin,
    End,
    Policy,
    Domain,
    P,
    Sp,
    Np,
    Pct,
    Testing,
    Record,
    /// Anything inside a record.
    In(record::Part),
    /// A leaf that is known and not kept.
    Ignored,
}

pub(super) fn child(parent: El, name: &str) -> Option<El> {
    Some(match (parent, name) {
        (El::Feedback, "report_metadata") => El::Metadata,
        (El::Feedback, "policy_published") => El::Policy,
        (El::Feedback, "record") => El::Record,
        (El::Feedback, "version") => El::Ignored,
        (El::Metadata, "org_name") => El::OrgName,
        (El::Metadata, "email") => El::Email,
        (El::Metadata, "report_id") => El::ReportId,
        (El::Metadata, "date_range") => El::Range,
        (El::Metadata, "error") => El::ReporterError,
        (El::Range, "begin") => El::Begin,
        (El::Range, "end") => El::End,
        (El::Policy, "domain") => El::Domain,
        (El::Policy, "p") => El::P,
        (El::Policy, "sp") => El::Sp,
        (El::Policy, "np") => El::Np,
        (El::Policy, "pct") => El::Pct,
        (El::Policy, "testing" | "t") => El::Testing,
        (El::Record, name) => El::In(record::Part::below(None, name)?),
        (El::In(part), name) => El::In(record::Part::below(Some(part), name)?),
        _ => return None,
    })
}
