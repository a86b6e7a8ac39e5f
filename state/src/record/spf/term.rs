//! The terms of an SPF record: directives (RFC 7208 section 5) and modifiers (section 6).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::Wrong;
use super::macro_string::{At, DomainSpec, MacroString, Place};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    Directive(Directive),
    Modifier(Modifier),
}

/// `[ qualifier ] mechanism`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// As written; `None` means `+` (RFC 7208 section 4.6.2).
    pub written: Option<Qualifier>,
    pub mechanism: Mechanism,
}

/// What a match means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qualifier {
    Pass,
    Neutral,
    SoftFail,
    Fail,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    /// Always matches (RFC 7208 section 5.1).
    All,
    /// Matches if the other record says pass (section 5.2).
    Include(DomainSpec),
    /// Matches an address of the name, of the current domain if there is none (section 5.3).
    A(Option<DomainSpec>, DualCidr),
    /// Matches an address of a mail exchanger (section 5.4).
    Mx(Option<DomainSpec>, DualCidr),
    /// Matches by the client's own name; discouraged (section 5.5).
    Ptr(Option<DomainSpec>),
    /// Matches an IPv4 network; the prefix length is 32 if absent (section 5.6).
    Ip4(Ipv4Addr, Option<u8>),
    /// Matches an IPv6 network; the prefix length is 128 if absent (section 5.6).
    Ip6(Ipv6Addr, Option<u8>),
    /// Matches if the name has any A record (section 5.7).
    Exists(DomainSpec),
}

/// `[ "/" ip4 ] [ "//" ip6 ]`; 32 and 128 if absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DualCidr {
    pub v4: Option<u8>,
    pub v6: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modifier {
    Redirect(DomainSpec),
    Exp(DomainSpec),
    /// Ignored by all who do not know it (RFC 7208 section 6).
    Unknown {
        name: String,
        value: MacroString,
    },
}

impl Term {
    /// Reads one term; an error comes with its offset in `text`.
    pub(crate) fn parse(text: &str) -> At<Term> {
        if let Some(at) = text.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return Err((at, Wrong::Octet(text.as_bytes()[at])));
        }
        // RFC 7208 section 12: name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ); a modifier is a name and "=".
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let length = text.find(|c| !is_name(c)).unwrap_or(text.len());
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) && text[length..].starts_with('=') {
            return Modifier::parse(&text[..length], &text[length + 1..])
                .map(Term::Modifier)
                .map_err(|(at, wrong)| (length + 1 + at, wrong));
        }
        let written = text.chars().next().and_then(Qualifier::from_char);
        let skip = usize::from(written.is_some());
        Mechanism::parse(&text[skip..])
            .map(|mechanism| Term::Directive(Directive { written, mechanism }))
            .map_err(|(at, wrong)| (skip + at, wrong))
    }

    /// The name of a modifier that may appear once.
    pub(crate) fn single(&self) -> Option<&'static str> {
        match self {
            Term::Modifier(Modifier::Redirect(_)) => Some("redirect"),
            Term::Modifier(Modifier::Exp(_)) => Some("exp"),
            _ => None,
        }
    }

    /// Whether evaluating it counts toward the ten.
    // RFC 7208 section 4.6.4: include, a, mx, ptr, exists and redirect cause lookups that count; all, ip4, ip6 do
    // not, and neither does exp.
    pub fn counts(&self) -> bool {
        match self {
            Term::Directive(directive) => {
                !matches!(directive.mechanism, Mechanism::All | Mechanism::Ip4(..) | Mechanism::Ip6(..))
            }
            Term::Modifier(modifier) => matches!(modifier, Modifier::Redirect(_)),
        }
    }
}

impl Directive {
    pub fn qualifier(&self) -> Qualifier {
        self.written.unwrap_or(Qualifier::Pass)
    }
}

impl Qualifier {
    pub fn from_char(c: char) -> Option<Qualifier> {
        Some(match c {
            '+' => Qualifier::Pass,
            '?' => Qualifier::Neutral,
            '~' => Qualifier::SoftFail,
            '-' => Qualifier::Fail,
            _ => return None,
        })
    }

