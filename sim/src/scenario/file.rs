//! The face of a scenario in TOML.

use super::error::{Place, ScenarioError, nearest};
use super::tree::{self, Datum, Table};
use super::units::{Millis, MillisRange, Ratio, Seconds, Share, Text, whole, word};
use super::walk::{self, Fields, Variant, Walk};
use super::workloads::{Joining, Phase};
use super::{Bootstrap, Check, Clocks, ConfigOf, Fault, Nodes, PropertySpec, Scenario, Workload};
use crate::schedule::{LatencyModel, NetworkModel, Profile};
use rumormill_core::Config;
use serde::Deserialize;

/// Nodes of a scenario at most.
pub const NODES_MAX: u32 = 1_000_000;

impl Scenario {
    /// Reads a scenario from TOML. `name` is what messages call the text: its file.
    ///
    /// # Errors
    /// [`ScenarioError`] for anything that cannot be run, with its line and column.
    pub fn from_toml(text: &str, name: &str) -> Result<Self, ScenarioError> {
        Self::from_toml_with::<&str>(text, name, &[])
    }

    /// Reads a scenario from TOML with some keys changed first, each by a path like `fault[0].at_s` and a TOML value;
    /// what is no TOML value is taken as text.
    ///
    /// # Errors
    /// [`ScenarioError`] for anything that cannot be run, with its line and column, or with the change that caused it.
    pub fn from_toml_with<S: AsRef<str>>(
        text: &str,
        name: &str,
        sets: &[(S, S)],
    ) -> Result<Self, ScenarioError> {
        let sets: Vec<(&str, &str)> =
            sets.iter().map(|(path, value)| (path.as_ref(), value.as_ref())).collect();
        Self::parse(text, &sets).map_err(|error| error.located(name, text, &sets))
    }

    fn parse(text: &str, sets: &[(&str, &str)]) -> Result<Self, ScenarioError> {
        let mut root = tree::parse(text)?;
        for (index, (path, value)) in sets.iter().enumerate() {
            tree::set(&mut root, index, path, value)?;
        }
        let mut scenario = Scenario::new("", 0);
        walk::read(&root, &mut scenario)?;
        scenario.number();
        scenario.check_rules().map_err(|error| {
            let place = root.locate(error.path());
            error.at(place)
        })?;
        Ok(scenario)
    }

    /// Writes the scenario as TOML, complete: reading it gives the same scenario.
    pub fn to_toml(&self) -> String {
        tree::print(&self.to_tree())
    }

    fn to_tree(&self) -> Table {
        walk::write(&mut self.clone())
    }

    /// Checks everything that reading a file would check.
    ///
    /// # Errors
    /// [`ScenarioError`] names the first key at fault by its path.
    pub fn validate(&self) -> Result<(), ScenarioError> {
        let bounds = walk::read(&self.to_tree(), &mut Scenario::new("", 0));
        let checked = bounds.and_then(|()| self.check_rules());
        checked
            .map_err(|error| error.at(Place::Nowhere).located(&format!("scenario {:?}", self.name), "", &[]))
    }
}

impl Walk for Scenario {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.required("name", Text, &mut self.name);
        let mut about = Some(self.about.clone()).filter(|about| !about.is_empty());
        f.optional("about", Text, &mut about);
        self.about = about.unwrap_or_default();
        f.required("nodes", whole(1, i64::from(NODES_MAX)), &mut self.nodes);
        f.optional("app", Text, &mut self.app);
        f.optional("end_s", Seconds, &mut self.end_ns);
        f.table("bootstrap", |f| self.bootstrap.walk(f));
        f.table("network", |f| self.network.walk(f));
        f.table("clocks", |f| self.clocks.walk(f));
        f.foreign("config", &mut self.config, read_config, write_config);
        f.list("config_of", &mut self.config_of, || ConfigOf::new(Nodes::All));
        f.list("phase", &mut self.phases, || Phase::Join(Joining::OneByOne));
        f.list("workload", &mut self.workloads, || Workload::leave(Nodes::All));
        f.list("fault", &mut self.faults, || Fault::pause(Nodes::All));
        f.list("property", &mut self.properties, || PropertySpec::always(Check::Connected));
    }
}

impl Walk for Bootstrap {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.defaulted("contacts", whole(1, i64::from(NODES_MAX)), &mut self.contacts);
        f.defaulted("join_every_ms", Millis, &mut self.join_every_ns);
        f.defaulted("settle_s", Seconds, &mut self.settle_ns);
    }
}

impl Walk for Clocks {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.defaulted("offset_ms", whole(0, super::faults::CLOCK_MS_MAX), &mut self.offset_ms);
        f.defaulted("drift_ppm", whole(0, super::faults::DRIFT_PPM_MAX), &mut self.drift_ppm);
    }
}

impl Walk for NetworkModel {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.defaulted("profile", word(), &mut self.profile);
        f.part("latency", |f| self.latency.walk(f));
        f.defaulted("loss", Share, &mut self.loss_ppm);
        f.defaulted("uplink_mbps", Ratio { what: "a bandwidth in Mbit/s" }, &mut self.uplink_bps);
        f.defaulted("idle_timeout_s", Seconds, &mut self.idle_timeout_ns);
        f.defaulted("handshake_timeout_s", Seconds, &mut self.handshake_timeout_ns);
        f.defaulted("high_water_bytes", whole(1, i64::from(u32::MAX)), &mut self.high_water_bytes);
        f.defaulted("disk_ms", Millis, &mut self.disk_ns);
    }
}

