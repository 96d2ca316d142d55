//! A pool of workers that balances itself: each says how much work waits for it, and callers choose who has least.
//!
//! Every fourth node is a worker, some of them slower than others. A worker registers the service `worker` with the
//! milliseconds of work before it, and registers again when they change. The line `job` at any node gives a job out.

use bytes::Bytes;
use rumormill_core::{
    Address, App, AppCx, Command, CommandError, Event, Instant, MailboxId, Purpose, Question, Reply, Token,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The name of the service.
const WORKER: &[u8] = b"worker";
/// One node in so many is a worker.
const WORKER_EVERY: u32 = 4;
/// What a job takes, in milliseconds, by how slow the worker is.
const JOB_MS: [u32; 3] = [40, 80, 160];
/// How long a caller waits, in milliseconds. A guess.
const ANSWER_MS: u64 = 5_000;
/// From one publication of a load to the next at least, in milliseconds. A guess.
const PUBLISH_MS: u64 = 200;
/// Jobs that wait for one worker at most. A guess.
const QUEUE_MAX: usize = 1_000;
/// Jobs that one caller remembers to have ended. A guess.
const ENDED_MAX: usize = 4_096;

/// What one could get wrong: to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Workers tell their load once, and callers go by what was told alone.
    LoadsAreOld,
    /// A caller takes the first worker that it finds.
    TakesTheFirst,
    /// A worker that is told of more than one job answers only the last.
    ForgetsJobs,
}

/// What became of the jobs that a node gave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    /// Given to a worker.
    pub given: u64,
    /// Done, and answered.
    pub done: u64,
    /// Ended by an error that the caller was told: no answer in time, or a worker that is gone.
    pub told: u64,
    /// Not given out at all: there was no worker, or the node refused.
    pub refused: u64,
    /// Answered although they had ended.
    pub again: u64,
}

/// A worker's side.
#[derive(Clone, Debug, Default)]
struct Work {
    job_ms: u32,
    mailbox: Option<MailboxId>,
    queue: VecDeque<Question>,
    /// When the first of them is done.
    done_at: Option<Instant>,
    published: Option<(u32, Instant)>,
}

impl Work {
    fn load_ms(&self) -> u32 {
        self.queue.len() as u32 * self.job_ms
    }
}

/// Reads what a worker says of itself: the work before it and what one more job takes, in milliseconds.
fn said(meta: &[u8]) -> (u64, u64) {
    let word =
        |at: usize| meta.get(at..at + 4).and_then(|it| it.try_into().ok()).map_or(0, u32::from_le_bytes);
    (word(0).into(), word(4).into())
}

/// One node of a pool.
#[derive(Clone, Debug, Default)]
pub struct WorkerPool {
    work: Option<Work>,
    post: Option<MailboxId>,
    /// The commands that open the two mailboxes.
    opening: [Option<Token>; 2],
    /// The jobs that are out, each with its worker.
    out: BTreeMap<Token, Address>,
    ended: BTreeSet<Token>,
    jobs: Jobs,
    bug: Option<Bug>,
}

impl WorkerPool {
    /// Makes one node of a pool.
    pub fn new(node: u32, bug: Option<Bug>) -> Self {
        let job_ms = JOB_MS[(node / WORKER_EVERY) as usize % JOB_MS.len()];
        let is_worker = node.is_multiple_of(WORKER_EVERY);
        Self { work: is_worker.then(|| Work { job_ms, ..Work::default() }), bug, ..Self::default() }
    }

    /// Tells how many milliseconds of work wait here; none for a node that is no worker.
    pub fn load_ms(&self) -> Option<u32> {
        self.work.as_ref().map(Work::load_ms)
    }

    /// Tells what became of the jobs that this node gave out.
    pub fn jobs(&self) -> Jobs {
        self.jobs
    }

    /// Counts the jobs that are still out.
    pub fn out(&self) -> usize {
        self.out.len()
    }

