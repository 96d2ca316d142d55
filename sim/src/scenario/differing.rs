//! Nodes whose configuration differs from that of the others, key by key.

use super::Nodes;
use super::file::{config_table, from_toml_value, read_config_key, to_toml_value};
use super::tree::Table;
use super::units::NodeChoice;
use super::walk::{Fields, Walk};
use rumormill_core::Config;

/// Some nodes, and the keys of the configuration that they have otherwise than all others.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigOf {
    /// Which nodes.
    pub nodes: Nodes,
    /// The keys, as a file writes them.
    keys: toml::Table,
}

impl ConfigOf {
    pub(super) fn new(nodes: Nodes) -> Self {
        Self { nodes, keys: toml::Table::new() }
    }

    /// Takes the keys in which `changed` differs from `base`.
    pub(super) fn between(nodes: Nodes, base: &Config, changed: &Config) -> Self {
        let base = config_table(base);
        let mut keys = config_table(changed);
        keys.retain(|key, value| base.get(key) != Some(value));
        Self { nodes, keys }
    }

    /// Tells whether no key differs.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Tells whether the nodes count leases or partitions differently.
    pub(super) fn is_mismatch(&self) -> bool {
        ["ring_size", "heartbeat_ms", "ttl_ms"].iter().any(|key| self.keys.contains_key(*key))
    }

    /// Changes the keys in a configuration.
    pub(super) fn apply(&self, config: &mut Config) {
        for (key, value) in &self.keys {
            // Whatever could be wrong with a key was found when it was read, or by validation.
            let _ = read_config_key(config, key, &from_toml_value(value));
        }
    }

    /// Lists the keys as a file would write them.
    pub(super) fn lines(&self) -> Vec<String> {
        self.keys.iter().map(|(key, value)| format!("{key} = {value}")).collect()
    }
}

impl Walk for ConfigOf {
    fn walk<F: Fields>(&mut self, f: &mut F) {
        f.required("nodes", NodeChoice, &mut self.nodes);
        f.foreign("config", &mut self.keys, read_keys, write_keys);
    }
}

/// Reads keys one by one, so that an error is about one of them; what they mean is tried on the default.
fn read_keys(keys: &mut toml::Table, table: &Table) -> Result<(), (usize, String)> {
    for (index, field) in table.fields.iter().enumerate() {
        if matches!(field.key.as_str(), "paper" | "maps") {
            return Err((index, format!("{} is the same for all nodes; write it under [config]", field.key)));
        }
        let mut tried = Config::default();
        read_config_key(&mut tried, &field.key, &field.value.datum).map_err(|what| (index, what))?;
        keys.insert(field.key.clone(), to_toml_value(&field.value.datum));
    }
    Ok(())
}

fn write_keys(keys: &toml::Table) -> Table {
    let mut table = Table::default();
    keys.iter().for_each(|(key, value)| table.push(key, from_toml_value(value)));
    table
}
