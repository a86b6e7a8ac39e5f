//! The domains: a name each, and what is configured for them, which a fleet shares.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use dkimctl_state::lifecycle::policy::Policy;
use dkimctl_state::lifecycle::settings::{Settings, SlotPattern, Slots};
use dkimctl_state::lifecycle::staging::policy::StagingPolicy;
use dkimctl_state::name::{Label, NameError, Selector, SigningDomain};
use dkimctl_state::record::dkim::Algorithm;
use dkimctl_state::time::Time;
use toml::Spanned;

use super::error::{ConfigError, Mistake, Source, nearest};
use super::meant::{Signer, no_kind, policy};
use super::providers::Provider;
use super::written::{COLUMNS, Choices, File, Text};
use crate::spf::desired::Wanted;

/// Every configured domain, in order. A hundred thousand of them are a hundred thousand names: what is configured is
/// kept once for all that share it.
#[derive(Debug, Default)]
pub struct Domains(Vec<(SigningDomain, Arc<Profile>)>);

/// [`Settings`] of some domain, without its name.
#[derive(Debug)]
pub struct Profile {
    slots: BTreeMap<Algorithm, Slots>,
    rsa_bits: u16,
    ttl: u32,
    providers: Vec<Label>,
    hosts: Vec<Label>,
    policy: Policy,
    spf: Option<Wanted>,
    dmarc: Option<Arc<StagingPolicy>>,
    /// The selector that makes the longest record name.
    longest: Selector,
}

/// What domains refer to.
pub(super) struct Known<'a> {
    pub providers: &'a BTreeMap<Label, Provider>,
    pub signers: &'a BTreeMap<Label, Signer>,
    pub policy: &'a Policy,
}

impl Domains {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = &SigningDomain> {
        self.0.iter().map(|(name, _)| name)
    }

    pub fn contains(&self, domain: &SigningDomain) -> bool {
        self.position(domain).is_some()
    }

    pub fn settings(&self, domain: &SigningDomain) -> Option<Settings> {
        let (name, profile) = &self.0[self.position(domain)?];
        Some(Settings {
            domain: name.clone(),
            slots: profile.slots.clone(),
            rsa_bits: profile.rsa_bits,
            ttl: profile.ttl,
            providers: profile.providers.clone(),
            hosts: profile.hosts.clone(),
            policy: profile.policy.clone(),
        })
    }

    /// What the domain's SPF record is to say; `None` if that is no affair of ours.
    pub fn spf(&self, domain: &SigningDomain) -> Option<Wanted> {
        self.0[self.position(domain)?].1.spf.clone()
    }

    /// How the domain's DMARC policy is staged; the default where nothing is configured.
    pub fn dmarc(&self, domain: &SigningDomain) -> StagingPolicy {
        let profile = self.position(domain).map(|at| &self.0[at].1);
        profile.and_then(|profile| profile.dmarc.as_deref()).cloned().unwrap_or_default()
    }

    /// The configured name that was probably meant.
    pub fn nearest(&self, seen: &str) -> Option<String> {
        nearest(seen, self.names().map(SigningDomain::as_str))
    }

    /// How many different configurations there are.
    #[cfg(test)]
    pub(super) fn profiles(&self) -> usize {
        self.0.iter().map(|(_, profile)| Arc::as_ptr(profile)).collect::<std::collections::HashSet<_>>().len()
    }

    fn position(&self, domain: &SigningDomain) -> Option<usize> {
        self.0.binary_search_by(|(name, _)| name.cmp(domain)).ok()
    }

