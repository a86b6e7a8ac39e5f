//! Dockerfiles: what of a build brings a private key into an image, and what kind of image comes out.

use std::ops::Range;

use parse_dockerfile::{Command, Instruction, Source};

/// A Dockerfile, step by step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dockerfile {
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub line: u32,
    /// Which stage it belongs to; the last one becomes the image.
    pub stage: usize,
    pub does: Does,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    From {
        image: String,
    },
    /// COPY or ADD from the context.
    Copy {
        sources: Vec<String>,
        dest: String,
    },
    /// COPY from another stage or image.
    CopyFrom {
        sources: Vec<String>,
        dest: String,
    },
    /// A shell command, or the program and its arguments in one line.
    Run(String),
    /// ENV, ARG or LABEL: name and value as written.
    Set(String),
    Volume(Vec<String>),
    Healthcheck,
    /// CMD or ENTRYPOINT.
    Start(String),
}

/// A text that is no Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerfileError {
    pub line: u32,
    pub why: String,
}

impl Dockerfile {
    pub fn parse(text: &str) -> Result<Dockerfile, DockerfileError> {
        let text = &without_fed_documents(text);
        let parsed = parse_dockerfile::parse(text).map_err(|error| DockerfileError {
            line: u32::try_from(error.line()).unwrap_or(0),
            why: error.to_string().lines().next().unwrap_or_default().to_owned(),
        })?;
        let mut dockerfile = Dockerfile::default();
        let mut stage = 0;
        for instruction in &parsed.instructions {
            let instruction = match instruction {
                Instruction::Onbuild(onbuild) => &*onbuild.instruction,
                instruction => instruction,
            };
            if matches!(instruction, Instruction::From(_)) {
                stage += 1;
            }
            if let Some((at, does)) = does(instruction, text) {
                let line = text.get(..at).map_or(0, |before| before.matches('\n').count() + 1);
                dockerfile.steps.push(Step { line: u32::try_from(line).unwrap_or(0), stage, does });
            }
        }
        Ok(dockerfile)
    }

    fn last_stage(&self) -> usize {
        self.steps.iter().map(|step| step.stage).max().unwrap_or(0)
    }

    /// Whether a step's result is in the image, and not in a stage that is left behind.
    pub fn is_kept(&self, step: &Step) -> bool {
        step.stage == self.last_stage()
    }

    /// The image that the last stage begins with, if it is no stage of this file.
    pub fn base(&self) -> Option<&str> {
        let last = self.last_stage();
        self.steps.iter().find_map(|step| match &step.does {
            Does::From { image } if step.stage == last => Some(image.as_str()),
            _ => None,
        })
    }

    /// The shell commands that make the image, each alone.
    pub fn commands(&self) -> impl Iterator<Item = (&Step, String)> {
        self.steps.iter().flat_map(|step| {
            let text = if let Does::Run(text) = &step.does { text.as_str() } else { "" };
            commands(text).into_iter().map(move |command| (step, command))
        })
    }

    /// Whether a package is installed from a distribution.
    pub fn installs(&self, package: &str) -> bool {
        const INSTALLERS: &[&str] = &["apt-get", "apt", "apk", "dnf", "yum", "microdnf", "zypper", "pacman"];
        self.commands().any(|(_, command)| {
            let mut words = command.split_whitespace();
            words.clone().any(|word| INSTALLERS.contains(&word))
                && words.any(|word| {
                    let name = word.split(['=', '@', '~', '<', '>']).next().unwrap_or(word);
                    name == package || name.strip_prefix(package).is_some_and(|rest| rest.starts_with('-'))
                })
        })
    }
}

/// The text without here-documents that feed a command (`RUN cat > start.sh <<EOF`), which the parser takes for
/// instructions. Lines stay where they are; a document without an end is left alone.
fn without_fed_documents(text: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut out = String::with_capacity(text.len());
    let (mut at, mut in_run) = (0, false);
    while let Some(line) = lines.get(at) {
        out.push_str(line);
        at += 1;
        let code = line.trim();
        let run = code.get(..4).filter(|start| start.eq_ignore_ascii_case("run ")).map(|_| code[4..].trim_start());
        let feeds = in_run || run.is_some_and(|command| !command.starts_with("<<"));
        in_run = (in_run || run.is_some()) && (code.ends_with('\\') || code.starts_with('#'));
        let Some(end) = feeds.then(|| delimiter(code)).flatten() else { continue };
        let body = lines[at..].iter().position(|line| line.trim() == end);
        if let Some(length) = body {
            out.push_str(&"\n".repeat(length + 1));
            at += length + 1;
            in_run = false;
        }
    }
    out
}

