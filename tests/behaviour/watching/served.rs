//! What services serve at `/metrics`, by family.

use std::collections::{BTreeMap, BTreeSet};

/// The families of all services together.
#[derive(Debug, Default)]
pub struct Served(BTreeMap<String, Family>);

#[derive(Debug, Default)]
pub struct Family {
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

impl Family {
    /// Whether a sample has this label, with this value.
    pub fn has(&self, label: &str, value: Option<&str>) -> bool {
        self.labels.get(label).is_some_and(|values| value.is_none_or(|value| values.contains(value)))
    }
}

impl Served {
    /// Adds what one service says.
    pub fn add(&mut self, exposition: &str) {
        for line in exposition.lines() {
            if let Some(described) = line.strip_prefix("# TYPE ") {
                let (name, kind) = described.split_once(' ').expect("a family has a type");
                self.0.entry(name.to_owned()).or_default().kind = kind.to_owned();
            } else if let Some((name, rest)) = line.split_once('{') {
                let labels = rest.rsplit_once('}').expect("a sample's labels end").0;
                let base = self.base_of(name).unwrap_or_else(|| panic!("{line}: of no family"));
                let family = self.0.get_mut(base).expect("it was found just now");
                for (label, value) in labels.split("\",").filter_map(|pair| pair.split_once("=\"")) {
                    let value = value.trim_end_matches('"').to_owned();
                    family.labels.entry(label.to_owned()).or_default().insert(value);
                }
            }
        }
    }

    /// The family that a query's name means, by the rules of its type: a counter ends in `_total`, and so on.
    pub fn family_of(&self, name: &str) -> Option<&Family> {
        self.0.get(self.base_of(name)?)
    }

    fn base_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let endings = [
            ("counter", "_total"),
            ("histogram", "_bucket"),
            ("histogram", "_sum"),
            ("histogram", "_count"),
            ("info", "_info"),
            ("gauge", ""),
        ];
        endings.iter().find_map(|(kind, ending)| {
            let base = name.strip_suffix(ending)?;
            self.0.get(base).is_some_and(|family| family.kind == *kind).then_some(base)
        })
    }
}

#[test]
fn a_name_is_served_only_in_the_form_of_its_type() {
    let mut served = Served::default();
    served.add("# TYPE a counter\na_total{b=\"{x}\",c=\"y\"} 1\n# TYPE d histogram\n# TYPE e gauge\n");
    for name in ["a_total", "d_bucket", "d_sum", "d_count", "e"] {
        assert!(served.family_of(name).is_some(), "{name}");
    }
    for name in ["a", "d", "e_total", "a_bucket", "b"] {
        assert!(served.family_of(name).is_none(), "{name}");
    }
    let family = served.family_of("a_total").unwrap();
    assert!(family.has("b", Some("{x}")) && family.has("c", None) && !family.has("c", Some("x")));
}
