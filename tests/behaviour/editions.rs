//! The two passes of this suite: what the one on the embedded edition leaves out is listed, and the list is true.

use std::process::Command;

use harness::edition::Edition;

/// tests/run reads it too, and gives each line to `--skip`.
const SERVICES_ONLY: &str = include_str!("services_only.txt");

fn left_out() -> impl Iterator<Item = &'static str> {
    SERVICES_ONLY.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn all_tests() -> Vec<String> {
    let this = std::env::current_exe().unwrap();
    let listed = Command::new(this).args(["--list", "--format=terse"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[test]
fn a_name_on_the_list_leaves_out_what_it_names_and_nothing_else() {
    let tests = all_tests();
    for name in left_out() {
        // As `--skip` does it.
        let (meant, others): (Vec<_>, Vec<_>) =
            tests.iter().filter(|test| test.contains(name)).partition(|test| match name.ends_with("::") {
                true => test.starts_with(name),
                false => test.as_str() == name,
            });
        assert!(!meant.is_empty(), "services_only.txt names {name}, and there is no such test");
        assert!(others.is_empty(), "services_only.txt names {name}, which leaves out {others:?} too");
    }
}

#[test]
fn what_only_the_services_have_fails_a_test_on_the_embedded_edition() {
    let asked = std::panic::catch_unwind(|| Edition::need_services("a Redis"));
    assert_eq!(asked.is_err(), Edition::under_test() == Edition::Embedded);
}
