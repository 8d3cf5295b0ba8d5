use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<Vec<(String, String)>, String> {
    let outputs = Outputs::parse(text).map_err(|error| error.to_string())?;
    Ok(outputs.into_map().into_iter().collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn lines_and_blocks_become_outputs() {
    let cases: [(&str, &[(&str, &str)]); 10] = [
        ("", &[]),
        ("\n\n", &[]),
        ("a=1", &[("a", "1")]),
        ("a=1\r\nb-c=\n", &[("a", "1"), ("b-c", "")]),
        ("_a=x = y << z\n", &[("_a", "x = y << z")]),
        ("a=1\na=2\n", &[("a", "2")]),
        (
            "a<<EOF\none\n\n two=2\nEOF\nb=3\n",
            &[("a", "one\n\n two=2"), ("b", "3")],
        ),
        ("a<<EOF\nEOF", &[("a", "")]),
        ("a<<x=y\n1\nx=y", &[("a", "1")]),
        ("a=\tgrün ☃\n", &[("a", "\tgrün ☃")]),
    ];
    for (text, expected) in cases {
        assert_eq!(parsed(text), Ok(pairs(expected)), "{text:?}");
    }
}

#[test]
fn malformed_line_is_named() {
    let cases = [
        (
            "a=1\nhello",
            "line 2 of the outputs is neither key=value nor key<<EOF",
        ),
        ("9a=1", "line 1 of the outputs has an invalid key"),
        ("a b=1", "line 1 of the outputs has an invalid key"),
        ("=1", "line 1 of the outputs has an invalid key"),
        ("ä=1", "line 1 of the outputs has an invalid key"),
        ("\na<<\n1\n", "line 2 of the outputs has no delimiter"),
        (
            "a<<EOF\n1\n EOF\n",
            "line 1 of the outputs begins a value whose last line",
        ),
        (
            "a=\u{1b}[2J",
            "line 1 of the outputs has a control character",
        ),
        (
            "a=1\nb<<E\nok\n\0\nE",
            "line 4 of the outputs has a control character",
        ),
        (
            "a=\u{fffd}",
            "line 1 of the outputs has a control character, or bytes",
        ),
        ("a=1\rb=2", "line 1 of the outputs has a control character"),
    ];
    for (text, expected) in cases {
        let error = parsed(text).unwrap_err();
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
}

fn completed(text: &str, most: usize) -> Result<usize, Refusal> {
    let read = Outputs::of_completed(text, Size::Exactly(text.len()), most);
    read.map(|it| it.0.len()).map_err(|error| error.refusal())
}

#[test]
fn completed_command_writes_outputs_or_message() {
    assert_eq!(completed("", 10), Ok(0));
    assert_eq!(completed("All tests passed.\n", 10), Ok(0), "a message");
    assert_eq!(completed("a=1\nb=2\n", 8), Ok(2));
    assert_eq!(completed("a=1\nb=2\n", 7), Err(Refusal::TooLarge));
    assert_eq!(completed("a=1\nAll passed.\n", 100), Err(Refusal::Invalid));
    assert_eq!(completed("my key=1\n", 100), Err(Refusal::Invalid));
    let long = "x".repeat(KUBELET_BYTES);
    assert_eq!(
        completed(&long, 5000),
        Err(Refusal::Invalid),
        "its key may be cut"
    );
    assert_eq!(completed(&long, 100), Err(Refusal::TooLarge));
}

#[test]
fn failed_command_writes_outputs_or_message() {
    let of = |text: &str| Outputs::of_failed(text, Size::Exactly(text.len()), 20);
    assert!(of("a=1\n").is_some());
    assert!(of("cannot connect: code=3").is_none(), "a message");
    assert!(of("").is_none());
    assert!(of(&"a=1\n".repeat(6)).is_none(), "too large");
    assert!(
        Outputs::of_failed("a=1", Size::AtLeast(3), 20).is_none(),
        "cut"
    );
}

#[test]
fn too_large_outputs_name_both_sizes() {
    let text = "a=12345678";
    for (size, said) in [
        (Size::Exactly(10), "have 10 bytes"),
        (Size::AtLeast(10), "have 10 or more bytes"),
    ] {
        let error = Outputs::of_completed(text, size, 5)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(said) && error.contains("at most 5:") && error.contains("/kubeci"),
            "{error}"
        );
    }
}

pub(crate) fn outputs() -> impl Strategy<Value = Outputs> {
    let value = "([ -~\t\nä☃]{0,12})";
    prop::collection::btree_map("[A-Za-z_][A-Za-z0-9_-]{0,6}", value, 0..4).prop_map(Outputs)
}

proptest! {
    #[test]
    fn written_outputs_are_read_back(outputs in outputs()) {
        let block = |(key, value): (&str, &str)| format!("{key}<<END OF VALUE\n{value}\nEND OF VALUE\n");
        let text: String = outputs.iter().map(block).collect();
        prop_assert_eq!(Outputs::parse(&text), Ok(outputs.clone()));
        let single = |(_, value): &(&str, &str)| !value.contains('\n');
        let line = |(key, value): (&str, &str)| format!("{key}={value}\n");
        let text: String = outputs.iter().filter(single).map(line).collect();
        let read = Outputs::parse(&text).unwrap();
        prop_assert!(read.iter().eq(outputs.iter().filter(single)));
    }

    #[test]
    fn outputs_of_any_bytes_are_text(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"ab=<\n\r_E".to_vec())], 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(outputs) = Outputs::parse(&text) {
            for (key, value) in outputs.iter() {
                prop_assert!(is_key(key) && value.chars().all(is_text));
                prop_assert!(key.len() + value.len() <= text.len());
            }
        }
    }
}

#[test]
fn megabyte_line_is_read() {
    let long = format!("a={}", "x".repeat(1 << 20));
    assert_eq!(parsed(&long).unwrap()[0].1.len(), 1 << 20);
    let lines = "a=1\n".repeat(1 << 18);
    assert_eq!(parsed(&lines), Ok(pairs(&[("a", "1")])));
}
