//! A TOML document as a tree in which everything knows where it was written: in the file, or in a `--set`.

use super::error::{Place, ScenarioError, nearest};
use toml_edit::{Document, Item, TableLike, Value};

/// The lists of tables that a scenario may have.
const LISTS: [&str; 5] = ["config_of", "phase", "workload", "fault", "property"];

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) at: Place,
    pub(super) datum: Datum,
}

/// A value of a scenario file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Datum {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    /// Dates and times: nothing in a scenario is one.
    Other(String),
    List(Vec<Entry>),
    Table(Table),
}

/// A table in the order in which it was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    pub(super) fields: Vec<Field>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) key: String,
    /// Where the key stands.
    pub(super) key_at: Place,
    pub(super) value: Entry,
}

impl Datum {
    /// Describes the value for a message: what it is and how it reads.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("the text {text:?}"),
            Self::Integer(number) => format!("{number}"),
            Self::Float(number) => format!("{number}"),
            Self::Flag(flag) => format!("{flag}"),
            Self::Other(date) => format!("the date {date}"),
            Self::List(_) => "a list".into(),
            Self::Table(_) => "a table".into(),
        }
    }
}

impl Table {
    pub(super) fn find(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    fn find_or_add(&mut self, key: &str, at: Place) -> &mut Field {
        let index = self.fields.iter().position(|field| field.key == key).unwrap_or_else(|| {
            let value = Entry { at, datum: Datum::Table(Table::default()) };
            self.fields.push(Field { key: key.into(), key_at: at, value });
            self.fields.len() - 1
        });
        &mut self.fields[index]
    }

    /// Adds a field that was written nowhere.
    pub(super) fn push(&mut self, key: &str, datum: Datum) {
        self.fields.push(Field {
            key: key.into(),
            key_at: Place::Nowhere,
            value: Entry { at: Place::Nowhere, datum },
        });
    }

    /// Tells where the longest part of a path that exists was written.
    pub(super) fn locate(&self, path: &str) -> Place {
        let mut found = Place::Nowhere;
        let mut here = self;
        for step in path.split('.') {
            let (key, index) = split_index(step);
            let Some(field) = here.find(key) else { return found };
            found = field.key_at;
            let mut value = &field.value;
            if let (Some(index), Datum::List(items)) = (index, &value.datum) {
                let Some(item) = items.get(index) else { return found };
                found = item.at;
                value = item;
            }
            if !matches!(value.datum, Datum::Table(_)) {
                found = value.at;
            }
            let Datum::Table(table) = &value.datum else { return found };
            here = table;
        }
        found
    }
}

/// Splits `fault[2]` into its key and its index.
fn split_index(step: &str) -> (&str, Option<usize>) {
    match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
        Some((key, index)) => (key, index.parse().ok()),
        None => (step, None),
    }
}

/// Parses a file.
pub(super) fn parse(text: &str) -> Result<Table, ScenarioError> {
    let document = Document::parse(text).map_err(|error| {
        let at = Place::File(error.span().map_or(0, |span| span.start));
        ScenarioError::new(at, "", format!("not valid TOML: {}", error.message().trim()))
    })?;
    Ok(table(document.as_table()))
}

fn table(from: &dyn TableLike) -> Table {
    let fields = from.iter().map(|(key, item)| {
        let key_at = place(from.key(key).and_then(|key| key.span()).or_else(|| item.span()));
        Field { key: key.into(), key_at, value: entry(item, key_at) }
    });
    Table { fields: fields.collect() }
}

fn place(span: Option<std::ops::Range<usize>>) -> Place {
    span.map_or(Place::Nowhere, |span| Place::File(span.start))
}

fn entry(item: &Item, key_at: Place) -> Entry {
    let at = item.span().map_or(key_at, |span| Place::File(span.start));
    let datum = match item {
        Item::None => Datum::Table(Table::default()),
        Item::Value(value) => return value_entry(value, at),
        Item::Table(inner) => Datum::Table(table(inner)),
        Item::ArrayOfTables(tables) => {
            let items = tables.iter().map(|inner| {
                let at = inner.span().map_or(at, |span| Place::File(span.start));
                Entry { at, datum: Datum::Table(table(inner)) }
            });
            Datum::List(items.collect())
        }
    };
    Entry { at, datum }
}

fn value_entry(value: &Value, outer: Place) -> Entry {
    let at = value.span().map_or(outer, |span| Place::File(span.start));
    let datum = match value {
        Value::String(text) => Datum::Text(text.value().clone()),
        Value::Integer(number) => Datum::Integer(*number.value()),
        Value::Float(number) => Datum::Float(*number.value()),
        Value::Boolean(flag) => Datum::Flag(*flag.value()),
        Value::Datetime(date) => Datum::Other(date.value().to_string()),
        Value::Array(items) => Datum::List(items.iter().map(|item| value_entry(item, at)).collect()),
        Value::InlineTable(inner) => Datum::Table(table(inner)),
    };
    Entry { at, datum }
}

