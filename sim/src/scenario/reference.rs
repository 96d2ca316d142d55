//! The reference of the scenario file tells all that the parser knows: walks the parser's own lists and looks for each word.

use super::file::config_table;
use super::properties::Check;
use super::tree::Table;
use super::units::Unit;
use super::walk::{Fields, Foreign, Variant, Walk};
use super::{
    Distribution, Fault, FaultKind, Joining, Nodes, Phase, PropertySpec, Scenario, Shape, Workload,
    WorkloadKind,
};
use crate::schedule::{DiskFate, LatencyModel, Profile};
use rumormill_core::{Class, Config};

/// The reference of the scenario file.
const REFERENCE: &str = include_str!("../../../docs/scenarios.md");

/// Walks a part of a scenario for the keys that it knows.
#[derive(Default)]
struct Keys(Vec<&'static str>);

impl Keys {
    fn of(part: &mut impl Walk) -> Vec<&'static str> {
        let mut keys = Self::default();
        part.walk(&mut keys);
        keys.0
    }

    fn inner(&mut self, key: &'static str, walk: impl FnOnce(&mut Self)) {
        self.0.push(key);
        walk(self);
    }
}

impl Fields for Keys {
    fn required<U: Unit>(&mut self, key: &'static str, _: U, _: &mut U::Of) {
        self.0.push(key);
    }
    fn defaulted<U: Unit>(&mut self, key: &'static str, _: U, _: &mut U::Of) {
        self.0.push(key);
    }
    fn optional<U: Unit>(&mut self, key: &'static str, _: U, _: &mut Option<U::Of>) {
        self.0.push(key);
    }
    fn table(&mut self, key: &'static str, walk: impl FnOnce(&mut Self)) {
        self.inner(key, walk);
    }
    fn part(&mut self, key: &'static str, walk: impl FnOnce(&mut Self)) {
        self.inner(key, walk);
    }
    fn short_table(&mut self, key: &'static str, _: &'static str, walk: impl FnOnce(&mut Self)) {
        self.inner(key, walk);
    }
    fn list<T: Walk>(&mut self, key: &'static str, _: &mut Vec<T>, _: fn() -> T) {
        self.0.push(key);
    }
    fn choose<V: Variant>(&mut self, _: &mut V) {}
    fn foreign<T>(&mut self, key: &'static str, _: &mut T, _: Foreign<T>, _: fn(&T) -> Table) {
        self.0.push(key);
    }
}

/// The chapter of the reference whose title ends with this.
fn chapter(title: &str) -> &'static str {
    let mut chapters = REFERENCE.split("\n## ");
    let found = chapters.find(|text| text.lines().next().is_some_and(|line| line.ends_with(title)));
    found.unwrap_or_else(|| panic!("no chapter {title}"))
}

/// Asserts that a chapter has a section for a word, and that section or the chapter's beginning each of its keys.
fn assert_told(title: &str, word: &str, keys: &[&str]) {
    let mut sections = chapter(title).split("\n### ");
    let begin = sections.next().unwrap_or_default();
    let section = sections.find(|text| text.lines().next() == Some(&format!("`{word}`")));
    let section = section.unwrap_or_else(|| panic!("{title}: no section for {word}"));
    for key in keys {
        let is_told = |text: &str| text.contains(&format!("`{key}`")) || text.contains(&format!("`{key} = "));
        assert!(is_told(section) || is_told(begin), "{title}: {word}: nothing of {key}");
    }
}

#[test]
fn the_reference_tells_every_fault_workload_phase_and_property_with_every_key() {
    for (word, kind) in FaultKind::all() {
        let fault = Fault { kind, ..Fault::pause(Nodes::All) };
        assert_told("`[[fault]]`", word, &Keys::of(&mut fault.clone()));
    }
    for (_, shape) in Shape::all() {
        let kind = FaultKind::Partition { shape, flapping: None };
        let keys = Keys::of(&mut Fault { kind, ..Fault::pause(Nodes::All) });
        assert_told("`[[fault]]`", "partition", &keys);
    }
    for (word, kind) in WorkloadKind::all() {
        let keys = Keys::of(&mut Workload { kind, ..Workload::leave(Nodes::All) });
        assert_told("`[[workload]]`", word, &keys);
    }
    for (word, mut phase) in Phase::all() {
        assert_told("`[[phase]]`", word, &Keys::of(&mut phase));
    }
    for (word, check) in Check::all() {
        let askable = check.askable();
        let title = "`[[property]]`";
        assert_told(title, word, &askable.iter().copied().chain(["within_s"]).collect::<Vec<_>>());
        assert_told(title, word, &Keys::of(&mut PropertySpec::always(check)));
        // How it may be asked ends its section.
        let section = chapter(title).split("\n### ").find(|text| text.starts_with(&format!("`{word}`")));
        let words: String = section.expect("a section").split_whitespace().collect::<Vec<_>>().join(" ");
        let asked = askable.join(", ");
        let asked = format!("{}{}.", asked[..1].to_uppercase(), &asked[1..]);
        assert!(words.ends_with(&format!(". {asked}")), "{word}: {asked}");
    }
}

#[test]
fn the_reference_tells_every_key_of_the_world() {
    let mut keys = Keys::of(&mut Scenario::new("x", 1));
    for (_, mut latency) in LatencyModel::all() {
        keys.extend(Keys::of(&mut latency));
    }
    let told = chapter("The world");
    for key in keys {
        let forms = [format!("`{key}`"), format!("`[{key}]`"), format!("`[[{key}]]`"), format!("{key} = ")];
        assert!(forms.iter().any(|form| told.contains(form)), "nothing of {key}");
    }
}

#[test]
fn the_reference_tells_every_word_that_a_value_may_be() {
    fn words<V: Variant>() -> Vec<&'static str> {
        V::all().into_iter().map(|(word, _)| word).collect()
    }
    let all = [
        words::<Profile>(),
        words::<Class>(),
        words::<Distribution>(),
        words::<DiskFate>(),
        words::<Joining>(),
    ];
    for word in all.concat() {
        assert!(REFERENCE.contains(&format!("`\"{word}\"`")), "nothing of \"{word}\"");
    }
}

#[test]
fn the_reference_tells_every_number_of_the_configuration_with_its_default() {
    let told = chapter("`[config]`");
    for (key, value) in config_table(&Config::default()) {
        assert!(
            told.contains(&format!("| `{key}` | {value} | ")),
            "{key}: not there, or its default is not {value}"
        );
    }
    assert!(told.contains("| `paper` | ") && told.contains("| `canary` | "));
}

#[test]
fn the_example_of_the_reference_is_a_scenario() {
    let (_, example) = REFERENCE.split_once("```toml\n").expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    Scenario::from_toml(example, "docs/scenarios.md").expect("it reads");
}