    /// Chooses the worker with the least before it: what it says, and what this node has given it and not seen done.
    fn choose(&self, cx: &mut AppCx<'_>) -> Option<Address> {
        let mut best: Option<((bool, u64, u64), Address)> = None;
        for service in cx.node.services(WORKER) {
            let Some(address) = service.address() else { continue };
            let (load_ms, job_ms) = said(&service.meta);
            let mine = self.out.values().filter(|worker| **worker == address).count() as u64;
            let mine = if self.bug == Some(Bug::LoadsAreOld) { 0 } else { mine };
            let load = load_ms + (mine + 1) * job_ms;
            let load = if self.bug == Some(Bug::TakesTheFirst) { 0 } else { load };
            // Among equals the draw decides, or all callers would choose the same.
            let tie = match self.bug {
                Some(Bug::TakesTheFirst) => address.node.prefix(),
                _ => cx.rng.draw(Purpose::App).bits(),
            };
            let rank = (service.is_suspected, load, tie);
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, address));
            }
        }
        best.map(|(_, address)| address)
    }

    fn give_out(&mut self, cx: &mut AppCx<'_>) {
        let (Some(from), Some(to)) = (self.post, self.choose(cx)) else {
            self.jobs.refused += 1;
            return;
        };
        let payload = Bytes::from_static(b"job");
        let token = cx.order(Command::Call { from, to, payload, timeout_ms: ANSWER_MS });
        self.jobs.given += 1;
        self.out.insert(token, to);
    }

    fn on_done(&mut self, token: Token, result: &Result<Reply, CommandError>, cx: &mut AppCx<'_>) {
        if let Ok(Reply::Opened { address }) = result {
            if self.opening[0] == Some(token) {
                self.post = Some(address.mailbox);
            } else if let Some(work) = self.work.as_mut().filter(|_| self.opening[1] == Some(token)) {
                work.mailbox = Some(address.mailbox);
                self.publish(cx);
            }
        }
        if self.out.remove(&token).is_some() {
            let is_told =
                matches!(result, Err(CommandError::Timeout | CommandError::Gone | CommandError::Unreachable));
            match result {
                Ok(_) => self.jobs.done += 1,
                Err(_) if is_told => self.jobs.told += 1,
                Err(_) => self.jobs.refused += 1,
            }
            if self.ended.len() >= ENDED_MAX {
                self.ended.pop_first();
            }
            self.ended.insert(token);
        } else if self.ended.contains(&token) {
            self.jobs.again += 1;
        }
    }

    // --- as a worker

    fn on_asked(&mut self, mailbox: MailboxId, question: Question, cx: &mut AppCx<'_>) {
        let bug = self.bug;
        let Some(work) = self.work.as_mut().filter(|work| work.mailbox == Some(mailbox)) else { return };
        if work.queue.len() >= QUEUE_MAX {
            return; // the caller's time runs out
        }
        if bug == Some(Bug::ForgetsJobs) {
            work.queue.truncate(1);
        }
        work.queue.push_back(question);
        if work.done_at.is_none() {
            work.done_at = Some(cx.now.mono.plus_millis(u64::from(work.job_ms)));
        }
        self.publish(cx);
    }

    /// Answers the job that is done, and begins the next.
    fn finish(&mut self, cx: &mut AppCx<'_>) {
        let Some(work) = &mut self.work else { return };
        if work.done_at.is_none_or(|at| at > cx.now.mono) {
            return;
        }
        if let Some(question) = work.queue.pop_front() {
            cx.order(Command::Answer { question, payload: Bytes::from_static(b"done") });
        }
        let next_at = cx.now.mono.plus_millis(u64::from(work.job_ms));
        work.done_at = (!work.queue.is_empty()).then_some(next_at);
    }

    /// Tells everybody this worker's load, if it has changed and was not told just now.
    fn publish(&mut self, cx: &mut AppCx<'_>) {
        let is_frozen = self.bug == Some(Bug::LoadsAreOld);
        let Some((work, mailbox)) = self
            .work
            .as_mut()
            .and_then(|work| Some((work.mailbox?, work)).map(|(mailbox, work)| (work, mailbox)))
        else {
            return;
        };
        let load_ms = work.load_ms();
        let is_due = match work.published {
            None => true,
            Some((told, at)) => !is_frozen && told != load_ms && cx.now.mono.millis_since(at) >= PUBLISH_MS,
        };
        if is_due {
            work.published = Some((load_ms, cx.now.mono));
            let meta = Bytes::from([load_ms.to_le_bytes(), work.job_ms.to_le_bytes()].concat());
            let name = Bytes::from_static(WORKER);
            cx.order(Command::Register { name, instance: 0, mailbox, meta, is_unique: false });
        }
    }
}

impl App for WorkerPool {
    fn on_start(&mut self, cx: &mut AppCx<'_>) {
        let post = cx.order(Command::OpenMailbox);
        let work = self.work.is_some().then(|| cx.order(Command::OpenMailbox));
        self.opening = [Some(post), work];
    }

    fn on_event(&mut self, event: &Event, cx: &mut AppCx<'_>) {
        match event {
            Event::Done { token, result } => self.on_done(*token, result, cx),
            Event::Asked { mailbox, question, .. } => self.on_asked(*mailbox, *question, cx),
            _ => {}
        }
    }

    fn on_request(&mut self, line: &str, cx: &mut AppCx<'_>) {
        if line == "job" {
            self.give_out(cx);
        }
    }

    fn on_timeout(&mut self, cx: &mut AppCx<'_>) {
        self.finish(cx);
        self.publish(cx);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let work = self.work.as_ref()?;
        let (told, at) = work.published?;
        let is_frozen = self.bug == Some(Bug::LoadsAreOld);
        let publish_at = (told != work.load_ms() && !is_frozen).then(|| at.plus_millis(PUBLISH_MS));
        work.done_at.into_iter().chain(publish_at).min()
    }
}
