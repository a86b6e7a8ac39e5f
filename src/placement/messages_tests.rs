use super::*;

fn headers(text: &str) -> Vec<Result<String, String>> {
    let text_of = |found: Found| found.map(|m| String::from_utf8(m.header).unwrap()).map_err(|error| error.why);
    stream("-", text.as_bytes()).into_iter().map(text_of).collect()
}

#[test]
fn one_message_is_its_header() {
    assert_eq!(headers("A: 1\nB: 2\n\nFrom here on: body\n"), [Ok("A: 1\nB: 2\n".to_owned())]);
    assert_eq!(headers("\n\nA: 1\n\nbody"), [Ok("A: 1\n".to_owned())]);
}

#[test]
fn an_mbox_is_split_where_a_message_begins() {
    let mbox = "From a Mon\nA: 1\n\nbody\nFrom the start\n\nFrom b Tue\nB: 2\n\n\nFrom c Wed\nC: 3\n";
    assert_eq!(headers(mbox), [Ok("A: 1\n".to_owned()), Ok("B: 2\n".to_owned()), Ok("C: 3\n".to_owned())]);
    // A line in the body of a single message begins none.
    assert_eq!(headers("A: 1\n\nFrom b Tue\nB: 2\n"), [Ok("A: 1\n".to_owned())]);
}

#[test]
fn what_is_no_message_is_an_error() {
    assert_eq!(headers(""), [Err("it has no header fields, so it is no message".to_owned())]);
    assert_eq!(headers("hello\n").len(), 1);
    assert!(headers("hello\n")[0].is_err());
}
