//! The scenarios that come with the command, and those that users bring as files.

use include_dir::{Dir, include_dir};
use rumormill_sim::Scenario;
use std::path::Path;
use std::process::ExitCode;

/// Every theme folder of this crate, embedded: `run first/partition-heal` works anywhere.
static THEMES: [(&str, Dir<'_>); 10] = [
    ("first", include_dir!("$CARGO_MANIFEST_DIR/first")),
    ("membership", include_dir!("$CARGO_MANIFEST_DIR/membership")),
    ("broadcast", include_dir!("$CARGO_MANIFEST_DIR/broadcast")),
    ("state", include_dir!("$CARGO_MANIFEST_DIR/state")),
    ("faults", include_dir!("$CARGO_MANIFEST_DIR/faults")),
    ("members", include_dir!("$CARGO_MANIFEST_DIR/members")),
    ("registry", include_dir!("$CARGO_MANIFEST_DIR/registry")),
    ("mail", include_dir!("$CARGO_MANIFEST_DIR/mail")),
    ("placement", include_dir!("$CARGO_MANIFEST_DIR/placement")),
    ("predecessors", include_dir!("$CARGO_MANIFEST_DIR/predecessors")),
];

/// The text of a scenario and the name under which errors speak of it.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Lists the names of the library, theme/name: themes in the order for a newcomer, names sorted.
pub(crate) fn names() -> Vec<String> {
    let of_theme = |(theme, files): &(&str, Dir<'_>)| {
        let stem = |file: &include_dir::File<'_>| file.path().with_extension("").display().to_string();
        let mut names: Vec<String> = files.files().map(|file| format!("{theme}/{}", stem(file))).collect();
        names.sort();
        names
    };
    THEMES.iter().flat_map(of_theme).collect()
}

fn embedded(name: &str) -> Option<&'static str> {
    let (theme, file) = name.trim_end_matches(".toml").split_once('/')?;
    let (_, files) = THEMES.iter().find(|(name, _)| *name == theme)?;
    files.get_file(format!("{file}.toml"))?.contents_utf8()
}

/// Finds a scenario by the name in the library or by path.
///
/// # Errors
/// One message: what was looked for, where, and the nearest name that exists.
pub(crate) fn find(scenario: &str) -> Result<Source, String> {
    if let (false, Some(text)) = (Path::new(scenario).is_file(), embedded(scenario)) {
        return Ok(Source { name: scenario.to_owned(), text: text.to_owned() });
    }
    match std::fs::read_to_string(scenario) {
        Ok(text) => Ok(Source { name: scenario.to_owned(), text }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(not_found(scenario)),
        Err(error) => Err(format!("{scenario}: cannot be read: {error}")),
    }
}

fn not_found(scenario: &str) -> String {
    let wanted = scenario.trim_end_matches(".toml");
    let wanted = wanted.strip_prefix("scenarios/").unwrap_or(wanted);
    let names = names();
    let distance = |name: &&String| strsim::damerau_levenshtein(name, wanted);
    let nearest = names.iter().min_by_key(distance).filter(|name| distance(name) <= name.len() / 2);
    let hint = nearest.map_or(String::new(), |name| format!(" Did you mean {name}?"));
    format!("{scenario}: no such file, and no scenario of that name.{hint} `rumormill list` shows all.")
}

/// Reads a scenario with changes applied.
///
/// # Errors
/// One message with the place of the fault.
pub(crate) fn load(scenario: &str, sets: &[(String, String)]) -> Result<Scenario, String> {
    let source = find(scenario)?;
    let sets: Vec<(&str, &str)> = sets.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    Scenario::from_toml_with(&source.text, &source.name, &sets).map_err(|error| error.to_string())
}

/// Prints the library, theme by theme.
pub(crate) fn list(json: bool) -> Result<ExitCode, String> {
    let mut rows = Vec::new();
    for name in names() {
        let scenario = load(&name, &[])?;
        rows.push((name, scenario.about, scenario.nodes));
    }
    if json {
        let rows = rows
            .iter()
            .map(|(name, about, nodes)| serde_json::json!({ "name": name, "about": about, "nodes": nodes }));
        anstream::println!("{}", serde_json::json!({ "scenarios": rows.collect::<Vec<_>>() }));
        return Ok(ExitCode::SUCCESS);
    }
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let mut theme = "";
    for (name, about, nodes) in &rows {
        let this = name.split('/').next().unwrap_or_default();
        if this != theme {
            anstream::println!("{}\x1b[1m{this}\x1b[0m", if theme.is_empty() { "" } else { "\n" });
            theme = this;
        }
        anstream::println!("  {name:width$}  {nodes:>6} nodes  {about}");
    }
    anstream::println!("\nRun one: rumormill run {}", rows.first().map_or("", |(name, ..)| name));
    Ok(ExitCode::SUCCESS)
}

/// Prints a scenario in plain words.
pub(crate) fn explain(scenario: &str, sets: &[(String, String)]) -> Result<ExitCode, String> {
    anstream::print!("{}", load(scenario, sets)?.explain());
    Ok(ExitCode::SUCCESS)
}