    pub fn as_char(self) -> char {
        match self {
            Qualifier::Pass => '+',
            Qualifier::Neutral => '?',
            Qualifier::SoftFail => '~',
            Qualifier::Fail => '-',
        }
    }
}

impl Mechanism {
    fn parse(text: &str) -> At<Mechanism> {
        let length = text.find([':', '/', '=']).unwrap_or(text.len());
        let (name, rest) = text.split_at(length);
        let within = |(at, wrong): (usize, Wrong)| (length + at, wrong);
        // RFC 7208 section 12: literal strings in ABNF are case-insensitive (RFC 5234 section 2.3).
        match name.to_ascii_lowercase().as_str() {
            "" if text.is_empty() => Err((0, Wrong::QualifierAlone)),
            "all" => nothing("all", rest).map(|()| Mechanism::All).map_err(within),
            "include" => domain("include", rest).map(Mechanism::Include).map_err(within),
            "exists" => domain("exists", rest).map(Mechanism::Exists).map_err(within),
            "a" => domain_and_cidr("a", rest).map(|(domain, cidr)| Mechanism::A(domain, cidr)).map_err(within),
            "mx" => domain_and_cidr("mx", rest).map(|(domain, cidr)| Mechanism::Mx(domain, cidr)).map_err(within),
            "ptr" if rest.is_empty() => Ok(Mechanism::Ptr(None)),
            "ptr" => domain("ptr", rest).map(|domain| Mechanism::Ptr(Some(domain))).map_err(within),
            "ip4" => {
                let (address, prefix) = address("ip4", rest).map_err(within)?;
                let ip = address.parse().map_err(|_| (length + 1, Wrong::Ip4(address.to_owned())))?;
                Ok(Mechanism::Ip4(ip, prefix.map(|p| prefix_length(p, 32)).transpose().map_err(within)?))
            }
            "ip6" => {
                let (address, prefix) = address("ip6", rest).map_err(within)?;
                let ip = address.parse().map_err(|_| (length + 1, Wrong::Ip6(address.to_owned())))?;
                Ok(Mechanism::Ip6(ip, prefix.map(|p| prefix_length(p, 128)).transpose().map_err(within)?))
            }
            _ => Err((0, Wrong::UnknownMechanism(name.to_owned()))),
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Mechanism::All => "all",
            Mechanism::Include(_) => "include",
            Mechanism::A(..) => "a",
            Mechanism::Mx(..) => "mx",
            Mechanism::Ptr(_) => "ptr",
            Mechanism::Ip4(..) => "ip4",
            Mechanism::Ip6(..) => "ip6",
            Mechanism::Exists(_) => "exists",
        }
    }

    /// The domain that it names, if it names one.
    pub fn target(&self) -> Option<&DomainSpec> {
        match self {
            Mechanism::Include(domain) | Mechanism::Exists(domain) => Some(domain),
            Mechanism::A(domain, _) | Mechanism::Mx(domain, _) | Mechanism::Ptr(domain) => domain.as_ref(),
            Mechanism::All | Mechanism::Ip4(..) | Mechanism::Ip6(..) => None,
        }
    }
}

impl Modifier {
    fn parse(name: &str, value: &str) -> At<Modifier> {
        match name.to_ascii_lowercase().as_str() {
            "redirect" => DomainSpec::parse(value).map(Modifier::Redirect),
            "exp" => DomainSpec::parse(value).map(Modifier::Exp),
            _ => {
                let value = MacroString::parse(value, Place::Modifier)?;
                Ok(Modifier::Unknown { name: name.to_owned(), value })
            }
        }
    }
}

/// Nothing may follow.
fn nothing(mechanism: &'static str, rest: &str) -> At<()> {
    if rest.is_empty() { Ok(()) } else { Err(trailing(mechanism, "a space", rest)) }
}

/// `":" domain-spec`, and no prefix length.
fn domain(mechanism: &'static str, rest: &str) -> At<DomainSpec> {
    match rest.strip_prefix(':') {
        Some(spec) => DomainSpec::parse(spec).map_err(|(at, wrong)| (at + 1, wrong)),
        None if rest.is_empty() => Err((0, Wrong::NeedsDomain(mechanism))),
        None => Err(trailing(mechanism, "a colon and a domain", rest)),
    }
}