/// Writes `value` at `path`, as the `index`-th `--set` asks; tables on the way are made, elements of lists are not.
pub(super) fn set(root: &mut Table, index: usize, path: &str, value: &str) -> Result<(), ScenarioError> {
    let at = Place::Set(index);
    let fail = |what: String| Err(ScenarioError::new(at, "", what));
    if path.split('.').any(|step| split_index(step).0.is_empty()) {
        return fail(
            "not a path of keys; write KEY=VALUE like nodes=10, network.loss=0.1 or fault[0].at_s=20".into(),
        );
    }
    // What is no TOML value is text without quotes: --set network.profile=quic.
    let parsed: Value = value.parse().unwrap_or_else(|_| Value::from(value));
    let mut stamped = value_entry(&parsed, at);
    stamp(&mut stamped, at);
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    let mut here = root;
    for step in parents.iter().flat_map(|parents| parents.split('.')) {
        let entry = descend(here, step, at)?;
        let found = entry.datum.describe();
        let Datum::Table(table) = &mut entry.datum else {
            return fail(format!("{step} is {found}, it has no keys"));
        };
        here = table;
    }
    *descend(here, last, at)? = stamped;
    Ok(())
}

/// Finds the value of one step of a path, made when a plain key is missing.
fn descend<'t>(here: &'t mut Table, step: &str, at: Place) -> Result<&'t mut Entry, ScenarioError> {
    let (key, index) = split_index(step);
    let fail = |what: String| Err(ScenarioError::new(at, "", what));
    let Some(index) = index else {
        if step.contains('[') {
            return fail(format!("{step} is not an element of a list; write {key}[0]"));
        }
        return Ok(&mut here.find_or_add(step, at).value);
    };
    if here.find(key).is_none() && LISTS.contains(&key) {
        return fail(format!("this scenario has no {key}; add a [[{key}]] to it"));
    }
    if here.find(key).is_none() {
        let keys: Vec<_> = here.fields.iter().map(|field| field.key.as_str()).collect();
        return fail(format!("there is no list {key}; {}", nearest(key, &keys)));
    }
    let field = here.find_or_add(key, at);
    let found = field.value.datum.describe();
    let Datum::List(items) = &mut field.value.datum else {
        return fail(format!("{key} is {found}, not a list"));
    };
    let count = items.len();
    match items.get_mut(index) {
        Some(item) => Ok(item),
        None => fail(format!("there is no {step}: the list has {count}, counted from 0")),
    }
}

/// Attributes a value, and all within it, to one place.
fn stamp(entry: &mut Entry, at: Place) {
    entry.at = at;
    match &mut entry.datum {
        Datum::List(items) => items.iter_mut().for_each(|item| stamp(item, at)),
        Datum::Table(table) => table.fields.iter_mut().for_each(|field| {
            field.key_at = at;
            stamp(&mut field.value, at);
        }),
        Datum::Text(_) | Datum::Integer(_) | Datum::Float(_) | Datum::Flag(_) | Datum::Other(_) => {}
    }
}

/// Writes a tree as TOML: plain values first, then tables, then lists of tables; what is nested deeper is inline.
pub(super) fn print(root: &Table) -> String {
    let mut text = String::new();
    let is_tables = |items: &[Entry]| items.iter().any(|item| matches!(item.datum, Datum::Table(_)));
    for field in &root.fields {
        match &field.value.datum {
            Datum::Table(_) => {}
            Datum::List(items) if is_tables(items) => {}
            datum => text.push_str(&format!("{} = {}\n", field.key, inline(datum))),
        }
    }
    for field in &root.fields {
        match &field.value.datum {
            Datum::Table(table) => print_block(&mut text, &format!("[{}]", field.key), table),
            Datum::List(items) => {
                for item in items {
                    if let Datum::Table(table) = &item.datum {
                        print_block(&mut text, &format!("[[{}]]", field.key), table);
                    }
                }
            }
            _ => {}
        }
    }
    text
}

fn print_block(text: &mut String, header: &str, table: &Table) {
    text.push_str(&format!("\n{header}\n"));
    for field in &table.fields {
        text.push_str(&format!("{} = {}\n", field.key, inline(&field.value.datum)));
    }
}

/// Writes a value on one line.
pub(super) fn inline(datum: &Datum) -> String {
    match datum {
        Datum::Text(text) | Datum::Other(text) => Value::from(text.as_str()).to_string(),
        Datum::Integer(number) => number.to_string(),
        Datum::Float(number) => format!("{number:?}"),
        Datum::Flag(flag) => flag.to_string(),
        Datum::List(items) => {
            let items: Vec<_> = items.iter().map(|item| inline(&item.datum)).collect();
            format!("[{}]", items.join(", "))
        }
        Datum::Table(table) => {
            let fields =
                table.fields.iter().map(|field| format!("{} = {}", field.key, inline(&field.value.datum)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}