    pub(super) fn read(
        source: &Source<'_>,
        written: &File,
        file: Option<(PathBuf, Range<usize>)>,
        known: &Known<'_>,
    ) -> Result<Domains, ConfigError> {
        if let Some(name) = &written.defaults.name {
            let mistake = Mistake::Misplaced { table: "[defaults]".to_owned(), key: "name" };
            return Err(source.at(name.span(), mistake));
        }
        let defaults = Layer { source, choices: &written.defaults };
        let mut list = List::default();
        for table in &written.domain {
            let own = Layer { source, choices: table.get_ref() };
            let missing = || source.at(table.span(), Mistake::Missing { table: "[[domain]]".to_owned(), key: "name" });
            let name = own.choices.name.as_ref().ok_or_else(missing)?;
            let layers = Layers { own: &own, defaults: &defaults, known };
            let profile = layers.profile(name)?;
            list.add(source, name.span(), name.get_ref(), Arc::new(profile))?;
        }
        if let Some((path, span)) = file {
            let text = std::fs::read_to_string(&path).map_err(|error| {
                source.at(span, Mistake::Other(format!("{}: it cannot be read: {error}", path.display())))
            })?;
            list.add_file(&Source { file: &path, text: &text }, &defaults, known)?;
        }
        list.finish()
    }
}

/// Domains as they are found, each with its place, until duplicates have been looked for.
#[derive(Default)]
struct List {
    found: Vec<(SigningDomain, Arc<Profile>, Origin)>,
    files: Vec<PathBuf>,
}

/// The index of a file, the line, the column.
type Origin = (u16, u32, u32);

impl List {
    fn add(
        &mut self,
        source: &Source<'_>,
        span: Range<usize>,
        name: &str,
        profile: Arc<Profile>,
    ) -> Result<(), ConfigError> {
        let place = source.place(span.start);
        let origin = (place.line, place.column);
        self.add_at(source, origin, name, profile).map_err(|mistake| source.at(span, mistake))
    }

    fn add_at(
        &mut self,
        source: &Source<'_>,
        (line, column): (usize, usize),
        name: &str,
        profile: Arc<Profile>,
    ) -> Result<(), Mistake> {
        let domain: SigningDomain = name.parse()?;
        if !profile.longest.fits(&domain) {
            let selector = profile.longest.to_string();
            return Err(Mistake::SelectorTooLong { selector, domain: domain.to_string() });
        }
        if self.files.last().is_none_or(|last| last != source.file) {
            self.files.push(source.file.to_owned());
        }
        self.found.push((domain, profile, (self.files.len() as u16 - 1, line as u32, column as u32)));
        Ok(())
    }