/// `[ ":" domain-spec ] [ dual-cidr-length ]`. A domain-spec may hold slashes, so the prefix lengths are read from the
/// end.
fn domain_and_cidr(mechanism: &'static str, rest: &str) -> At<(Option<DomainSpec>, DualCidr)> {
    let (head, cidr) = split_cidr(rest)?;
    match head.strip_prefix(':') {
        Some(spec) => {
            let spec = DomainSpec::parse(spec).map_err(|(at, wrong)| (at + 1, wrong))?;
            Ok((Some(spec), cidr))
        }
        None if head.is_empty() => Ok((None, cidr)),
        None => Err(trailing(mechanism, "a colon and a domain, or prefix lengths", head)),
    }
}

fn split_cidr(text: &str) -> At<(&str, DualCidr)> {
    let number = |text: &str| text.len() - text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let mut cidr = DualCidr::default();
    let mut head = text;
    let digits = number(head);
    let before = &head[..head.len() - digits];
    if digits > 0 && before.ends_with("//") {
        cidr.v6 = Some(prefix_length((before.len(), &head[before.len()..]), 128)?);
        head = &before[..before.len() - 2];
    }
    let digits = number(head);
    let before = &head[..head.len() - digits];
    if digits > 0 && before.ends_with('/') && !before.ends_with("//") {
        cidr.v4 = Some(prefix_length((before.len(), &head[before.len()..]), 32)?);
        head = &before[..before.len() - 1];
    }
    Ok((head, cidr))
}

/// A prefix length with its offset.
type RawPrefix<'t> = (usize, &'t str);

/// `":" network [ "/" prefix ]`
fn address<'t>(mechanism: &'static str, rest: &'t str) -> At<(&'t str, Option<RawPrefix<'t>>)> {
    let Some(value) = rest.strip_prefix(':').filter(|value| !value.is_empty()) else {
        return Err((0, Wrong::NeedsAddress(mechanism)));
    };
    Ok(match value.split_once('/') {
        Some((address, prefix)) => (address, Some((address.len() + 2, prefix))),
        None => (value, None),
    })
}

/// RFC 7208 section 5.6: `"0" / %x31-39 0*1DIGIT` (0*2DIGIT for IPv6), so no leading zeros.
fn prefix_length((at, text): RawPrefix<'_>, max: u8) -> At<u8> {
    let wrong = || (at, Wrong::Cidr { seen: text.to_owned(), max });
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) || text.len() > 1 && text.starts_with('0') {
        return Err(wrong());
    }
    text.parse().ok().filter(|length| *length <= max).ok_or_else(wrong)
}

fn trailing(mechanism: &'static str, allowed: &'static str, seen: &str) -> (usize, Wrong) {
    (0, Wrong::Trailing { mechanism, allowed, seen: seen.to_owned() })
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::Directive(directive) => write!(f, "{directive}"),
            Term::Modifier(modifier) => write!(f, "{modifier}"),
        }
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(qualifier) = self.written {
            write!(f, "{}", qualifier.as_char())?;
        }
        write!(f, "{}", self.mechanism)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let prefix = |f: &mut fmt::Formatter<'_>, prefix: Option<u8>| prefix.map_or(Ok(()), |p| write!(f, "/{p}"));
        match self {
            Mechanism::Ip4(ip, length) => {
                write!(f, ":{ip}")?;
                return prefix(f, *length);
            }
            Mechanism::Ip6(ip, length) => {
                write!(f, ":{ip}")?;
                return prefix(f, *length);
            }
            _ => {}
        }
        if let Some(domain) = self.target() {
            write!(f, ":{domain}")?;
        }
        match self {
            Mechanism::A(_, cidr) | Mechanism::Mx(_, cidr) => write!(f, "{cidr}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for DualCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.v4.map_or(Ok(()), |length| write!(f, "/{length}"))?;
        self.v6.map_or(Ok(()), |length| write!(f, "//{length}"))
    }
}

impl fmt::Display for Modifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Modifier::Redirect(domain) => write!(f, "redirect={domain}"),
            Modifier::Exp(domain) => write!(f, "exp={domain}"),
            Modifier::Unknown { name, value } => write!(f, "{name}={value}"),
        }
    }
}
