//! One walk over the fields of a scenario, for reading and for writing alike.
//!
//! Every part of a scenario lists its fields once, in a [`Walk`]. A [`Reader`] walks to fill the value from a tree and
//! knows afterwards which keys were valid; a [`Writer`] walks to make a tree. So the two can never disagree.

use super::error::{Place, ScenarioError, nearest};
use super::tree::{Datum, Entry, Field, Table};
use super::units::Unit;

/// A part of a scenario whose fields can be walked.
pub(super) trait Walk {
    /// Visits each field once, in the order in which a file is best read.
    fn walk<F: Fields>(&mut self, f: &mut F);
}

/// A choice among parts, told apart by which key is there.
pub(super) trait Variant: Sized + 'static {
    /// What the choice is about, for messages.
    const WHAT: &'static str;
    /// Every key, with a value to fill in.
    fn all() -> Vec<(&'static str, Self)>;

    /// Tells the key of this variant.
    fn key(&self) -> &'static str {
        let same = |other: &Self| std::mem::discriminant(other) == std::mem::discriminant(self);
        Self::all().into_iter().find(|(_, other)| same(other)).map_or("", |(key, _)| key)
    }
}

/// Who walks: a reader or a writer.
pub(super) trait Fields: Sized {
    /// A field that must be there.
    fn required<U: Unit>(&mut self, key: &'static str, unit: U, value: &mut U::Of);
    /// A field that keeps its value when it is not there.
    fn defaulted<U: Unit>(&mut self, key: &'static str, unit: U, value: &mut U::Of);
    /// A field that may be missing.
    fn optional<U: Unit>(&mut self, key: &'static str, unit: U, value: &mut Option<U::Of>);
    /// A table of fields that may be missing as a whole.
    fn table(&mut self, key: &'static str, walk: impl FnOnce(&mut Self));
    /// A table that, where it is missing, leaves everything as it is.
    fn part(&mut self, key: &'static str, walk: impl FnOnce(&mut Self));
    /// A table that may be written short, as the value of its main key alone.
    fn short_table(&mut self, key: &'static str, main: &'static str, walk: impl FnOnce(&mut Self));
    /// A list of tables.
    fn list<T: Walk>(&mut self, key: &'static str, values: &mut Vec<T>, new: fn() -> T);
    /// Exactly one of the variant's keys must be there: `value` becomes that variant, to be walked next.
    fn choose<V: Variant>(&mut self, value: &mut V);
    /// Visits the raw table of keys that belong to somebody else.
    fn foreign<T>(&mut self, key: &'static str, value: &mut T, read: Foreign<T>, write: fn(&T) -> Table);
}

/// Reads a table of somebody else's keys; an error names the field at fault by its index.
pub(super) type Foreign<T> = fn(&mut T, &Table) -> Result<(), (usize, String)>;

/// Fills a value from a table.
pub(super) struct Reader {
    table: Table,
    at: Place,
    path: String,
    known: Vec<&'static str>,
    error: Option<ScenarioError>,
    /// Whether the error is only that something is missing: an unknown key explains that better.
    is_missing: bool,
}

/// Reads a whole tree into a value.
pub(super) fn read(root: &Table, value: &mut impl Walk) -> Result<(), ScenarioError> {
    let mut reader = Reader::new(root.clone(), Place::Nowhere, String::new());
    value.walk(&mut reader);
    reader.finish().map_err(|(error, _)| error)
}

/// Writes a value as a tree. (A walk takes the value mutably; writing leaves it as it is.)
pub(super) fn write(value: &mut impl Walk) -> Table {
    let mut writer = Writer { table: Table::default() };
    value.walk(&mut writer);
    writer.table
}

impl Reader {
    fn new(table: Table, at: Place, path: String) -> Self {
        Self { table, at, path, known: Vec::new(), error: None, is_missing: false }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    fn know(&mut self, key: &'static str) {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
    }

    fn find(&mut self, key: &'static str) -> Option<Field> {
        self.know(key);
        self.table.find(key).cloned()
    }

    fn fail(&mut self, error: ScenarioError) {
        self.take(error, false);
    }

    fn missing(&mut self, path: &str, what: String) {
        self.take(ScenarioError::new(self.at, path, what), true);
    }

    /// Keeps the first error, but for a missing part that a later error may explain.
    fn take(&mut self, error: ScenarioError, is_missing: bool) {
        if self.error.is_none() || (self.is_missing && !is_missing) {
            self.error = Some(error);
            self.is_missing = is_missing;
        }
    }

    fn read<U: Unit>(&mut self, field: &Field, unit: &U) -> Option<U::Of> {
        match unit.read(&field.value.datum) {
            Ok(read) => Some(read),
            Err(what) => {
                let path = self.path_of(&field.key);
                self.fail(ScenarioError::new(field.value.at, &path, what));
                None
            }
        }
    }

    fn child(&mut self, table: Table, at: Place, path: String, walk: impl FnOnce(&mut Self)) {
        let mut child = Reader::new(table, at, path);
        walk(&mut child);
        if let Err((error, is_missing)) = child.finish() {
            self.take(error, is_missing);
        }
    }

    /// Tells the first error, and whether it is only that something is missing. A key that nobody asked for is an error.
    fn finish(mut self) -> Result<(), (ScenarioError, bool)> {
        if let Some(field) = self.table.fields.iter().find(|field| !self.known.contains(&field.key.as_str()))
        {
            let path = self.path_of(&field.key);
            let what = format!("unknown key; {}", nearest(&field.key, &self.known));
            self.fail(ScenarioError::new(field.key_at, &path, what));
        }
        self.error.map_or(Ok(()), |error| Err((error, self.is_missing)))
    }
}

impl Fields for Reader {
    fn required<U: Unit>(&mut self, key: &'static str, unit: U, value: &mut U::Of) {
        match self.find(key) {
            Some(field) => {
                if let Some(read) = self.read(&field, &unit) {
                    *value = read;
                }
            }
            None => {
                let path = self.path_of(key);
                self.missing(&path, format!("missing; write {key} = {}", unit.example()));
            }
        }
    }

    fn defaulted<U: Unit>(&mut self, key: &'static str, unit: U, value: &mut U::Of) {
        if let Some(field) = self.find(key)
            && let Some(read) = self.read(&field, &unit)
        {
            *value = read;
        }
    }

    fn optional<U: Unit>(&mut self, key: &'static str, unit: U, value: &mut Option<U::Of>) {
        if let Some(field) = self.find(key) {
            *value = self.read(&field, &unit);
        }
    }

    fn table(&mut self, key: &'static str, walk: impl FnOnce(&mut Self)) {
        let path = self.path_of(key);
        match self.find(key) {
            Some(Field { value: Entry { at, datum: Datum::Table(table) }, .. }) => {
                self.child(table, at, path, walk);
            }
            Some(field) => {
                let what = format!("expected a table of keys, found {}", field.value.datum.describe());
                self.fail(ScenarioError::new(field.value.at, &path, what));
            }
            None => self.child(Table::default(), self.at, path, walk),
        }
    }

    fn short_table(&mut self, key: &'static str, main: &'static str, walk: impl FnOnce(&mut Self)) {
        match self.find(key) {
            Some(field) if !matches!(field.value.datum, Datum::Table(_)) => {
                let at = field.value.at;
                let path = self.path_of(key);
                let table = Table { fields: vec![Field { key: main.into(), ..field }] };
                let mut child = Reader::new(table, at, path.clone());
                walk(&mut child);
                if let Err((error, is_missing)) = child.finish() {
                    self.take(ScenarioError::new(error.place(), &path, error.what().into()), is_missing);
                }
            }
            _ => self.table(key, walk),
        }
    }

    fn part(&mut self, key: &'static str, walk: impl FnOnce(&mut Self)) {
        if self.table.find(key).is_some() {
            self.table(key, walk);
        } else {
            self.know(key);
        }
    }

    fn list<T: Walk>(&mut self, key: &'static str, values: &mut Vec<T>, new: fn() -> T) {
        let Some(field) = self.find(key) else { return };
        let Datum::List(items) = &field.value.datum else {
            let what = format!("expected tables under [[{key}]], found {}", field.value.datum.describe());
            let path = self.path_of(key);
            return self.fail(ScenarioError::new(field.value.at, &path, what));
        };
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            let Datum::Table(table) = &item.datum else {
                let what = format!("expected a table of keys, found {}", item.datum.describe());
                return self.fail(ScenarioError::new(item.at, &path, what));
            };
            let mut value = new();
            self.child(table.clone(), item.at, path, |reader| value.walk(reader));
            values.push(value);
        }
    }

    fn choose<V: Variant>(&mut self, value: &mut V) {
        let mut there = V::all();
        let names: Vec<_> = there.iter().map(|(key, _)| *key).collect();
        names.iter().for_each(|key| self.know(key));
        let place_of = |key: &str| self.table.fields.iter().position(|field| field.key == key);
        there.retain(|(key, _)| place_of(key).is_some());
        there.sort_by_key(|(key, _)| place_of(key));
        let path = self.path.clone();
        match there.len() {
            1 => *value = there.remove(0).1,
            0 => self.missing(&path, format!("no {} is named; add one of: {}", V::WHAT, names.join(", "))),
            _ => {
                let (first, second) = (there[0].0, there[1].0);
                let at = self.table.find(second).map_or(self.at, |field| field.key_at);
                let what =
                    format!("both {first} and {second} stand here; keep one {} in each table", V::WHAT);
                *value = there.remove(0).1;
                self.fail(ScenarioError::new(at, &path, what));
            }
        }
    }

    fn foreign<T>(&mut self, key: &'static str, value: &mut T, read: Foreign<T>, _: fn(&T) -> Table) {
        let path = self.path_of(key);
        let table = match self.find(key) {
            Some(Field { value: Entry { datum: Datum::Table(table), .. }, .. }) => table,
            Some(field) => {
                let what = format!("expected a table of keys, found {}", field.value.datum.describe());
                return self.fail(ScenarioError::new(field.value.at, &path, what));
            }
            None => return,
        };
        if let Err((index, what)) = read(value, &table) {
            let field = &table.fields[index];
            self.fail(ScenarioError::new(field.key_at, &format!("{path}.{}", field.key), what));
        }
    }
}

/// Makes a tree from a value.
pub(super) struct Writer {
    table: Table,
}

impl Fields for Writer {
    fn required<U: Unit>(&mut self, key: &'static str, unit: U, value: &mut U::Of) {
        self.table.push(key, unit.write(value));
    }

    fn defaulted<U: Unit>(&mut self, key: &'static str, unit: U, value: &mut U::Of) {
        self.table.push(key, unit.write(value));
    }

    fn optional<U: Unit>(&mut self, key: &'static str, unit: U, value: &mut Option<U::Of>) {
        if let Some(value) = value {
            self.table.push(key, unit.write(value));
        }
    }

    fn table(&mut self, key: &'static str, walk: impl FnOnce(&mut Self)) {
        let mut inner = Writer { table: Table::default() };
        walk(&mut inner);
        self.table.push(key, Datum::Table(inner.table));
    }

    fn part(&mut self, key: &'static str, walk: impl FnOnce(&mut Self)) {
        self.table(key, walk);
    }

    fn short_table(&mut self, key: &'static str, _: &'static str, walk: impl FnOnce(&mut Self)) {
        self.table(key, walk);
    }

    fn list<T: Walk>(&mut self, key: &'static str, values: &mut Vec<T>, _: fn() -> T) {
        if values.is_empty() {
            return;
        }
        let tables =
            values.iter_mut().map(|value| Entry { at: Place::Nowhere, datum: Datum::Table(write(value)) });
        let tables = tables.collect();
        self.table.push(key, Datum::List(tables));
    }

    fn choose<V: Variant>(&mut self, _: &mut V) {}

    fn foreign<T>(&mut self, key: &'static str, value: &mut T, _: Foreign<T>, write: fn(&T) -> Table) {
        let table = write(value);
        if !table.fields.is_empty() {
            self.table.push(key, Datum::Table(table));
        }
    }
}
