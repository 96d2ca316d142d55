//! Facts about the library of scenarios.

use rumormill_core::Config;
use rumormill_sim::Scenario;
use std::path::Path;

/// The folders of the library.
const THEMES: [&str; 10] = [
    "first",
    "membership",
    "broadcast",
    "state",
    "faults",
    "members",
    "registry",
    "mail",
    "placement",
    "predecessors",
];

fn library() -> Vec<(String, Scenario)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut scenarios = Vec::new();
    for theme in THEMES {
        for file in std::fs::read_dir(root.join(theme)).expect(theme) {
            let path = file.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("text");
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let read = Scenario::from_toml(&text, &path.to_string_lossy());
            scenarios.push((name, read.unwrap_or_else(|error| panic!("{error}"))));
        }
    }
    scenarios
}

#[test]
fn every_scenario_is_named_as_its_file_and_says_in_a_line_what_it_shows() {
    let library = library();
    assert!(library.len() >= 30);
    for (name, scenario) in library {
        assert_eq!(name, scenario.name);
        assert!(!scenario.about.is_empty() && scenario.about.len() <= 110, "{name}");
        assert!(!scenario.properties.is_empty(), "{name}");
    }
}

#[test]
fn every_scenario_that_is_written_reads_as_itself() {
    for (name, scenario) in library() {
        assert_eq!(Scenario::from_toml(&scenario.to_toml(), &name), Ok(scenario));
    }
}

#[test]
fn every_scenario_expands_and_its_steps_are_in_order_and_in_time() {
    for (name, scenario) in library() {
        let schedule = scenario.expand(1);
        assert!(schedule.steps.is_sorted_by_key(|step| step.at_ns), "{name}");
        assert!(schedule.steps.iter().all(|step| step.at_ns <= schedule.end_ns), "{name}");
    }
}

#[test]
fn every_explanation_fits_a_terminal() {
    for (name, scenario) in library() {
        for line in scenario.explain().lines() {
            assert!(line.chars().count() <= 100, "{name}: {line}");
        }
    }
}

#[test]
fn the_scenario_of_idle_nodes_runs_what_tune_for_idle_sets() {
    let (_, scenario) = library().into_iter().find(|(name, _)| name == "idle").expect("members/idle");
    let mut tuned = Config { members: true, ..Config::default() };
    tuned.tune_for_idle();
    assert_eq!(scenario.config, tuned);
}
