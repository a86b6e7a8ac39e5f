//! .dockerignore: which files of a context never reach the builder.

/// The patterns of a file, in their order; the last one that matches decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ignore {
    /// A pattern by its parts, and whether it takes back.
    patterns: Vec<(Vec<String>, bool)>,
}

impl Ignore {
    pub fn parse(text: &str) -> Ignore {
        let mut patterns = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (line, back) = line.strip_prefix('!').map_or((line, false), |line| (line.trim(), true));
            let parts: Vec<String> =
                line.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect();
            if !parts.is_empty() {
                patterns.push((parts, back));
            }
        }
        Ignore { patterns }
    }

    /// Whether a file, by its path in the context, is left out: it, or a directory above it, matches.
    pub fn leaves_out(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut out = false;
        for (pattern, back) in &self.patterns {
            if (1..=parts.len()).any(|above| matches(pattern, &parts[..above])) {
                out = !back;
            }
        }
        out
    }
}

/// `**` stands for any number of directories.
fn matches(pattern: &[String], parts: &[&str]) -> bool {
    match pattern.split_first() {
        None => parts.is_empty(),
        Some((first, rest)) if first == "**" => (0..=parts.len()).any(|skipped| matches(rest, &parts[skipped..])),
        Some((first, rest)) => match parts.split_first() {
            Some((part, others)) => matches_part(first.as_bytes(), part.as_bytes()) && matches(rest, others),
            None => false,
        },
    }
}

/// `*` stands for any characters, `?` for one, within a name. Sets are read as one character of any kind: then more
/// is left out than Docker would, and nothing is accused wrongly.
pub fn matches_part(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let (width, any, single) = match pattern.get(p) {
            Some(b'*') => (1, true, false),
            Some(b'?') => (1, false, true),
            Some(b'[') => match pattern[p..].iter().position(|&byte| byte == b']') {
                Some(end) => (end + 1, false, true),
                None => (1, false, text[t] == b'['),
            },
            Some(b'\\') if p + 1 < pattern.len() => (2, false, pattern[p + 1] == text[t]),
            Some(&byte) => (1, false, byte == text[t]),
            None => (0, false, false),
        };
        if any {
            star = Some((p + 1, t));
            p += 1;
        } else if single {
            p += width;
            t += 1;
        } else if let Some((after, begun)) = star {
            star = Some((after, begun + 1));
            p = after;
            t = begun + 1;
        } else {
            return false;
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
#[path = "dockerignore_tests.rs"]
mod tests;