impl Variant for Profile {
    const WHAT: &'static str = "profile";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("quic", Self::Quic), ("ideal", Self::Ideal)]
    }
}

impl Variant for LatencyModel {
    const WHAT: &'static str = "latency";

    fn all() -> Vec<(&'static str, Self)> {
        vec![
            ("constant_ms", Self::Constant(0)),
            ("uniform_ms", Self::Uniform(0, 0)),
            ("long_tail_ms", Self::LongTail(0, 0)),
            ("regions", Self::FiveRegions),
        ]
    }
}

impl Walk for LatencyModel {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.choose(self);
        match self {
            Self::Constant(ns) => f.required("constant_ms", Millis, ns),
            Self::Uniform(low, high) => {
                let mut range = (*low, *high);
                f.required("uniform_ms", MillisRange, &mut range);
                (*low, *high) = range;
            }
            Self::LongTail(median, p99) => f.table("long_tail_ms", |f| {
                f.required("median", Millis, median);
                f.required("p99", Millis, p99);
            }),
            Self::FiveRegions => f.required("regions", word(), &mut Regions::Five),
        }
    }
}

/// The maps of the earth that latencies can follow.
#[derive(Clone, Copy)]
enum Regions {
    Five,
}

impl Variant for Regions {
    const WHAT: &'static str = "map of regions";

    fn all() -> Vec<(&'static str, Self)> {
        vec![("five", Self::Five)]
    }
}

/// Reads keys of the core's configuration; `paper = true` starts from the papers' instead of the default.
fn read_config(config: &mut Config, keys: &Table) -> Result<(), (usize, String)> {
    for (index, field) in keys.fields.iter().enumerate().filter(|(_, field)| field.key == "paper") {
        match &field.value.datum {
            Datum::Flag(true) => *config = Config::paper(),
            Datum::Flag(false) => {}
            other => return Err((index, format!("expected true or false, found {}", other.describe()))),
        }
    }
    for (index, field) in keys.fields.iter().enumerate().filter(|(_, field)| field.key != "paper") {
        read_config_key(config, &field.key, &field.value.datum).map_err(|what| (index, what))?;
    }
    Ok(())
}

/// Sets one key: key by key, so that an error is about this one.
pub(super) fn read_config_key(config: &mut Config, key: &str, datum: &Datum) -> Result<(), String> {
    let mut table = config_table(config);
    // An absent option is no key of the table, yet a valid one.
    if !table.contains_key(key) && key != "canary" {
        let mut keys: Vec<_> = table.keys().map(String::as_str).collect();
        keys.extend(["paper", "canary"]);
        return Err(format!("unknown key of the configuration; {}", nearest(key, &keys)));
    }
    let value = to_toml_value(datum);
    if let Some(default) = table.get(key).filter(|default| !default.same_type(&value)) {
        let expected = match default {
            toml::Value::Boolean(_) => "true or false",
            toml::Value::Array(_) => "a list",
            _ => "a whole number",
        };
        return Err(format!("expected {expected}, found {}", datum.describe()));
    }
    table.insert(key.into(), value);
    *config = Config::deserialize(toml::Value::Table(table)).map_err(|error| {
        // The position in a table made for this one key would mislead.
        error.message().lines().next().unwrap_or_default().to_owned()
    })?;
    Ok(())
}

pub(super) fn config_table(config: &Config) -> toml::Table {
    toml::Table::try_from(config).unwrap_or_default()
}

/// Writes the keys that differ from the default.
fn write_config(config: &Config) -> Table {
    let default = config_table(&Config::default());
    let mut table = Table::default();
    for (key, value) in config_table(config) {
        if default.get(&key) != Some(&value) {
            table.push(&key, from_toml_value(&value));
        }
    }
    table
}

/// Lists the keys of the configuration that differ from the default, as a file would write them.
pub(super) fn changed_config(config: &Config) -> Vec<String> {
    let table = write_config(config);
    table.fields.iter().map(|field| format!("{} = {}", field.key, tree::inline(&field.value.datum))).collect()
}

pub(super) fn to_toml_value(datum: &Datum) -> toml::Value {
    match datum {
        Datum::Text(text) | Datum::Other(text) => toml::Value::String(text.clone()),
        Datum::Integer(number) => toml::Value::Integer(*number),
        Datum::Float(number) => toml::Value::Float(*number),
        Datum::Flag(flag) => toml::Value::Boolean(*flag),
        Datum::List(items) => {
            toml::Value::Array(items.iter().map(|item| to_toml_value(&item.datum)).collect())
        }
        Datum::Table(table) => {
            let fields =
                table.fields.iter().map(|field| (field.key.clone(), to_toml_value(&field.value.datum)));
            toml::Value::Table(fields.collect())
        }
    }
}

pub(super) fn from_toml_value(value: &toml::Value) -> Datum {
    let mut table = Table::default();
    match value {
        toml::Value::String(text) => Datum::Text(text.clone()),
        toml::Value::Integer(number) => Datum::Integer(*number),
        toml::Value::Float(number) => Datum::Float(*number),
        toml::Value::Boolean(flag) => Datum::Flag(*flag),
        toml::Value::Datetime(date) => Datum::Other(date.to_string()),
        toml::Value::Array(items) => {
            let items =
                items.iter().map(|item| tree::Entry { at: Place::Nowhere, datum: from_toml_value(item) });
            Datum::List(items.collect())
        }
        toml::Value::Table(fields) => {
            fields.iter().for_each(|(key, value)| table.push(key, from_toml_value(value)));
            Datum::Table(table)
        }
    }
}
