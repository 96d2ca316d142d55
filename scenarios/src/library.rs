//! The scenarios that come with the command, and those that users bring as files.

use crate::{WorldArgs, out};
use include_dir::{Dir, include_dir};
use rumormill_scenarios::apps;
use rumormill_sim::Scenario;
use std::io::ErrorKind::NotFound;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

/// Every theme folder of this crate, embedded: `run first/partition-heal` works anywhere.
static THEMES: [(&str, Dir<'_>); 11] = [
    ("first", include_dir!("$CARGO_MANIFEST_DIR/first")),
    ("membership", include_dir!("$CARGO_MANIFEST_DIR/membership")),
    ("broadcast", include_dir!("$CARGO_MANIFEST_DIR/broadcast")),
    ("state", include_dir!("$CARGO_MANIFEST_DIR/state")),
    ("faults", include_dir!("$CARGO_MANIFEST_DIR/faults")),
    ("members", include_dir!("$CARGO_MANIFEST_DIR/members")),
    ("registry", include_dir!("$CARGO_MANIFEST_DIR/registry")),
    ("mail", include_dir!("$CARGO_MANIFEST_DIR/mail")),
    ("placement", include_dir!("$CARGO_MANIFEST_DIR/placement")),
    ("apps", include_dir!("$CARGO_MANIFEST_DIR/apps")),
    ("predecessors", include_dir!("$CARGO_MANIFEST_DIR/predecessors")),
];

/// Bytes of a scenario file at most: the longest of the library has a hundredth of it. A guess.
const FILE_LEN_MAX: u64 = 1 << 20;

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
    match read(scenario) {
        Ok(text) => Ok(Source { name: scenario.to_owned(), text }),
        // A folder may have a theme's name.
        Err(error) if error.kind() == NotFound || names_of(scenario).is_some() => Err(not_found(scenario)),
        Err(error) => Err(format!("{scenario}: cannot be read: {error}")),
    }
}

/// Reads a file, which may be a pipe or a device without end, up to the greatest length of a scenario.
fn read(path: &str) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LEN_MAX {
        return Err(std::io::Error::other(format!(
            "longer than {FILE_LEN_MAX} bytes, the most of a scenario"
        )));
    }
    std::io::read_to_string(bytes.as_slice())
}

fn not_found(scenario: &str) -> String {
    let wanted = scenario.trim_end_matches(".toml");
    let wanted = wanted.strip_prefix("scenarios/").unwrap_or(wanted).trim_end_matches('/');
    if let Some(of_theme) = names_of(wanted) {
        return format!("{scenario} is a theme, not a scenario: choose one of {}.", of_theme.join(", "));
    }
    let names = names();
    let distance = |name: &&String| strsim::damerau_levenshtein(name, wanted);
    let nearest = names.iter().min_by_key(distance).filter(|name| distance(name) <= name.len() / 2);
    let hint = nearest.map_or(String::new(), |name| format!(" Did you mean {name}?"));
    format!("{scenario}: no such file, and no scenario of that name.{hint} `rumormill list` shows all.")
}

/// Lists the names of one theme; none where there is no such theme.
fn names_of(theme: &str) -> Option<Vec<String>> {
    let is_theme = THEMES.iter().any(|(name, _)| *name == theme);
    let of_theme = |name: &String| name.split('/').next() == Some(theme);
    is_theme.then(|| names().into_iter().filter(of_theme).collect())
}

/// Reads a scenario with everything that the arguments change in it.
///
/// # Errors
/// One message with the place of the fault.
pub(crate) fn load(world: &WorldArgs) -> Result<Scenario, String> {
    let source = find(&world.scenario)?;
    let nodes = world.nodes.map(|nodes| nodes.to_string());
    let sets = world.sets.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let sets: Vec<_> = sets.chain(nodes.as_deref().map(|nodes| ("nodes", nodes))).collect();
    Scenario::from_toml_with(&source.text, &source.name, &sets).map_err(|error| error.to_string())
}

/// Finds the application that a scenario names.
///
/// # Errors
/// One message with the nearest name.
pub(crate) fn app_of(scenario: &Scenario, file: &str) -> Result<apps::Named, String> {
    apps::find(scenario.app.as_deref()).map_err(|error| format!("{file}: app: {error}"))
}

/// Prints the library or one theme of it, theme by theme.
pub(crate) fn list(theme: Option<&str>, json: bool) -> Result<ExitCode, String> {
    let names = match theme {
        None => names(),
        Some(theme) => names_of(theme).ok_or_else(|| {
            let themes: Vec<_> = THEMES.iter().map(|(name, _)| *name).collect();
            format!("{theme}: no such theme; there are {}", themes.join(", "))
        })?,
    };
    let mut rows = Vec::new();
    for scenario in names {
        let world = WorldArgs { scenario, nodes: None, sets: Vec::new() };
        let Scenario { about, nodes, .. } = load(&world)?;
        rows.push((world.scenario, about, nodes));
    }
    if json {
        let rows = rows
            .iter()
            .map(|(name, about, nodes)| serde_json::json!({ "name": name, "about": about, "nodes": nodes }));
        out::print(&format!("{}\n", serde_json::json!({ "scenarios": rows.collect::<Vec<_>>() })))?;
        return Ok(ExitCode::SUCCESS);
    }
    out::print(&page(&rows))?;
    Ok(ExitCode::SUCCESS)
}

fn page(rows: &[(String, String, u32)]) -> String {
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let (mut theme, mut page) = ("", String::new());
    for (name, about, nodes) in rows {
        let this = name.split('/').next().unwrap_or_default();
        if this != theme {
            page.push_str(&format!("{}\x1b[1m{this}\x1b[0m\n", if theme.is_empty() { "" } else { "\n" }));
            theme = this;
        }
        page.push_str(&format!("  {name:width$}  {nodes:>6} nodes  {about}\n"));
    }
    page.push_str(&format!("\nRun one: rumormill run {}\n", rows.first().map_or("", |(name, ..)| name)));
    page
}

/// Prints a scenario in plain words.
pub(crate) fn explain(world: &WorldArgs) -> Result<ExitCode, String> {
    let scenario = load(world)?;
    let app = app_of(&scenario, &world.scenario)?;
    let mut page = scenario.explain();
    if !app.asks.is_empty() {
        page.push_str(&format!("\nWhat must hold of the application {:?} besides\n", app.name));
        for (when, name, what) in app.asks {
            page.push_str(&format!("  {when:10}   {name}: {what}\n"));
        }
    }
    out::print(&page)?;
    Ok(ExitCode::SUCCESS)
}