    /// One name a line, or CSV; `#` begins a comment.
    fn add_file(&mut self, file: &Source<'_>, defaults: &Layer<'_>, known: &Known<'_>) -> Result<(), ConfigError> {
        let mut columns: Vec<&str> = COLUMNS.to_vec();
        let mut profiles: HashMap<&str, Arc<Profile>> = HashMap::new();
        let mut offset = 0;
        let mut begun = false;
        for (index, line) in file.text.split_inclusive('\n').enumerate() {
            let start = offset;
            offset += line.len();
            let content = line.split('#').next().unwrap_or_default().trim_end();
            if content.trim().is_empty() {
                continue;
            }
            if !std::mem::replace(&mut begun, true)
                && content.split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("name"))
            {
                columns = header(file, start, content)?;
                continue;
            }
            let (name, rest) = content.split_once(',').unwrap_or((content, ""));
            let lead = name.len() - name.trim_start().len();
            let name_at = start + lead..start + name.len();
            let profile = match profiles.get(rest) {
                Some(profile) => Arc::clone(profile),
                None => {
                    let own = row(file, start + name.len() + 1, rest, &columns)?;
                    let own = Layer { source: file, choices: &own };
                    let layers = Layers { own: &own, defaults, known };
                    let name = Spanned::new(name_at.clone(), name.trim().to_owned());
                    let profile = Arc::new(layers.profile(&name)?);
                    profiles.insert(rest, Arc::clone(&profile));
                    profile
                }
            };
            self.add_at(file, (index + 1, lead + 1), name.trim(), profile)
                .map_err(|mistake| file.at(name_at, mistake))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Domains, ConfigError> {
        self.found.sort_by(|(a, _, at), (b, _, later)| (a, at).cmp(&(b, later)));
        if let Some([(domain, _, first), (_, _, second)]) = self.found.array_windows().find(|[(a, ..), (b, ..)]| a == b)
        {
            let file = |origin: &Origin| &self.files[usize::from(origin.0)];
            let first = format!("{}:{}", file(first).display(), first.1);
            let mistake = Mistake::DomainTwice { domain: domain.to_string(), first };
            let place = super::error::Place { line: second.1 as usize, column: second.2 as usize };
            return Err(ConfigError { place: Some(place), ..ConfigError::whole(file(second), mistake) });
        }
        Ok(Domains(self.found.into_iter().map(|(name, profile, _)| (name, profile)).collect()))
    }
}

fn header<'t>(file: &Source<'_>, start: usize, line: &'t str) -> Result<Vec<&'t str>, ConfigError> {
    let mut columns = Vec::new();
    let mut at = start;
    for field in line.split(',') {
        let column = field.trim();
        if !COLUMNS.contains(&column) {
            let seen = Spanned::new(at..at + field.len(), column.to_owned());
            return Err(no_kind(file, &seen, "column", &COLUMNS));
        }
        columns.push(column);
        at += field.len() + 1;
    }
    Ok(columns)
}

/// The choices of one row, without the name that stands first. Several values in one field stand apart by blanks.
fn row(file: &Source<'_>, start: usize, rest: &str, columns: &[&str]) -> Result<Choices, ConfigError> {
    let mut choices = Choices::default();
    let mut at = start;
    for (index, field) in rest.split(',').enumerate() {
        let lead = field.len() - field.trim_start().len();
        let span = at + lead..at + lead + field.trim().len();
        at += field.len() + 1;
        if field.trim().is_empty() {
            continue;
        }
        let words = || {
            let words = field.split_whitespace().map(|word| Spanned::new(span.clone(), word.to_owned()));
            Some(Spanned::new(span.clone(), words.collect()))
        };
        let number = |what| {
            let sentence = format!("`{}` is no {what}; write a number", field.trim());
            field.trim().parse::<u32>().map_err(|_| file.at(span.clone(), Mistake::Other(sentence)))
        };
        match columns.get(index + 1) {
            Some(&"provider") => choices.providers = words(),
            Some(&"signer") => choices.signers = words(),
            Some(&"selectors") => choices.selectors = words(),
            Some(&"ttl") => choices.ttl = Some(Spanned::new(span.clone(), number("TTL")?)),
            Some(&"rsa_bits") => {
                let bits = u16::try_from(number("key size")?).unwrap_or(u16::MAX);
                choices.rsa_bits = Some(Spanned::new(span.clone(), bits));
            }
            _ => {
                let sentence = format!("`{}` stands in a column that has no name", field.trim());
                return Err(file.at(span, Mistake::Other(sentence)));
            }
        }
    }
    Ok(choices)
}

/// Choices, and the file that they stand in.
struct Layer<'a> {
    source: &'a Source<'a>,
    choices: &'a Choices,
}

/// A domain's own choices above the defaults.
struct Layers<'a> {
    own: &'a Layer<'a>,
    defaults: &'a Layer<'a>,
    known: &'a Known<'a>,
}

/// A choice, and the file that it stands in.
type Chosen<'a, T> = Option<(&'a Source<'a>, &'a Spanned<T>)>;

impl<'a> Layers<'a> {
    fn pick<T>(&self, field: impl Fn(&'a Choices) -> Option<&'a Spanned<T>>) -> Chosen<'a, T> {
        [self.own, self.defaults].into_iter().find_map(|layer| Some((layer.source, field(layer.choices)?)))
    }

