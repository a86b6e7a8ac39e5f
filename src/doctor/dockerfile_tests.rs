use proptest::prelude::*;

use super::*;

#[test]
fn steps_have_lines_and_stages() {
    let file = Dockerfile::parse(
        "# syntax=docker/dockerfile:1\nfrom debian:bookworm as build\nrun apt-get update && \\\n    # why\n    apt-get install -y postfix=3.7 opendkim-tools\n\nFROM build\nCOPY --from=build /a /b\nadd http://x/y ./z k/ /k/\nVOLUME [\"/var/spool/postfix\"]\nHEALTHCHECK CMD true\nENV A=b\n",
    )
    .unwrap();
    let lines: Vec<(u32, usize)> = file.steps.iter().map(|step| (step.line, step.stage)).collect();
    assert_eq!(lines, [(2, 1), (3, 1), (7, 2), (8, 2), (9, 2), (10, 2), (11, 2), (12, 2)]);
    assert!(file.installs("postfix") && file.installs("opendkim") && !file.installs("exim4"));
    assert_eq!(file.base(), Some("build"));
    assert_eq!(file.steps[4].does, Does::Copy { sources: vec!["./z".into(), "k/".into()], dest: "/k/".into() });
    assert_eq!(file.steps[5].does, Does::Volume(vec!["/var/spool/postfix".into()]));
}

#[test]
fn a_command_goes_on_over_lines_and_comments() {
    let file = Dockerfile::parse("FROM a\nRUN apt-get install -y \\\n  # the MTA\n  postfix \\\n  opendkim\n").unwrap();
    assert!(file.installs("postfix") && file.installs("opendkim"));
    assert_eq!(file.commands().count(), 1);
}

#[test]
fn a_here_document_is_a_script_only_if_it_is_the_command() {
    let script = Dockerfile::parse("FROM a\nRUN <<EOF\nopendkim-genkey -s x\nEOF\n").unwrap();
    assert!(script.commands().any(|(_, command)| command.starts_with("opendkim-genkey")));
    let text = Dockerfile::parse("FROM a\nRUN cat > /start.sh <<EOF\nopendkim-genkey -s x\nEOF\n").unwrap();
    assert!(!text.commands().any(|(_, command)| command.starts_with("opendkim-genkey")));
    let after = Dockerfile::parse("FROM a\nRUN true && \\\n  cat > /x <<-'END' && chmod +x /x\n\tFROB\n\tEND\nRUN b\n")
        .unwrap();
    assert_eq!(after.steps.last().map(|step| step.line), Some(6));
    assert!(Dockerfile::parse("FROM a\nRUN echo $((1<<2))\nRUN cat <<EOF\n").is_ok(), "a document without an end");
}

#[test]
fn what_is_no_dockerfile_is_an_error_with_a_line() {
    let error = Dockerfile::parse("FROM a\nFROB b\n").unwrap_err();
    assert_eq!(error.line, 2);
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Dockerfile::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn anything_like_a_dockerfile_is_read_or_refused(
        text in "((FROM|run|COPY|ADD|ENV|VOLUME|HEALTHCHECK|ONBUILD|#|<<E|E|\\\\|\\[\"|\"\\]|--from=|[a-z/$={}'\"]{1,4})([ \n]|\\\\\n)){0,60}"
    ) {
        if let Ok(file) = Dockerfile::parse(&text) {
            let _ = file.commands().count();
        }
    }
}
