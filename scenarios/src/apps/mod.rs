//! The applications that scenarios name with `app = "…"`: users' programs, each with the questions that judge it.

pub mod cache;
mod judged;
mod parts;
pub mod rooms;
pub mod worker_pool;

use rumormill_core::{App, AppCx, Event, Instant};
use rumormill_sim::Questions;

/// The application on one node of a scenario.
#[derive(Clone, Debug, Default)]
pub enum Hosted {
    /// None.
    #[default]
    Nothing,
    /// Chat rooms.
    Rooms(Box<rooms::Rooms>),
    /// A cache of what services answer.
    Cache(Box<cache::Cache>),
    /// A pool of workers.
    WorkerPool(Box<worker_pool::WorkerPool>),
}

/// An application that a scenario can name.
#[derive(Clone, Copy)]
pub struct Named {
    /// The name.
    pub name: &'static str,
    /// Makes the application of a node, by its number.
    pub make: fn(u32) -> Hosted,
    /// The questions that judge it, in every scenario that names it.
    pub questions: fn() -> Questions<'static, Hosted>,
    /// What those questions ask, each as (when, name, in words).
    pub asks: &'static [(&'static str, &'static str, &'static str)],
}

/// No application: what a scenario hosts that names none.
pub const NOTHING: Named =
    Named { name: "", make: |_| Hosted::Nothing, questions: Questions::default, asks: &[] };

/// Every application, in the order of their names.
pub const ALL: [Named; 3] = [
    Named {
        name: "cache",
        make: |node| Hosted::Cache(Box::new(cache::Cache::new(node, None))),
        questions: judged::cache,
        asks: judged::CACHE,
    },
    Named {
        name: "rooms",
        make: |_| Hosted::Rooms(Box::default()),
        questions: judged::rooms,
        asks: judged::ROOMS,
    },
    Named {
        name: "worker-pool",
        make: |node| Hosted::WorkerPool(Box::new(worker_pool::WorkerPool::new(node, None))),
        questions: judged::worker_pool,
        asks: judged::WORKER_POOL,
    },
];

/// Finds the application that a scenario names.
///
/// # Errors
/// One message with the nearest name, if there is no such application.
pub fn find(name: Option<&str>) -> Result<Named, String> {
    let Some(name) = name else { return Ok(NOTHING) };
    ALL.into_iter().find(|app| app.name == name).ok_or_else(|| {
        let distance = |app: &Named| strsim::damerau_levenshtein(app.name, name);
        let nearest = ALL.into_iter().min_by_key(distance).filter(|app| distance(app) <= app.name.len() / 2);
        let hint = nearest.map_or(String::new(), |app| format!("; did you mean `{}`?", app.name));
        let names: Vec<_> = ALL.iter().map(|app| app.name).collect();
        format!("no application {name:?}{hint} (one of: {})", names.join(", "))
    })
}

impl App for Hosted {
    fn on_start(&mut self, cx: &mut AppCx<'_>) {
        match self {
            Self::Nothing => {}
            Self::Rooms(app) => app.on_start(cx),
            Self::Cache(app) => app.on_start(cx),
            Self::WorkerPool(app) => app.on_start(cx),
        }
    }

    fn on_event(&mut self, event: &Event, cx: &mut AppCx<'_>) {
        match self {
            Self::Nothing => {}
            Self::Rooms(app) => app.on_event(event, cx),
            Self::Cache(app) => app.on_event(event, cx),
            Self::WorkerPool(app) => app.on_event(event, cx),
        }
    }

    fn on_request(&mut self, line: &str, cx: &mut AppCx<'_>) {
        match self {
            Self::Nothing => {}
            Self::Rooms(app) => app.on_request(line, cx),
            Self::Cache(app) => app.on_request(line, cx),
            Self::WorkerPool(app) => app.on_request(line, cx),
        }
    }

    fn on_timeout(&mut self, cx: &mut AppCx<'_>) {
        match self {
            Self::Nothing => {}
            Self::Rooms(app) => app.on_timeout(cx),
            Self::Cache(app) => app.on_timeout(cx),
            Self::WorkerPool(app) => app.on_timeout(cx),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Nothing => None,
            Self::Rooms(app) => app.poll_timeout(),
            Self::Cache(app) => app.poll_timeout(),
            Self::WorkerPool(app) => app.poll_timeout(),
        }
    }
}