    fn profile(&self, name: &Text) -> Result<Profile, ConfigError> {
        let at_name = |mistake: Mistake| self.own.source.at(name.span(), mistake);
        let without = |what| at_name(Mistake::DomainWithout { domain: name.get_ref().clone(), what });
        let slots = self.slots()?;
        let rsa_bits = match self.pick(|c| c.rsa_bits.as_ref()) {
            Some((source, bits)) if !matches!(bits.get_ref(), 2048 | 3072 | 4096) => {
                return Err(source.at(bits.span(), Mistake::RsaBits(*bits.get_ref())));
            }
            Some((_, bits)) => *bits.get_ref(),
            None => 2048,
        };
        let providers =
            self.labels("provider", |c| (c.provider.as_ref(), c.providers.as_ref()), self.known.providers.keys())?;
        let hosts = self.labels("signer", |c| (c.signer.as_ref(), c.signers.as_ref()), self.known.signers.keys())?;
        if providers.is_empty() {
            return Err(without("provider"));
        }
        if hosts.is_empty() {
            return Err(without("signer"));
        }
        let chosen_ttl = self.pick(|c| c.ttl.as_ref());
        // An hour: short enough to mend a mistake within a morning, long enough for caches to be of use.
        let ttl = chosen_ttl.map_or(3600, |(_, ttl)| *ttl.get_ref());
        let chosen_bits = self.pick(|c| c.rsa_bits.as_ref());
        for label in &providers {
            let provider = &self.known.providers[label];
            if let Some(mistake) = provider.against_ttl(label, ttl) {
                return Err(match chosen_ttl {
                    Some((source, ttl)) => source.at(ttl.span(), mistake),
                    None => at_name(mistake),
                });
            }
            if let Some(mistake) = provider.against_key(label, rsa_bits) {
                return Err(match chosen_bits {
                    Some((source, bits)) => source.at(bits.span(), mistake),
                    None => at_name(mistake),
                });
            }
        }
        let mut own_policy = self.known.policy.clone();
        for layer in [self.defaults, self.own] {
            if let Some(written) = &layer.choices.policy {
                own_policy = policy(layer.source, own_policy, written)?;
            }
        }
        let longest = longest(&slots).ok_or_else(|| at_name(Mistake::EmptyList("selectors")))?;
        let spf = [self.own, self.defaults].into_iter().find_map(|layer| layer.choices.spf.clone());
        let dmarc = [self.own, self.defaults].into_iter().find_map(|layer| layer.choices.dmarc.clone()).map(Arc::new);
        let profile = Profile { slots, rsa_bits, ttl, providers, hosts, policy: own_policy, spf, dmarc, longest };
        profile
            .policy
            .validate(dkimctl_state::time::Span::seconds(ttl.into()))
            .map_err(|error| at_name(error.into()))?;
        Ok(profile)
    }

    fn slots(&self) -> Result<BTreeMap<Algorithm, Slots>, ConfigError> {
        let mut algorithms = vec![Algorithm::Rsa];
        if let Some((source, list)) = self.pick(|c| c.algorithms.as_ref()) {
            algorithms.clear();
            for text in list.get_ref() {
                algorithms.push(match text.get_ref().as_str() {
                    "rsa" => Algorithm::Rsa,
                    "ed25519" => Algorithm::Ed25519,
                    _ => return Err(no_kind(source, text, "algorithm", &["rsa", "ed25519"])),
                });
            }
            if !algorithms.contains(&Algorithm::Rsa) {
                // RFC 8463 section 3 makes it optional for verifiers, and most have not opted.
                let sentence = "`rsa` is missing, and most verifiers see mail without an RSA signature as unsigned";
                return Err(source.at(list.span(), Mistake::Other(sentence.to_owned())));
            }
        }
        let rsa = self.line(|c| c.selectors.as_ref(), |c| c.spare.as_ref(), "selectors", ["s1", "s2", "s3"])?;
        let mut slots = BTreeMap::from([(Algorithm::Rsa, rsa)]);
        if algorithms.contains(&Algorithm::Ed25519) {
            let field = |c: &'a Choices| c.ed25519_selectors.as_ref();
            let ed25519 = self.line(field, |c| c.ed25519_spare.as_ref(), "ed25519_selectors", ["e1", "e2", "e3"])?;
            let rsa = &slots[&Algorithm::Rsa];
            let shared = patterns(&ed25519).find(|pattern| patterns(rsa).any(|other| other == *pattern));
            if let Some(shared) = shared {
                let mistake = Mistake::SelectorShared(shared.as_str().to_owned());
                let place = self.pick(field).map(|(source, list)| (source, list.span()));
                let place = place.or_else(|| self.pick(|c| c.selectors.as_ref()).map(|(s, list)| (s, list.span())));
                return Err(match place {
                    Some((source, span)) => source.at(span, mistake),
                    None => ConfigError::whole(self.own.source.file, mistake),
                });
            }
            slots.insert(Algorithm::Ed25519, ed25519);
        }
        Ok(slots)
    }

