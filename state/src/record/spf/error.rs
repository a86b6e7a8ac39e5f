//! Every way in which an SPF record can be wrong.

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("octet {at}, `{}`: {wrong}", .term.escape_debug())]
pub struct SpfError {
    /// Octets from the start of the record's text.
    pub at: usize,
    /// The term that it stands in.
    pub term: String,
    pub wrong: Wrong,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("the text does not begin with `v=spf1` and a space (RFC 7208 section 4.5)")]
    Version,
    #[error("the octet {0:#04x} cannot stand in an SPF record (RFC 7208 section 4.6.1)")]
    Octet(u8),
    #[error("there is no mechanism `{0}` (RFC 7208 section 4.6.1)")]
    UnknownMechanism(String),
    #[error("a qualifier stands alone (RFC 7208 section 4.6.1)")]
    QualifierAlone,
    #[error("`{0}` needs a domain after a colon (RFC 7208 section 5)")]
    NeedsDomain(&'static str),
    #[error("`{0}` needs an address after a colon (RFC 7208 section 5.6)")]
    NeedsAddress(&'static str),
    #[error("nothing can follow `{mechanism}` but {allowed}; `{seen}` does (RFC 7208 section 5)")]
    Trailing { mechanism: &'static str, allowed: &'static str, seen: String },
    #[error("the domain is empty (RFC 7208 section 7.1)")]
    EmptyDomain,
    #[error("a domain ends in a dot and a top-level label, or in a macro; `{0}` is neither (RFC 7208 section 7.1)")]
    DomainEnd(String),
    #[error("`{0}` is not an IPv4 address of four numbers (RFC 7208 section 5.6)")]
    Ip4(String),
    #[error("`{0}` is not an IPv6 address (RFC 7208 section 5.6)")]
    Ip6(String),
    #[error("`/{seen}` is not a prefix length from 0 to {max} without leading zeros (RFC 7208 section 5.6)")]
    Cidr { seen: String, max: u8 },
    #[error("`{0}=` appears twice (RFC 7208 section 6)")]
    ModifierTwice(&'static str),
    #[error("a `%` must be followed by `%`, `_`, `-` or `{{` (RFC 7208 section 7.1)")]
    Percent,
    #[error("a macro is not closed with `}}` (RFC 7208 section 7.1)")]
    Unclosed,
    #[error("there is no macro letter {0:?} (RFC 7208 section 7.2)")]
    MacroLetter(Option<char>),
    #[error("the macro letter `{0}` is for explanation texts only (RFC 7208 section 7.2)")]
    ExplanationOnly(char),
    #[error("a macro keeps at least one part, not 0 (RFC 7208 section 7.3)")]
    MacroDigits,
    #[error("{0:?} cannot stand inside a macro (RFC 7208 section 7.1)")]
    MacroTail(char),
}