/// The word after `<<` that ends a here-document.
fn delimiter(line: &str) -> Option<&str> {
    let (_, after) = line.split_once("<<")?;
    let word = after.trim_start_matches('-').trim_start_matches(['"', '\'']);
    let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(word.len());
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_').then(|| &word[..end])
}

/// The commands of a shell text; no comments, no continued lines.
fn commands(text: &str) -> Vec<String> {
    let mut joined = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(goes_on) => {
                joined.push_str(goes_on);
                joined.push(' ');
            }
            None => {
                joined.push_str(line);
                joined.push('\n');
            }
        }
    }
    let pieces = joined.lines().flat_map(|line| line.split("&&"));
    let pieces = pieces.flat_map(|piece| piece.split([';', '|', '(', ')', '{', '}'])).map(str::trim);
    pieces.filter(|piece| !piece.is_empty()).map(str::to_owned).collect()
}

fn does(instruction: &Instruction<'_>, text: &str) -> Option<(usize, Does)> {
    let slice = |span: &Range<usize>| text.get(span.clone()).unwrap_or_default().to_owned();
    let command = |command: &Command<'_>| match command {
        Command::Exec(words) => words.value.iter().map(|word| word.value.as_ref()).collect::<Vec<_>>().join(" "),
        Command::Shell(line) => line.value.to_owned(),
        _ => String::new(),
    };
    Some(match instruction {
        Instruction::From(from) => (from.from.span.start, Does::From { image: from.image.value.to_string() }),
        Instruction::Copy(copy) => {
            let sources = paths(&copy.src);
            let dest = copy.dest.value.to_string();
            let from = copy.options.iter().any(|flag| flag.name.value.eq_ignore_ascii_case("from"));
            let does = if from { Does::CopyFrom { sources, dest } } else { Does::Copy { sources, dest } };
            (copy.copy.span.start, does)
        }
        Instruction::Add(add) => {
            let mut sources = paths(&add.src);
            sources.retain(|source| !source.contains("://") && !source.starts_with("git@"));
            (add.add.span.start, Does::Copy { sources, dest: add.dest.value.to_string() })
        }
        Instruction::Run(run) => {
            let mut line = command(&run.arguments);
            // A here-document that is the whole command is a script; one that feeds a command is only text.
            if line.trim().is_empty() {
                for document in &run.here_docs {
                    line.push('\n');
                    line.push_str(&document.value);
                }
            }
            (run.run.span.start, Does::Run(line))
        }
        Instruction::Env(env) => (env.env.span.start, Does::Set(slice(&env.arguments.span))),
        Instruction::Arg(arg) => (arg.arg.span.start, Does::Set(slice(&arg.arguments.span))),
        Instruction::Label(label) => (label.label.span.start, Does::Set(slice(&label.arguments.span))),
        Instruction::Volume(volume) => (volume.volume.span.start, Does::Volume(volumes(&volume.arguments))),
        Instruction::Healthcheck(check) => match check.arguments {
            parse_dockerfile::HealthcheckArguments::Cmd { .. } => (check.healthcheck.span.start, Does::Healthcheck),
            _ => return None,
        },
        Instruction::Entrypoint(start) => (start.entrypoint.span.start, Does::Start(command(&start.arguments))),
        Instruction::Cmd(start) => (start.cmd.span.start, Does::Start(command(&start.arguments))),
        _ => return None,
    })
}

fn paths(sources: &[Source<'_>]) -> Vec<String> {
    let path = |source: &Source<'_>| match source {
        Source::Path(path) => Some(path.value.to_string()),
        _ => None,
    };
    sources.iter().filter_map(path).collect()
}

fn volumes(arguments: &parse_dockerfile::JsonOrStringArray<'_, 1>) -> Vec<String> {
    let list = match arguments {
        parse_dockerfile::JsonOrStringArray::Json(list) => &list.value,
        parse_dockerfile::JsonOrStringArray::String(list) => list,
    };
    list.iter().map(|path| path.value.to_string()).collect()
}

#[cfg(test)]
#[path = "dockerfile_tests.rs"]
mod tests;