    /// The slots of one algorithm: as chosen, or the first two of `standard` and the third to spare.
    fn line(
        &self,
        list: impl Fn(&'a Choices) -> Option<&'a Spanned<Vec<Text>>>,
        spare: impl Fn(&'a Choices) -> Option<&'a Text>,
        key: &'static str,
        standard: [&str; 3],
    ) -> Result<Slots, ConfigError> {
        let read = |source: &Source<'_>, text: &Text, taken: &[SlotPattern]| {
            let pattern = SlotPattern::parse(&text.get_ref().to_ascii_lowercase());
            let pattern = pattern.map_err(|error: NameError| source.at(text.span(), error))?;
            match taken.contains(&pattern) {
                true => Err(source.at(text.span(), Mistake::SelectorTwice(pattern.as_str().to_owned()))),
                false => Ok(pattern),
            }
        };
        let standard_pattern = |text: &str| SlotPattern::parse(text).ok();
        let mut regular = Vec::new();
        match self.pick(list) {
            Some((source, list)) if list.get_ref().is_empty() => {
                return Err(source.at(list.span(), Mistake::EmptyList(key)));
            }
            Some((source, list)) => {
                for text in list.get_ref() {
                    let pattern = read(source, text, &regular)?;
                    regular.push(pattern);
                }
            }
            None => regular.extend(standard[..2].iter().copied().filter_map(standard_pattern)),
        }
        let spare = match self.pick(spare) {
            Some((source, text)) => Some(read(source, text, &regular)?),
            None => standard_pattern(standard[2]).filter(|spare| !regular.contains(spare)),
        };
        Ok(Slots { regular, spare })
    }

    /// `what = "a"` or `whats = ["a", "b"]`, each of which must be configured.
    fn labels<'l>(
        &self,
        what: &'static str,
        fields: impl Fn(&'a Choices) -> (Option<&'a Text>, Option<&'a Spanned<Vec<Text>>>),
        known: impl Iterator<Item = &'l Label> + Clone,
    ) -> Result<Vec<Label>, ConfigError> {
        for layer in [self.own, self.defaults] {
            let texts: Vec<&Text> = match fields(layer.choices) {
                (None, None) => continue,
                (Some(one), None) => vec![one],
                (None, Some(several)) => several.get_ref().iter().collect(),
                (Some(_), Some(several)) => {
                    let (one, other) =
                        if what == "provider" { ("provider", "providers") } else { ("signer", "signers") };
                    return Err(layer.source.at(several.span(), Mistake::Both { one, other }));
                }
            };
            let mut labels: Vec<Label> = Vec::new();
            for text in texts {
                let seen = text.get_ref();
                let found = known.clone().find(|label| label.as_str() == seen).cloned();
                let label = found.ok_or_else(|| {
                    let nearest = nearest(seen, known.clone().map(Label::as_str));
                    layer.source.at(text.span(), Mistake::NoSuch { what, seen: seen.clone(), nearest })
                })?;
                if !labels.contains(&label) {
                    labels.push(label);
                }
            }
            return Ok(labels);
        }
        // Where there is but one, it is the one that is meant.
        let mut all = known;
        Ok(match (all.next(), all.next()) {
            (Some(only), None) => vec![only.clone()],
            _ => Vec::new(),
        })
    }
}

fn patterns(slots: &Slots) -> impl Iterator<Item = &SlotPattern> {
    slots.regular.iter().chain(&slots.spare)
}

fn longest(slots: &BTreeMap<Algorithm, Slots>) -> Option<Selector> {
    // A day in December: two digits wherever a template has them.
    let day = Time::from_unix(1_702_857_600);
    let shape = Settings {
        domain: "shape.invalid".parse().ok()?,
        slots: slots.clone(),
        rsa_bits: 0,
        ttl: 0,
        providers: Vec::new(),
        hosts: Vec::new(),
        policy: Policy::default(),
    };
    let all = slots.keys().flat_map(|algorithm| shape.candidates(*algorithm, true, day));
    all.max_by_key(|selector| selector.as_str().len())
}
