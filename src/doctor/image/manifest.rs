//! Says of the blobs of an archive which was which layer: by the manifest.json of `docker save`, by the index.json of
//! an OCI image layout, by both, or by none.

use std::collections::BTreeSet;

use serde_json::Value;

use super::scan::{self, Hit};
use super::walk::{Archive, LayerSeen, Whiteout, hash, normal, printable};
use super::{Gone, Image, KeyFound, Layer, Place, Unscanned, Why};

/// Indexes in indexes.
const DEPTH: usize = 4;
/// Images in one archive.
const IMAGES: usize = 1_000;

/// One image: which blobs it is made of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Described {
    name: Option<String>,
    config: Option<String>,
    layers: Vec<String>,
}

/// Puts what the walk found where it belongs.
pub(super) fn describe(archive: Archive, image: &mut Image) {
    let documents = Documents(&archive);
    let images = documents.images(image);
    let mut told: BTreeSet<&str> = BTreeSet::new();
    let several = images.len() > 1;
    for described in &images {
        let config = described.config.as_ref().and_then(|name| documents.json(name));
        told.extend(described.config.as_deref());
        let made_by = config.as_ref().map(|config| history(config, described.layers.len())).unwrap_or_default();
        let resolved: Vec<&str> = described.layers.iter().map(|name| documents.resolve(name)).collect();
        image.layers += resolved.len();
        for (index, name) in resolved.iter().enumerate() {
            let number = index + 1;
            let layer = Layer {
                number,
                of: resolved.len(),
                made_by: made_by.get(index).cloned().flatten(),
                image: described.name.clone().filter(|_| several),
            };
            match archive.blobs.get(*name).map(|blob| &blob.layer) {
                Some(Some(seen)) if told.insert(name) => {
                    let later: Vec<(usize, &LayerSeen)> = (number..resolved.len())
                        .filter_map(|at| Some((at + 1, documents.layer(resolved[at])?)))
                        .collect();
                    image.keys.extend(keys_of(seen, Some(&layer), &later));
                }
                Some(Some(_)) => {}
                missing => {
                    let why = if missing.is_none() { Why::Missing } else { Why::NotALayer };
                    image.unscanned.push(Unscanned { what: format!("layer {number} of {}", resolved.len()), why });
                }
            }
        }
        if let Some(config) = config {
            settings("", &config, &mut image.keys);
        }
    }
    // What no description speaks of is in the archive all the same.
    for (name, blob) in archive.blobs.iter().filter(|(name, _)| !told.contains(name.as_str())) {
        if let Some(seen) = &blob.layer {
            let stray = keys_of(seen, None, &[]).into_iter().map(|found| within(name, found));
            image.keys.extend(stray);
        }
        let file = blob.hits.iter().map(|hit| found(hit, file(None, printable(name))));
        // Older layouts repeat the configuration for every layer.
        let fresh: Vec<KeyFound> = file
            .filter(|found| blob.json.is_none() || !image.keys.iter().any(|known| known.kind == found.kind))
            .collect();
        image.keys.extend(fresh);
    }
    let mut seen: Vec<KeyFound> = Vec::new();
    for found in std::mem::take(&mut image.keys) {
        if !seen.contains(&found) {
            seen.push(found);
        }
    }
    image.keys = seen;
}

fn found(hit: &Hit, place: Place) -> KeyFound {
    KeyFound { place, form: hit.form, kind: hit.kind.clone() }
}

fn file(layer: Option<&Layer>, path: String) -> Place {
    Place::File { layer: layer.cloned(), path, aliases: Vec::new(), gone: None }
}

/// A key in a blob that is no layer of any image.
fn within(blob: &str, mut found: KeyFound) -> KeyFound {
    if let Place::File { path, .. } = &mut found.place {
        *path = format!("{}: {path}", printable(blob));
    }
    found
}

fn keys_of(seen: &LayerSeen, layer: Option<&Layer>, later: &[(usize, &LayerSeen)]) -> Vec<KeyFound> {
    let place = |path: &str| {
        // What becomes of a file becomes of everything in it.
        let file = path.split_once('!').map_or(path, |(file, _)| file);
        let links = seen.hard_links.iter().filter(|(_, target)| target == file);
        let becomes = |file: &str| later.iter().find_map(|(number, layer)| gone(file, *number, layer));
        Place::File {
            layer: layer.cloned(),
            path: printable(path),
            aliases: links.map(|(name, _)| printable(name)).take(20).collect(),
            gone: becomes(path).or_else(|| becomes(file)),
        }
    };
    seen.keys.iter().map(|(path, hit)| found(hit, place(path))).collect()
}

/// What a later layer does to a path (OCI image layer specification, "Whiteouts").
fn gone(path: &str, number: usize, layer: &LayerSeen) -> Option<Gone> {
    let is_below = |dir: &str| dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
    let hides = |whiteout: &Whiteout| match whiteout {
        Whiteout::Path(gone) => !gone.is_empty() && (gone == path || is_below(gone)),
        Whiteout::Below(dir) => is_below(dir),
    };
    if layer.names.contains(&hash(path)) {
        return Some(Gone::Replaced { layer: number });
    }
    layer.whiteouts.iter().any(hides).then_some(Gone::Deleted { layer: number })
}

/// The line that made each layer; none if the history does not fit the layers.
fn history(config: &Value, layers: usize) -> Vec<Option<String>> {
    let entries = config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    let made: Vec<Option<String>> = entries
        .iter()
        .filter(|entry| entry["empty_layer"] != true)
        .map(|entry| entry["created_by"].as_str().map(line))
        .collect();
    if made.len() == layers { made } else { Vec::new() }
}

/// A history entry as the Dockerfile had it, and nothing in it that may be a key.
pub fn line(created_by: &str) -> String {
    let text = created_by.trim();
    let text = match text.strip_prefix("/bin/sh -c #(nop)") {
        Some(instruction) => instruction.trim().to_owned(),
        None => text.strip_prefix("/bin/sh -c ").map_or_else(|| text.to_owned(), |run| format!("RUN {run}")),
    };
    let text = text.trim_end_matches("# buildkit").trim();
    let text = match scan::scan(text.as_bytes()).first() {
        // What leads up to a key without a gap may be the key's own beginning.
        Some(hit) => {
            let before = text.get(..hit.offset as usize).unwrap_or_default();
            format!("{}...", before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "+/".contains(c)))
        }
        None => text.to_owned(),
    };
    let words: Vec<String> = text.split_whitespace().map(shortened).collect();
    let mut line = printable(&words.join(" "));
    if line.chars().count() > 160 {
        line = line.chars().take(157).collect::<String>() + "...";
    }
    line
}

/// Digests, and whatever else is long and looks random.
fn shortened(word: &str) -> String {
    let dense = |run: &str| {
        let kinds: [fn(&u8) -> bool; 3] = [u8::is_ascii_digit, u8::is_ascii_lowercase, u8::is_ascii_uppercase];
        run.len() >= 24 && kinds.iter().filter(|kind| run.bytes().any(|octet| kind(&octet))).count() >= 2
    };
    let run = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let mut out = String::new();
    for part in word.split_inclusive(|c: char| !run(c)) {
        let end = part.trim_end_matches(|c: char| !run(c)).len();
        match dense(&part[..end]) {
            true => out.push_str(&format!("{}...{}", &part[..6], &part[end..])),
            false => out.push_str(part),
        }
    }
    out
}

/// Every text of a configuration, wherever it stands: environment, labels, commands, history.
fn settings(at: &str, value: &Value, keys: &mut Vec<KeyFound>) {
    match value {
        Value::String(text) => {
            let (name, text) = match (at.ends_with(".Env[]"), text.split_once('=')) {
                (true, Some((name, text))) => (Some(name), text),
                _ => (None, text.as_str()),
            };
            let what = match name {
                Some(name) => format!("ENV {}", printable(name)),
                None => at.trim_start_matches('.').replace("[]", ""),
            };
            for hit in scan::scan(text.as_bytes()) {
                // The classic builder writes the last container's configuration beside the image's.
                let place = Place::Setting { what: what.clone() };
                if !keys.iter().any(|known| known.place == place && known.kind == hit.kind) {
                    keys.push(found(&hit, place));
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| settings(&format!("{at}[]"), value, keys)),
        Value::Object(fields) => {
            for (name, value) in fields {
                settings(&format!("{at}.{}", printable(name)), value, keys);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

struct Documents<'a>(&'a Archive);

impl Documents<'_> {
    /// A name after the links that lead on from it.
    fn resolve<'s>(&'s self, name: &'s str) -> &'s str {
        let mut name = name;
        // A loop of links ends somewhere in it, at something that is not there.
        for _ in 0..8 {
            match self.0.links.get(name) {
                Some(target) if !self.0.blobs.contains_key(name) => name = target,
                _ => break,
            }
        }
        name
    }

    fn json(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(self.0.blobs.get(self.resolve(name))?.json.as_deref()?).ok()
    }

    fn layer(&self, name: &str) -> Option<&LayerSeen> {
        self.0.blobs.get(name)?.layer.as_ref()
    }

    fn images(&self, image: &mut Image) -> Vec<Described> {
        let mut images = Vec::new();
        for name in ["manifest.json", "index.json"] {
            let held = self.0.blobs.get(name);
            match (self.json(name), held) {
                (Some(document), _) if name == "manifest.json" => self.saved(&document, &mut images),
                (Some(document), _) => self.index(&document, &mut images, 0),
                (None, Some(_)) => {
                    let why = Why::NotDescribed("it is not JSON, or too large".into());
                    image.unscanned.push(Unscanned { what: name.into(), why });
                }
                (None, None) => {}
            }
        }
        images.truncate(IMAGES);
        images
    }

    /// manifest.json: `[{"Config": ..., "RepoTags": [...], "Layers": [...]}]`.
    fn saved(&self, document: &Value, images: &mut Vec<Described>) {
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(normal)).collect()
        };
        for entry in document.as_array().into_iter().flatten() {
            add(
                images,
                Described {
                    name: entry["RepoTags"][0].as_str().map(printable),
                    config: entry["Config"].as_str().map(normal),
                    layers: texts(&entry["Layers"]),
                },
            );
        }
    }

    /// index.json, and indexes that it leads to (OCI image index specification).
    fn index(&self, document: &Value, images: &mut Vec<Described>, depth: usize) {
        for entry in document["manifests"].as_array().into_iter().flatten() {
            let Some(blob) = blob(entry) else { continue };
            let Some(manifest) = self.json(&blob) else { continue };
            if manifest["manifests"].is_array() && depth < DEPTH {
                self.index(&manifest, images, depth + 1);
                continue;
            }
            let layers: Vec<&Value> = manifest["layers"].as_array().into_iter().flatten().collect();
            // Attestations and signatures have JSON for layers: that is searched as files.
            let archived = |layer: &&Value| layer["mediaType"].as_str().is_none_or(|kind| kind.contains("tar"));
            if !layers.iter().all(archived) {
                continue;
            }
            let name = &entry["annotations"]["org.opencontainers.image.ref.name"];
            let platform = &entry["platform"]["architecture"];
            add(
                images,
                Described {
                    name: name.as_str().or(platform.as_str()).map(printable),
                    config: self::blob(&manifest["config"]),
                    layers: layers.into_iter().filter_map(self::blob).collect(),
                },
            );
        }
    }
}

/// Docker 25 and later describe an image twice.
fn add(images: &mut Vec<Described>, described: Described) {
    let twin = |known: &&Described| known.config == described.config && known.layers == described.layers;
    if images.len() < IMAGES && !images.iter().any(|known| twin(&known)) {
        images.push(described);
    }
}

/// Where a descriptor's blob lies (OCI image layout specification).
fn blob(descriptor: &Value) -> Option<String> {
    let (algorithm, digest) = descriptor["digest"].as_str()?.split_once(':')?;
    Some(normal(&format!("blobs/{algorithm}/{digest}")))
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
